"""The canonical trace as one Parquet file: columns of `replay.schema.TRACE`, facts in its metadata.

The facts travel as JSON under the key `replay` of the file's key-value metadata. A file without
them is not one of ours: which blocks are content, and of what size, cannot be guessed.
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
from replay.trace.problems import ProblemList
from replay.trace.separation import separated
from replay.trace.whole_file import whole_file

METADATA_KEY = "replay"
MAGIC = b"PAR1"
FORMAT = "parquet"
_FACT_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,), "sha256": (str,), "format": (str,), "block_size": (int, NoneType),
    "content": (str,), "sessions": (str,), "rejected_rows": (int,), "notes": (list,),
    "tool_version": (str,),
}  # fmt: skip
_LATER_FACTS: dict[str, tuple[type, ...]] = {  # files written before have none of these
    "clock_start_ns": (int, NoneType), "shared_ids": (bool,), "separate_by": (list, NoneType),
}  # fmt: skip
_HINT = "read the original trace instead; of Parquet files only those replay wrote can be read"


def write_trace(trace: Trace, path: str | Path, *, force: bool = False) -> Path:
    """Write the trace as canonical Parquet and return its path; the file appears whole or not.

    Raises OutputExistsError where a file is there already, OutputError where writing fails.
    """
    path = Path(path)
    facts = {"schema_version": TRACE_SCHEMA_VERSION, **asdict(trace.meta)}
    del facts["path"]
    with whole_file(path, force=force) as file:
        trace.frame.write_parquet(file, metadata={METADATA_KEY: json.dumps(facts)})
    return path


def read_trace(data: bytes, path: str, *, sha256: str, block_size: int | None = None) -> Trace:
    """Return the trace in the bytes of a canonical Parquet file.

    Raises TraceError where it is cut short, is not one of ours, has other columns, or its block
    ids are not prefix-chained; also when `block_size` is given and is not the file's own.
    """
    facts = _facts(data, path)
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


def read_facts(path: Path, shown: str, *, sha256: str) -> TraceMeta:
    """Return the facts in a canonical Parquet file's metadata, none of its rows read.

    Raises TraceError where it is cut short or is not one of ours.
    """
    return _meta(_facts(path, shown), shown, sha256)


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


def _facts(data: bytes | Path, path: str) -> dict[str, object]:
    if isinstance(data, bytes) and (
        len(data) < 12 or not data.startswith(MAGIC) or not data.endswith(MAGIC)
    ):
        what = "not a Parquet file, or one that was cut short"
        raise TraceError([Problem(path, what)])
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
    return facts


def _meta(facts: dict[str, object], path: str, sha256: str) -> TraceMeta:
    types = _FACT_TYPES | {name: _LATER_FACTS[name] for name in _LATER_FACTS if name in facts}
    wrong = [name for name, allowed in types.items() if type(facts.get(name, ...)) not in allowed]
    if wrong:
        what = f"its metadata lacks {', '.join(wrong)}, or not as replay writes it"
        raise TraceError([Problem(path, what)], hint=_HINT)
    chosen: dict[str, Any] = {name: facts[name] for name in types}
    notes = tuple(str(note) for note in chosen["notes"])
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
