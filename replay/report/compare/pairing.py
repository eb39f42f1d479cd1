"""Whether the requests of several runs are the same ones, so that they can be paired."""

from __future__ import annotations

from collections.abc import Sequence

from replay.report.compare.asking import rows, sql_file
from replay.report.compare.sides import Side
from replay.report.db import RunsDatabase


def why_unpaired(sides: Sequence[Side], database: RunsDatabase) -> str | None:
    """Return why requests cannot be paired, None where they can.

    They can where the traces have one digest and every request stands at the same place with the
    same lengths, and came at the same time but for a speed-up, where no jitter moved it: windows,
    samples and other reading options leave other requests, or other places.
    """
    first, *others = sides
    for other in others:
        digests = first.trace.get("sha256"), other.trace.get("sha256")
        if not all(digests):
            return "the digest of a trace is unknown"
        if digests[0] != digests[1]:
            names = first.trace.get("name"), other.trace.get("name")
            again = ", other content under one name" if names[0] == names[1] else ""
            return f"two traces: {names[0]} and {names[1]}{again}"
        unlike = _unlike(first, other, database)
        if unlike:
            return (
                f"one trace, but {unlike:,} requests of {first.called} and {other.called} are not "
                "the same: it was read, cut or ordered in another way"
            )
    return None


def _unlike(first: Side, other: Side, database: RunsDatabase) -> int:
    """Return how many requests of two runs of one trace are not the same."""
    settings = [(side.manifest.get("scenario") or {}).get("trace") or {} for side in (first, other)]
    jittered = any(setting.get("arrival_jitter") for setting in settings)
    for letter, setting in zip("ab", settings, strict=True):
        speedup = "NULL" if jittered else f"'{float(setting.get('speedup') or 1)}'"
        database.query(f"SET VARIABLE {letter}_speedup = {speedup}::DOUBLE")
    sql = sql_file("unlike").replace("b.requests", f"{other.letter}.requests")
    return int(rows(database, sql)[0][0])
