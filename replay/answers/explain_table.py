"""The path of an explained request as a table: every stretch, or lines that fit a terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from replay.analysis.stretches import EVICTED
from replay.report.tables import Table

if TYPE_CHECKING:
    from replay.analysis.explain import Explanation
    from replay.analysis.stretches import Stretch

GROWTH = "growth"  # of several running requests at once
FIRST_LINES, LAST_LINES = 6, 14  # of a path that is longer: what was missed comes last
_COLUMNS = {
    "start_tokens": "BIGINT",
    "stop_tokens": "BIGINT",
    "tokens": "BIGINT",
    "prefix_id": "BIGINT",
    "requests": "BIGINT",
    "sessions": "BIGINT",
    "result": "VARCHAR",
    "put_by_request_id": "BIGINT",
    "put_by_same_session": "BOOLEAN",
    "put_ago_ns": "BIGINT",
    "evicted_by_request_id": "BIGINT",
    "evicted_ago_ns": "BIGINT",
}


def path_table(told: Explanation) -> Table:
    """Return one row a stretch, with the names and units of `_COLUMNS`."""
    rows = [
        (
            part.start_tokens,
            part.stop_tokens,
            part.tokens,
            part.prefix_id,
            told.shared[part.prefix_id].requests,
            told.shared[part.prefix_id].sessions,
            part.result,
            *_origin(told, part),
            part.gone_to,
            None if part.gone_ns is None else told.row["arrival_ns"] - part.gone_ns,
        )
        for part in told.stretches
    ]
    return Table(tuple(_COLUMNS), rows, types=tuple(_COLUMNS.values()))


def _origin(told: Explanation, part: Stretch) -> tuple[int | None, bool | None, int | None]:
    if part.put_by is None:
        return None, None, None
    ago = told.row["arrival_ns"] - told.arrivals_ns[part.put_by]
    session = told.row["session_id"]
    own = None if session is None else told.sessions[part.put_by] == session
    return part.put_by, own, ago


def folded_table(told: Explanation) -> Table:
    """Return the path for people: neighbours with the same story on one line, not too many lines.

    Such a line names the deepest of its prefixes, which shares it with the fewest requests.
    """
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in path_table(told).rows]
    lines = [_line(list(group)) for _, group in groupby(rows, _story)]
    title = "Its prompt, from the first token on"
    left_out = len(lines) - FIRST_LINES - LAST_LINES
    if left_out > 0:
        title += f" (after {FIRST_LINES} lines {left_out:,} are left out: --format csv has all)"
        lines = lines[:FIRST_LINES] + lines[-LAST_LINES:]
    known = [name for name in lines[0] if any(line[name] is not None for line in lines)]
    headers = [name.removesuffix("?") for name in known]
    return Table(headers, [tuple(line[name] for name in known) for line in lines], title=title)


def _story(row: dict[str, Any]) -> tuple[object, ...]:
    names = ("result", "put_by_request_id", "evicted_by_request_id", "evicted_ago_ns")
    return tuple(row[name] for name in names)


def _line(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one line for rows with the same story; a `?` ends a name that is there twice."""
    first, last = rows[0], rows[-1]
    writer, own = last["put_by_request_id"], last["put_by_same_session"]
    shared = f"{last['requests']:,}"
    if last["sessions"] is not None:
        shared += f" ({last['sessions']:,})"
    evictor = last["evicted_by_request_id"]
    if evictor is None and last["result"] == EVICTED:
        evictor = GROWTH
    return {
        "tokens": f"{first['start_tokens']:,}-{last['stop_tokens']:,}",
        "result": last["result"],
        "put_by": None if writer is None else f"{writer} own" if own else str(writer),
        "ago_ns": last["put_ago_ns"],
        "evicted_by": None if evictor is None else str(evictor),
        "ago_ns?": last["evicted_ago_ns"],
        "prefix_id": last["prefix_id"],
        "requests_(sessions)": shared,
    }
