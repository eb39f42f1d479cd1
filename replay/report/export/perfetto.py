"""A timed run as a timeline for ui.perfetto.dev, in Chrome's trace event format.

That format draws a slice only where it nests in what is open on its track. So each request has a
slot for as long as it is there, and no two share one at once: `replay.report.export.lanes`. In it
lie its waiting, its prefill, its decoding and what the engine takes outside the GPU. What the
engine did is drawn as counters, from the intervals of the table `timeline`. An eviction whose
blocks a later request missed is an instant; where both requests are shown, an arrow leads from the
one that took the place to the one that missed.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (the format),
https://perfetto.dev/docs/faq (what of it is read, and that slices must nest)
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from replay.errors import InputError
from replay.report.db import PATIENCE_S, RunDatabase
from replay.report.export.lanes import lanes
from replay.report.export.source import sql_file
from replay.report.notices import notes, warnings
from replay.units import format_duration

REQUESTS_PID, ENGINE_PID = 2, 1  # the order in which they are drawn
EVICTIONS_TID = 1
MOST_REQUESTS = 100_000  # half a million slices, which a browser still opens
_PLACES = 8  # columns of spans.sql that say where; what follows are the request's arguments
_EVICTED = 6  # of these, the one that says when what it missed was evicted
_US = 1000  # ns


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a run its timeline shows: requests drawn, of so many in the window, and slots."""

    requests: int
    in_window: int
    slots: int


@dataclass(frozen=True, slots=True)
class _Spans:
    """Where the requests shown are: sorted ids, first and last microsecond, lane."""

    ids: list[int]
    start_us: np.ndarray
    end_us: np.ndarray
    lane: np.ndarray

    def place(self, request: int | None) -> int | None:
        """Return at which place a request stands; None for one that is not shown."""
        if request is None:
            return None
        at = bisect_left(self.ids, request)
        return at if at < len(self.ids) and self.ids[at] == request else None


def write_timeline(
    database: RunDatabase,
    sink: BinaryIO,
    *,
    window_ns: tuple[int, int | None] = (0, None),
    most_requests: int = MOST_REQUESTS,
) -> Shown:
    """Write the timeline of a run, an unlocked database, to a stream; return what it shows.

    Of the requests that are there in the window, the first `most_requests`. Raises InputError for
    an untimed run, and where no request is there in the window.
    """
    run = database.run
    if run.manifest["mode"] != "timed":
        raise InputError(
            f"{run.folder}: the run is untimed, so nothing in it takes time",
            hint="replay it on a GPU and model: `replay run TRACE --gpu NAME --model NAME`",
        )
    start, stop = window_ns
    _set(database, from_ns=start, to_ns=2**62 if stop is None else stop, most=2**62)
    in_window = _count(database)
    if not in_window:
        raise InputError(
            f"{run.folder}: no request is there in the window",
            hint=f"the run ends at {format_duration(run.manifest['totals']['end_ns'])}",
        )
    _set(database, most=most_requests)
    spans = _spans(database)
    first_us, last_us = int(spans.start_us.min()), int(spans.end_us.max())
    _set(database, shown_from_ns=first_us * _US, shown_to_ns=last_us * _US + 1)
    slots = int(spans.lane.max()) + 1
    writer = _Writer(sink)
    writer.begin(_about(database))
    writer.write(_names(slots))
    for batch in _counters(database):
        writer.write(batch)
    for batch in _requests(database, spans):
        writer.write(batch)
    writer.end()
    return Shown(len(spans.ids), in_window, slots)


def _set(database: RunDatabase, **variables: int) -> None:
    for name, value in variables.items():
        database.query(f"SET VARIABLE {name} = {value:d}::BIGINT")


def _count(database: RunDatabase) -> int:
    sql = f"SELECT count(*) FROM ({sql_file('spans')})"
    return int(database.query(sql, timeout_s=PATIENCE_S).table().rows[0][0])


def _spans(database: RunDatabase) -> _Spans:
    sql = f"SELECT export_id, export_start_us, export_end_us FROM ({sql_file('spans')})"
    rows = [row for batch in database.batches(f"{sql} ORDER BY 1") for row in batch]
    ids, starts, ends = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    order = np.argsort(starts, kind="stable")
    lane = np.empty(len(ids), np.int64)
    lane[order] = lanes(zip(starts[order].tolist(), ends[order].tolist(), strict=True))
    return _Spans(ids.tolist(), starts, ends, lane)


def _about(database: RunDatabase) -> dict[str, Any]:
    """Return what a reader of the file must know of the run."""
    run = database.run
    manifest: Mapping[str, Any] = run.manifest
    return {
        "run": run.folder.name,
        "trace": (manifest.get("trace") or {}).get("name"),
        "gpu": manifest.get("gpu"),
        "cache": manifest.get("cache"),
        "replay_version": manifest.get("replay_version"),
        "result_digest": manifest.get("result_digest"),
        "warnings": warnings(manifest),
        "notes": notes(manifest),
    }


