"""WEKA / AgentX traces of coding agents: a JSON object a session, sub-agents nested in it.

    {"id": "trace_1", "block_size": 64, "hash_id_scope": "local", "requests": [
      {"t": 0.0, "type": "n", "model": "m", "in": 200, "out": 9, "hash_ids": [1, 2, 3],
       "api_time": 5.2, "think_time": 0.0},
      {"t": 7.5, "type": "subagent", "agent_id": "agent_001", "requests": [{"t": 0.0, ...}]}]}

`t` counts seconds from the start of the session. Within a sub-agent it does so too in captures as
they are published, and counts from its spawn in those of kv-cache-tester: where any is before the
spawn of its sub-agent, all of the file count from there (the rule of AIPerf and of Dynamo). `in`
and `out` are tokens, `hash_ids` prefix-chained blocks of 64 tokens: floor(in / 64) of them, because
the partial last block has none (https://github.com/callanjfox/kv-cache-tester). It gets an id here
that no other request has. Ids are a session's own, sub-agents share their parent's; with
`hash_id_scope: global` they mean the same in all sessions and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from replay.trace.blocks import dense_codes, find_chain_breaks, flat_blocks, is_chained
from replay.trace.frame import SESSIONS_SOURCE, Trace, TraceMeta, canonical_trace
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import bare_note, fresh_ids
from replay.trace.readers.checked_row import CheckedRow
from replay.trace.readers.content_requests import LENGTHS_ONLY
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.named_sessions import SESSION, with_turns
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import INTEGER, OBJECTS, TEXT, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import dropped_note, scalar_columns
from replay.trace.readers.text_requests import NO_RESPONSE
from replay.trace.readers.weka_sessions import (
    GLOBAL_SCOPE,
    SUBAGENT,
    SessionRequest,
    all_requests,
    before_spawn,
    seconds_ns,
    walk,
)
from replay.units import NS_PER_S

_SHAPES = (
    RowShape(
        (
            key("id", kind=TEXT),
            key("block_size", kind=INTEGER),
            key("requests", kind=OBJECTS),
            key("hash_id_scope", kind=TEXT, optional=True),
        )
    ),
)
_KEYS = frozenset(("t", "type", "in", "out", "hash_ids"))
_TYPES = ("n", "s", SUBAGENT)
_TIMES = {"ttft": "recorded_ttft_ns", "api_time": "recorded_e2e_ns", "think_time": "think_ns"}
_LARGEST_ID = 2**62
_SCOPES = (None, "local", GLOBAL_SCOPE)
_CHAINED = "prefix-chained block ids of the source; partial last blocks and responses have none"
_FROM_SPAWN = "times within sub-agents count from their spawn: some are before it otherwise"
_FROM_START = (
    "times within sub-agents count from the start of the session: none is before its spawn"
)
_DEEPEST = 50


def looks_like_weka(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a WEKA trace."""
    return fits_any(head, _SHAPES)


