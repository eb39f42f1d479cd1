"""The canonical trace as one Parquet file: columns of `replay.schema.TRACE`, facts in its metadata.

The facts travel as JSON under the key `replay` of the file's key-value metadata. A file without
them is not one of ours: which blocks are content, and of what size, cannot be guessed. One of the
facts is the digest of the whole file, checked before anything is decoded.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import polars as pl

from replay.errors import Problem, TraceError
from replay.schema import TRACE_SCHEMA_VERSION
from replay.trace.blocks import dense_codes, find_chain_breaks, flat_blocks, is_chained
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.parquet_check import (
    FILE_DIGEST,
    UNSEALED,
    check_parquet,
    check_parquet_file,
    seal,
)
from replay.trace.problems import ProblemList
from replay.trace.separation import separated
from replay.writing.whole import whole_file

METADATA_KEY = "replay"
FORMAT = "parquet"
NOT_VERIFIABLE = "the file has no checksum (an earlier replay wrote it): damage would go unnoticed"
_SEALED_SINCE = 2  # version of the trace schema
_FACT_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,), "sha256": (str,), "format": (str,), "block_size": (int, NoneType),
    "content": (str,), "sessions": (str,), "rejected_rows": (int,), "notes": (list,),
    "tool_version": (str,),
}  # fmt: skip
_LATER_FACTS: dict[str, tuple[type, ...]] = {  # files written before have none of these
    "clock_start_ns": (int, NoneType), "shared_ids": (bool,), "separate_by": (list, NoneType),
}  # fmt: skip
_HINT = (
    "of Parquet files, those that replay wrote are read, those with a column conversation, "
    "conversations or messages, and with --columns any table"
)


def write_trace(trace: Trace, path: str | Path, *, force: bool = False) -> Path:
    """Write the trace as canonical Parquet and return its path; the file appears whole or not.

    Raises OutputExistsError where a file is there already, OutputError where writing fails.
    """
    path = Path(path)
    facts = {"schema_version": TRACE_SCHEMA_VERSION, **asdict(trace.meta), FILE_DIGEST: UNSEALED}
    facts["notes"] = [note for note in trace.meta.notes if note != NOT_VERIFIABLE]
    del facts["path"]
    with whole_file(path, force=force) as sink:
        trace.frame.write_parquet(sink, metadata={METADATA_KEY: json.dumps(facts)})
        seal(sink)
    return path


def read_trace(data: bytes, path: str, *, sha256: str, block_size: int | None = None) -> Trace:
    """Return the trace in the bytes of a canonical Parquet file.

    Raises TraceError where it is damaged, is not one of ours, has other columns, or its block
    ids are not prefix-chained; also when `block_size` is given and is not the file's own.
    """
    facts = _facts(data, path, sealed=check_parquet(data, path).sealed)
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise TraceError([Problem(path, f"damaged Parquet file ({_first_line(error)})")]) from error
    meta = _meta(facts, path, sha256)
    if block_size not in (None, meta.block_size):
        own = f"{meta.block_size}" if meta.block_size else "none"
        raise TraceError([Problem(path, f"its block size is {own} (got {block_size})")])
    if meta.block_size is not None and meta.block_size < 1:
        raise TraceError([Problem(path, f"its block size is below 1 (got {meta.block_size})")])
    trace = canonical_trace(frame, meta)
    if meta.separate_by is not None:
        trace = separated(trace, meta.separate_by)
    if trace.has_blocks:
        check_blocks(trace)
    return trace


def read_facts(path: Path, shown: str) -> TraceMeta:
    """Return the facts in a canonical Parquet file's metadata, no row of it decoded yet.

    Raises TraceError where it is damaged or is not one of ours, OSError where it cannot be read.
    """
    checked = check_parquet_file(path)
    return _meta(_facts(path, shown, sealed=checked.sealed), shown, checked.sha256)


def check_blocks(trace: Trace) -> None:
    """Raise TraceError where block ids do not cover the prompt or are not prefix-chained."""
    size = trace.meta.block_size
    assert size is not None
    flat = flat_blocks(trace.frame["block_ids"])
    input_tokens = trace.column("input_tokens")
    wanted = -(-input_tokens // size)
    problems = ProblemList(trace.meta.path)
    problems.add_rows(
        np.flatnonzero(flat.counts != wanted),
        lambda row: (
            f"request {row}: {input_tokens[row]} tokens in blocks of {size} need "
            f"{wanted[row]} block ids (got {flat.counts[row]})"
        ),
        lines=None,
    )
    problems.raise_any()
    codes, count = dense_codes(flat.ids)
    if is_chained(flat, codes, size=count, input_tokens=input_tokens, block_size=size):
        return
    breaks = find_chain_breaks(flat, codes, size=count, input_tokens=input_tokens, block_size=size)
    owner = flat.requests

    def word(what: str, place: int) -> str:
        first, again = owner[breaks.first[place]], owner[place]
        return f"block id {flat.ids[place]} {what}: in request {first} and in request {again}"

    problems.add_rows(breaks.links, lambda place: word("follows two ids", place), lines=None)
    problems.add_rows(breaks.lengths, lambda place: word("has two lengths", place), lines=None)
    problems.hint("block ids must be prefix-chained: an id names a block and all that precedes it")
    problems.raise_any()


def _facts(data: bytes | Path, path: str, *, sealed: bool) -> dict[str, object]:
    try:
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        text = pl.read_parquet_metadata(source).get(METADATA_KEY)
        facts = json.loads(text) if text is not None else None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise TraceError([Problem(path, f"damaged Parquet file ({_first_line(error)})")]) from error
    if not isinstance(facts, dict) or "schema_version" not in facts:
        raise TraceError([Problem(path, "a Parquet file, but no trace of ours")], hint=_HINT)
    version = facts["schema_version"]
    if not isinstance(version, int) or version > TRACE_SCHEMA_VERSION:
        what = f"trace schema {version!r} is newer than this version reads ({TRACE_SCHEMA_VERSION})"
        raise TraceError([Problem(path, what)], hint="upgrade kvreplay")
    if version >= _SEALED_SINCE and not sealed:
        raise TraceError([Problem(path, f"damaged: its {FILE_DIGEST} is gone")])
    return facts


def _meta(facts: dict[str, object], path: str, sha256: str) -> TraceMeta:
    types = _FACT_TYPES | {name: _LATER_FACTS[name] for name in _LATER_FACTS if name in facts}
    wrong = [name for name, allowed in types.items() if type(facts.get(name, ...)) not in allowed]
    if wrong:
        what = f"its metadata lacks {', '.join(wrong)}, or not as replay writes it"
        raise TraceError([Problem(path, what)], hint=_HINT)
    chosen: dict[str, Any] = {name: facts[name] for name in types}
    notes = tuple(str(note) for note in chosen["notes"])
    if FILE_DIGEST not in facts:
        notes = (*notes, NOT_VERIFIABLE)
    if chosen["format"] != FORMAT:
        origin = f"{chosen['format']} format, sha256 {chosen['sha256'][:12]}"
        notes = (f"from {chosen['name']}, {origin}", *notes)
    named = chosen.get("separate_by")
    if named is not None:
        chosen["separate_by"] = tuple(str(name) for name in named)
    chosen |= {"notes": notes, "sha256": sha256, "format": FORMAT}
    return TraceMeta(path=path, **chosen)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no reason given"])[0]