def _names(slots: int) -> list[dict[str, Any]]:
    """Return the events that name processes and threads, in the order they are drawn."""
    events = []
    for pid, name in ((ENGINE_PID, "engine"), (REQUESTS_PID, "requests")):
        events.append(_named(pid, 0, "process_name", name=name))
        events.append(_named(pid, 0, "process_sort_index", sort_index=pid))
    events.append(_named(ENGINE_PID, EVICTIONS_TID, "thread_name", name="evicted, wanted again"))
    width = len(str(slots))
    for slot in range(1, slots + 1):
        name = f"slot {slot:0{width}}"
        events.append(_named(REQUESTS_PID, slot, "thread_name", name=name))
        events.append(_named(REQUESTS_PID, slot, "thread_sort_index", sort_index=slot))
    return events


def _named(pid: int, tid: int, name: str, /, **args: object) -> dict[str, Any]:
    return {"ph": "M", "pid": pid, "tid": tid, "name": name, "args": args}


def _counters(database: RunDatabase) -> Iterator[list[dict[str, Any]]]:
    sql = sql_file("counters")
    names = database.query(sql).columns[2:]
    ended_us = None
    for batch in database.batches(sql):
        yield [
            _counter(name, row[0], value)
            for row in batch
            for name, value in zip(names, row[2:], strict=True)
            if value is not None
        ]
        ended_us = batch[-1][1]
    if ended_us is not None:
        yield [_counter(name, ended_us, 0) for name in names]


def _counter(name: str, at_us: int, value: float) -> dict[str, Any]:
    return {"ph": "C", "pid": ENGINE_PID, "name": name, "ts": at_us, "args": {"value": value}}


def _requests(database: RunDatabase, spans: _Spans) -> Iterator[list[dict[str, Any]]]:
    sql = sql_file("spans")
    names = database.query(sql).columns[_PLACES:]
    at = 0
    for batch in database.batches(sql):
        events: list[dict[str, Any]] = []
        for row in batch:
            events += _request(row, names, spans, at)
            at += 1
        yield events


def _request(
    row: Sequence[Any], names: Sequence[str], spans: _Spans, at: int
) -> Iterator[dict[str, Any]]:
    """Yield the slices of one request, and what is known of the eviction it suffered from."""
    request, start, end, scheduled, first, done = row[:_EVICTED]
    args = {
        name: _plain(value)
        for name, value in zip(names, row[_PLACES:], strict=True)
        if value is not None
    }
    slot = int(spans.lane[at]) + 1
    here = {"ph": "X", "pid": REQUESTS_PID, "tid": slot}
    yield here | _slice(f"request {request}", start, end) | {"args": {"request_id": request} | args}
    if scheduled is None:  # the run stopped before its first token
        yield here | _slice("waiting or in prefill", start, end)
    else:
        parts = (("queue", start, scheduled), ("prefill", scheduled, first))
        for name, since, until in (*parts, ("decode", first, done), ("overhead", done, end)):
            if until > since:
                yield here | _slice(name, since, until)
    evicted_us, evicted_by = row[_EVICTED:_PLACES]
    if evicted_us is not None:
        missed_us = start if scheduled is None else scheduled
        yield from _eviction(request, slot, missed_us, (evicted_us, evicted_by), spans)


def _slice(name: str, start_us: int, end_us: int) -> dict[str, Any]:
    return {"name": name, "cat": name.split()[0], "ts": start_us, "dur": end_us - start_us}


def _eviction(
    request: int, slot: int, missed_us: int, evicted: tuple[int, int | None], spans: _Spans
) -> Iterator[dict[str, Any]]:
    """Yield the eviction of what a request missed, and an arrow from whoever took its place."""
    evicted_us, evicted_by = evicted
    args = {"wanted_by_request_id": request, "evicted_by_request_id": evicted_by}
    yield {
        "ph": "i", "s": "t", "pid": ENGINE_PID, "tid": EVICTIONS_TID, "ts": evicted_us,
        "name": "eviction", "cat": "eviction",
        "args": {name: value for name, value in args.items() if value is not None},
    }  # fmt: skip
    by = spans.place(evicted_by)
    if by is None:
        return
    # The arrow's ends are bound to what is open there; a slot may have its next request at the end.
    first_us, last_us = int(spans.start_us[by]), int(spans.end_us[by]) - 1
    arrow = {"name": "eviction", "cat": "eviction", "id": request, "pid": REQUESTS_PID}
    at_us = max(min(evicted_us, last_us), first_us)
    yield arrow | {"ph": "s", "tid": int(spans.lane[by]) + 1, "ts": at_us}
    yield arrow | {"ph": "f", "bp": "e", "tid": slot, "ts": max(missed_us, at_us)}


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


class _Writer:
    """Events to a stream, one a line."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._between = ""
        self._encoder = json.JSONEncoder(
            separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=str
        )

    def begin(self, about: Mapping[str, Any]) -> None:
        head = self._encoder.encode(about)
        text = f'{{"displayTimeUnit":"ms","otherData":{head},"traceEvents":[\n'
        self._sink.write(text.encode())

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        if not events:
            return
        lines = ",\n".join(map(self._encoder.encode, events))
        self._sink.write((self._between + lines).encode())
        self._between = ",\n"

    def end(self) -> None:
        self._sink.write(b"\n]}\n")