def read_weka(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a WEKA file, one session or one a line, sub-agents placed in time.

    Raises TraceError that names the session by its line and the request by its place in it,
    where more sessions break the format than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    sessions: dict[int, Mapping[str, Any]] = {}
    size = size_line = read = told = 0
    for line, session in walk_objects(source.data, problems):
        read += 1
        faults = _session_faults(session)
        if not faults and size and session["block_size"] != size:
            faults = [f"block_size is {size} on line {size_line} (got {session['block_size']})"]
        told += len(faults)
        for fault in faults:
            problems.add(fault, line=line)
        if not faults:
            sessions[line] = session
            size, size_line = session["block_size"], size_line or line  # type: ignore[assignment]
    from_spawn = any(before_spawn(session["requests"]) for session in sessions.values())
    requests = all_requests(sessions, from_spawn=from_spawn)
    _check_chaining(requests, size, problems)
    read += problems.total - told
    if not read:
        problems.add("no requests")
    keep = problems.settle(np.array([one.line for one in requests], np.int64), read=read)
    requests = _kept(requests, keep)
    empty = sum(one.row["out"] == 0 for one in requests)
    requests = _kept(requests, np.array([one.row["out"] > 0 for one in requests], bool))
    if not requests:
        problems.add("no request with a response")
        problems.raise_any()
    known = any(one.row.get("hash_ids") for one in requests)
    frame, notes = _frame(requests, size, source.sha256)
    if any(one.agent for one in requests):
        notes = (_FROM_SPAWN if from_spawn else _FROM_START, *notes)
    if not known:
        frame = frame.drop("block_ids")
    if empty:
        notes = (*notes, f"{empty:,} requests were left out: {NO_RESPONSE}")
    meta = TraceMeta(
        path=source.path,
        name=source.name,
        sha256=source.sha256,
        format="weka",
        block_size=size if known else None,
        content=_CHAINED if known else LENGTHS_ONLY,
        sessions=SESSIONS_SOURCE,
        rejected_rows=len(problems.put_aside),
        notes=notes,
        shared_ids=known and all(one.shares for one in requests),
    )
    return replace(canonical_trace(frame, meta), rejected=source.put_aside(problems))


def _session_faults(session: Mapping[str, Any]) -> list[str]:
    row = CheckedRow(session)
    row.integer("block_size", lowest=1, highest=2**20)
    if row.text("id") is None and not row.faults:
        row.lacks("id")
    scope = row.text("hash_id_scope")
    if scope not in _SCOPES:
        row.faults.append(f"hash_id_scope must be 'local' or 'global' (got {shown(scope)})")
    if "requests" not in session:
        row.lacks("requests")
    if not row.faults:
        _check_list(session["requests"], session["block_size"], "requests", 0, row.faults)
    return row.faults or _total_faults(session)


def _check_list(rows: object, size: int, label: str, depth: int, faults: list[str]) -> None:
    if not isinstance(rows, list):
        faults.append(f"{label} must be a list (got {shown(rows)})")
    elif depth > _DEEPEST:
        faults.append(f"{label} is nested more than {_DEEPEST} sub-agents deep")
    else:
        for at, row in enumerate(rows):
            here = f"{label}[{at}]"
            if not isinstance(row, dict):
                faults.append(f"{here} must be an object (got {shown(row)})")
            else:
                _check_request(row, size, here, depth, faults)


def _check_request(
    values: Mapping[str, Any], size: int, here: str, depth: int, faults: list[str]
) -> None:
    before = len(faults)
    row = CheckedRow(values, place=f"{here}.", faults=faults)
    kind = row.text("type")
    if row.duration_ns("t", unit_ns=NS_PER_S) is None and len(faults) == before:
        row.lacks("t")
    if kind == SUBAGENT:
        _check_list(values.get("requests"), size, f"{here}.requests", depth + 1, faults)
        return
    if kind not in _TYPES and len(faults) == before:
        faults.append(f"{here}.type must be one of {', '.join(_TYPES)} (got {shown(kind)})")
    tokens = row.tokens("in")
    row.tokens("out", lowest=0)
    for name in _TIMES:
        row.duration_ns(name, unit_ns=NS_PER_S)
    ids = row.integers("hash_ids", lowest=0, highest=_LARGEST_ID)
    if len(faults) == before and ids is not None and len(ids) != tokens // size:
        full = tokens // size
        faults.append(f"{here}: in {tokens} has {full} full blocks of {size} (got {len(ids)} ids)")


def _total_faults(session: Mapping[str, Any]) -> list[str]:
    """Return how the totals that a session states differ from the sums of its requests."""
    totals = session.get("totals")
    stated = totals.get("combined_tokens") if isinstance(totals, dict) else None
    if not isinstance(stated, dict):
        return []
    rows = [row for _, _, row in walk(session["requests"], 0, None, from_spawn=True)]
    faults = []
    for name, part in (("input", "in"), ("output", "out")):
        found = sum(row[part] for row in rows)
        if name in stated and stated[name] != found:
            faults.append(f"requests have {found} {name} tokens (got {shown(stated[name])})")
    return [f"totals.combined_tokens: {fault}" for fault in faults]


def _kept(requests: list[SessionRequest], keep: np.ndarray) -> list[SessionRequest]:
    """Return the requests to keep, and count their callers anew; a lost one is None."""
    if keep.all():
        return requests
    place = np.cumsum(keep) - 1

    def moved(by: int | None) -> int | None:
        return int(place[by]) if by is not None and keep[by] else None

    return [
        replace(request, spawned_by=moved(request.spawned_by))
        for request, good in zip(requests, keep, strict=True)
        if good
    ]


def _codes(requests: list[SessionRequest]) -> tuple[np.ndarray, np.ndarray, int]:
    """Return codes of the ids end to end, how many each request has, and how many are distinct.

    Ids are a session's own, or of all that share them: equal codes mean one id of one of these.
    """
    ids_of = [request.row.get("hash_ids") or () for request in requests]
    counts = np.array([len(ids) for ids in ids_of])
    lines = np.array([0 if request.shares else request.line for request in requests])
    session = np.repeat(np.unique(lines, return_inverse=True)[1], counts).astype(np.int64)
    flat = np.concatenate([np.array(ids, np.int64) for ids in ids_of])
    ids, distinct = dense_codes(flat)
    codes, distinct = dense_codes(session * distinct + ids)
    return codes, counts, distinct


def _check_chaining(requests: list[SessionRequest], size: int, problems: ProblemList) -> None:
    """Count the full blocks of a session whose id follows two different ones."""
    if not requests:
        return
    codes, counts, distinct = _codes(requests)
    flat = flat_blocks(list_column(codes.astype(np.uint64), counts))
    tokens = counts * size
    if is_chained(flat, codes, size=distinct, input_tokens=tokens, block_size=size):
        return
    breaks = find_chain_breaks(flat, codes, size=distinct, input_tokens=tokens, block_size=size)
    owner, starts = flat.requests, flat.offsets

    def message(place: int) -> str:
        request = owner[place]
        block = (requests[request].row.get("hash_ids") or ())[place - starts[request]]
        return f"block id {block} follows two different ids"

    problems.add_rows(breaks.links, message, lines=np.array([r.line for r in requests])[owner])
    problems.hint("block ids must be prefix-chained: an id names a block and all that precedes it")


def _frame(
    requests: list[SessionRequest], size: int, sha256: str
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    order = sorted(range(len(requests)), key=lambda place: requests[place].arrival_ns)
    back = {place: row for row, place in enumerate(order)}
    ordered = [requests[place] for place in order]
    rows = [request.row for request in ordered]
    keys = _KEYS.union(_TIMES)
    times = {
        column: pl.Series([_ns(row.get(name)) for row in rows], dtype=pl.Int64)
        for name, column in _TIMES.items()
    }
    frame = pl.DataFrame(
        {
            "arrival_ns": pl.Series([request.arrival_ns for request in ordered], dtype=pl.Int64),
            "input_tokens": [row["in"] for row in rows],
            "output_tokens": [row["out"] for row in rows],
            "block_ids": _block_ids(ordered, size, sha256),
            "kind": [SUBAGENT if request.agent else "main" for request in ordered],
            "agent_id": pl.Series([request.agent for request in ordered], dtype=pl.String),
            "streamed": [row["type"] == "s" for row in rows],
            **{name: column for name, column in times.items() if column.null_count() < len(rows)},
        }
    )
    own = [{name: value for name, value in row.items() if name not in keys} for row in rows]
    other, dropped = scalar_columns(own, taken=[*frame.columns, SESSION])
    frame = frame.with_columns(other)
    names = pl.Series(SESSION, [request.session for request in ordered])
    frame = with_turns(frame.with_columns(names), names)
    callers = [None if one.spawned_by is None else back[one.spawned_by] for one in ordered]
    frame = frame.with_columns(
        parent_request_id=pl.coalesce("parent_request_id", pl.Series(callers, dtype=pl.Int64))
    )
    bare = sum(row.get("hash_ids") is None for row in rows)
    return frame, (*dropped_note(dropped), *(bare_note(bare) if bare < len(rows) else ()))


def _ns(value: float | None) -> int | None:
    return None if value is None else seconds_ns(value)


def _block_ids(requests: list[SessionRequest], size: int, sha256: str) -> pl.Series:
    """Return ids for all blocks: of the source where all sessions share them, else told apart.

    Each partial last block gets one of its own, and so do all blocks of a prompt without ids.
    """
    codes, counts, distinct = _codes(requests)
    ids = codes.astype(np.uint64)
    wanted = np.array([-(-request.row["in"] // size) for request in requests])
    bare = wanted - counts
    fresh = (distinct + np.arange(bare.sum())).astype(np.uint64)
    if all(request.shares for request in requests):
        given = [request.row.get("hash_ids") or () for request in requests]
        ids = np.concatenate([np.array(one, np.uint64) for one in given])
        fresh = np.array(fresh_ids(sha256, 0, int(bare.sum())), np.uint64)
    ids = np.insert(ids, np.repeat(np.cumsum(counts), bare), fresh)
    return list_column(ids, wanted).alias("block_ids")


WEKA = Reader(
    name="weka",
    suffixes=(".json", ".jsonl"),
    meaning="JSON: a session of a coding agent with its sub-agents, 64-token ids of its own",
    content="prefix-chained block ids; partial last blocks and responses have none",
    sessions="each file or line is one, and so is each sub-agent in it",
    assumes="partial last blocks are never seen again; sessions of several files start together; "
    "times within sub-agents count from the session's start, unless one is before its spawn",
    sniff=looks_like_weka,
    read=read_weka,
    shapes=_SHAPES,
)
