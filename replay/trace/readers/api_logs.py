"""Logs whose rows are calls of APIs in another wrapping: each row is unwrapped, then read as any.

A format says what a row is to the reader of API logs: a row with `request` and `response` or the
counts alone (`api_rows`), or a `Reason` why it is no call to replay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_chats import ApiChats
from replay.trace.readers.api_rows import split_row
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.column_tables import FrameTable, read_table
from replay.trace.readers.decimals import is_number
from replay.trace.readers.head import head_rows
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.json_text import object_in
from replay.trace.readers.log_keys import LoggedRow, placed
from replay.trace.readers.logged_requests import logged_trace
from replay.trace.readers.logged_values import named_values
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.repeated_calls import RepeatedCalls
from replay.trace.readers.shapes import RowShape, Shape, fits_any
from replay.trace.readers.source import Source
from replay.trace.readers.source_clock import A_DATE, ns_since_1970

ARRIVAL = "timestamp_ns"
SESSION = "session_id"
_LOOKED_AT = 20
_DATA = "data"
_INTEGER = re.compile(r"\d{1,18}(?:\.0+)?")
_NUMBER = re.compile(r"\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,2})?")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row is no call to replay: it is put aside, or only counted where it `is_other`.

    The words of those that are counted stand in a note, behind their number.
    """

    words: str
    is_other: bool = False


Row = Mapping[str, Any]
Unwrap = Callable[[Row], "dict[str, Any] | Reason"]


@dataclass(slots=True)
class _Log:
    """Goes through the rows of a log, and knows what the notes say."""

    problems: ProblemList
    unwrap: Unwrap
    chats: ApiChats = field(default_factory=ApiChats)
    repeated: RepeatedCalls = field(default_factory=RepeatedCalls)
    found: list[LoggedRow] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    read: int = 0
    told: int = 0

    def take(self, line: int, row: Row) -> None:
        self.read += 1
        try:
            plain = self.unwrap(row)
            if isinstance(plain, Reason) and plain.is_other:
                self.others[plain.words] = self.others.get(plain.words, 0) + 1
                self.read -= 1
                return
            if isinstance(plain, Reason):
                self.problems.leave_out(line, plain.words)
                return
            plain = named_values(row) | plain
            parts = split_row(plain)
            failure = parts.failure()
            if failure is not None:
                self.problems.leave_out(line, failure)
                return
            call = self.chats.request(line, parts)
            self.repeated.see(line, plain, call)
            self.found.append(call)
        except RowError as error:
            self._tell(line, str(error))
        except RecursionError:
            self._tell(line, "nested too deeply")

    def _tell(self, line: int, fault: str) -> None:
        self.problems.add(fault, line=line)
        self.told += 1

    def notes(self) -> list[str]:
        others = [f"{count:,} {words}" for words, count in self.others.items()]
        return [*others, *self.chats.notes(), *self.repeated.notes()]


def api_log_trace(
    rows: Iterable[tuple[int, Row]],
    source: Source,
    options: ReadOptions,
    problems: ProblemList,
    unwrap: Unwrap,
    *,
    format_name: str,
) -> Trace:
    """Return the trace of the calls in these rows, by their text, or lengths alone.

    Raises TraceError where more rows are faulty than the options allow.
    """
    log = _Log(problems, unwrap)
    for line, row in rows:
        log.take(line, row)
    read = log.read + problems.total - log.told  # rows that are no JSON were told before
    calls = placed(log.repeated.once(log.found, problems), problems)
    return logged_trace(
        calls.requests,
        source,
        options,
        problems,
        format_name=format_name,
        read=read,
        notes=[*calls.notes, *log.notes()],
        clock_start_ns=calls.clock_start_ns,
        sessions_inferred=calls.sessions_inferred,
    )


def starts_with(head: bytes, shapes: Sequence[Shape], within: tuple[str, ...] = (_DATA,)) -> bool:
    """Return whether a file starts with rows of one of these shapes, also in a list `within`."""
    if fits_any(head, shapes):
        return True
    under = [row.get(name) for row in head_rows(head) for name in within]
    inner = [one for rows in under if isinstance(rows, list) for one in rows[:_LOOKED_AT]]
    return any(
        isinstance(shape, RowShape) and isinstance(one, Mapping) and shape.has(one)
        for one in inner
        for shape in shapes
    )


def rows_in(
    source: Source, problems: ProblemList, within: tuple[str, ...] = (_DATA,)
) -> tuple[list[tuple[int, Row]], Source]:
    """Return the rows of a file of JSON or CSV by their lines, and the source they count in.

    Values of CSV are text; empty ones are None. A document with a list under one of the keys
    `within` stands for its entries, and one with nothing but `data` for what that is.
    """
    if source.data.lstrip()[:1] not in (b"{", b"["):
        table = read_table(source, problems, kind="csv", delimiter=",")
        assert isinstance(table, FrameTable)
        return list(zip(table.lines.tolist(), table.frame.to_dicts(), strict=True)), source
    source = as_lines(source, problems)
    rows: list[tuple[int, Row]] = []
    for line, row in walk_objects(source.data, problems):
        inner = next((row[name] for name in within if isinstance(row.get(name), list)), None)
        alone = row.get(_DATA)
        if isinstance(inner, list) and all(isinstance(one, Mapping) for one in inner):
            problems.hint("the rows of a list have the line of the document they stand in")
            rows += [(line, one) for one in inner]
        else:
            is_wrapped = isinstance(alone, Mapping) and len(row) == 1
            rows.append((line, alone if is_wrapped and isinstance(alone, Mapping) else row))
    return rows, source


def first(row: Row, *names: str) -> Any:
    """Return the first value there is under these names; None and empty text count as none."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def count_in(row: Row, *names: str) -> Any:
    """Return a count, as an integer where it is one as text or decimal; else as it is."""
    value = first(row, *names)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip().split(".")[0])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def mapping_in(row: Row, *names: str) -> Row:
    """Return the object under the first of these names, JSON as text too; an empty one for none."""
    value = object_in(first(row, *names), names[0])
    return value if isinstance(value, Mapping) else {}


def time_in(row: Row, *names: str, needed: bool = False) -> int | None:
    """Return a time in ns since 1970, a date or a number whose size tells the unit.

    Raises RowError for what is none, and where it is `needed` and not there.
    """
    name = next((name for name in names if row.get(name) not in (None, "")), None)
    if name is None:
        if needed:
            raise RowError(f"lacks {names[0]} (got {', '.join(map(shown, row)) or 'no keys'})")
        return None
    value = row[name]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value) if value.isdecimal() else float(value)
    found = ns_since_1970(value)
    if found is None:
        raise RowError(
            f"{name} must be {A_DATE}, or a number of s, ms, us or ns since 1970 "
            f"(got {shown(row[name])})"
        )
    return found


def duration_in(row: Row, *names: str, unit_ns: int) -> int | None:
    """Return a duration in ns, None where there is none that is a number from 0 on."""
    value = first(row, *names)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if not is_number(value) or not 0 <= value * unit_ns < 2**62:
        return None
    return round(value * unit_ns)


def lasted(start_ns: int | None, end_ns: int | None) -> int | None:
    """Return the time between, None where one is unknown or they are the wrong way round."""
    if start_ns is None or end_ns is None or end_ns < start_ns:
        return None
    return end_ns - start_ns


def told(**values: Any) -> dict[str, Any]:
    """Return the values that are there, by their names."""
    return {name: value for name, value in values.items() if value is not None}
