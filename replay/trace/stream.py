"""A canonical Parquet file of block ids, read in batches: memory goes with what is distinct.

The file is read twice. The first pass grows the trie of all blocks, the second one writes down
which edges each prompt takes. Block ids are never in memory for more than one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from replay.errors import Problem, TraceError
from replay.kernels.tree.grow import CHAINED, TWO_PARENTS, compress_edges
from replay.kernels.tree.stream import batch_paths, extend_trie, rehash
from replay.progress import Hook, ignore
from replay.trace.blocks import FlatBlocks, flat_blocks
from replay.trace.frame import Trace, canonical_trace
from replay.trace.parquet import read_facts
from replay.trace.parquet_check import MAGIC, check_parquet_file
from replay.trace.separation import AUTO, roots_of, separated, skipping
from replay.trace.tree import PrefixTree

BATCH_REQUESTS = 2**18  # as many as Polars writes to a row group
STREAMED_FROM_REQUESTS = 2_000_000
_FIRST_SLOTS = 2**20


def is_streamable(path: str | Path) -> bool:
    """Return whether a file is long, and canonical Parquet whose only content is block ids.

    Raises TraceError where it is a damaged Parquet file.
    """
    path = Path(path)
    try:
        if not path.is_file() or path.stat().st_size < STREAMED_FROM_REQUESTS:
            return False
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return False
        check_parquet_file(path)
        names = set(pl.read_parquet_schema(path))
        if "block_ids" not in names or names & {"segments", "tokens", "response_block_ids"}:
            return False
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return False
    return bool(rows >= STREAMED_FROM_REQUESTS)


def stream_trace(
    path: str | Path,
    *,
    separate_by: Sequence[str] | str = AUTO,
    batch_requests: int = BATCH_REQUESTS,
    progress: Hook = ignore,
) -> tuple[Trace, PrefixTree] | None:
    """Return the trace without its block ids, and the prefix tree they make.

    The tree equals that of `build_tree`; `separate_by` is that of `separated`. None where
    requests are kept apart and ids are too large to be told apart with them, in 64 bits: read the
    file whole. Raises TraceError where it is no canonical Parquet of block ids, or where these do
    not cover the prompts or are not prefix-chained, and what `separated` raises.
    """
    path = Path(path)
    meta = read_facts(path, str(path))
    if meta.block_size is None or meta.block_size < 1:
        raise TraceError([Problem(str(path), "has no block ids of a known size")])
    frame = pl.read_parquet(path, columns=_others(path))
    trace = separated(canonical_trace(frame, meta), meta.separate_by or AUTO)
    trace = separated(trace, separate_by)
    apart = _Apart(roots_of(trace))
    trie = _Trie.empty()
    for start, batch in _batches(path, trace.requests, batch_requests):
        progress("Finding distinct blocks", start, 2 * trace.requests)
        flat, tokens = _checked(batch, start, meta.block_size, str(path))
        if not apart.fits(flat.ids):
            return None
        ids = apart.ids(flat, start)
        fault, request = trie.extend(ids, flat.offsets, tokens, meta.block_size)
        if fault != CHAINED:
            what = "follows two different ids" if fault == TWO_PARENTS else "stands for two lengths"
            raise TraceError(
                [Problem(str(path), f"request {start + request}: a block id {what}")],
                hint="block ids must be prefix-chained: an id names a block and all before it",
            )
    return trace, _tree(trie, trace, path, batch_requests, apart, progress)


@dataclass(frozen=True, slots=True)
class _Apart:
    """Block ids and the roots of their requests, int32[R], as one number each."""

    roots: np.ndarray

    @property
    def width(self) -> int:
        """How many roots there are."""
        return int(self.roots.max(initial=0)) + 1

    def fits(self, ids: np.ndarray) -> bool:
        """Return whether the ids of a batch leave room for the roots in 64 bits."""
        return (int(ids.max(initial=0)) + 1) * self.width <= 2**64

    def ids(self, flat: FlatBlocks, start: int) -> np.ndarray:
        """Return the numbers of a batch whose first request is `start`, uint64."""
        if self.width == 1:
            return flat.ids
        of_batch = self.roots[start : start + len(flat.counts)].astype(np.uint64)
        return flat.ids * np.uint64(self.width) + np.repeat(of_batch, flat.counts)


def _others(path: Path) -> list[str]:
    return [name for name in pl.read_parquet_schema(path) if name != "block_ids"]


def _batches(path: Path, requests: int, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    scan = pl.scan_parquet(path).select("block_ids", "input_tokens")
    for start in range(0, requests, size):
        yield start, scan.slice(start, size).collect(engine="in-memory")


def _checked(
    batch: pl.DataFrame, start: int, block_size: int, path: str
) -> tuple[FlatBlocks, np.ndarray]:
    """Return the ids of a batch and its prompt lengths, as many ids as each needs."""
    flat = flat_blocks(batch["block_ids"].cast(pl.List(pl.UInt64)))
    tokens = batch["input_tokens"].to_numpy().astype(np.int64)
    wrong = np.flatnonzero(flat.counts != -(-tokens // block_size))
    if len(wrong):
        row = int(wrong[0])
        what = (
            f"request {start + row}: {tokens[row]} tokens in blocks of {block_size} need "
            f"{-(-tokens[row] // block_size)} block ids (got {flat.counts[row]})"
        )
        raise TraceError([Problem(path, what)], total=len(wrong))
    return flat, tokens


@dataclass(slots=True)
class _Trie:
    """The distinct blocks so far, a row each, and the table that finds them by id."""

    table: np.ndarray
    known: np.ndarray
    parent: np.ndarray
    tokens: np.ndarray
    children: np.ndarray
    ends: np.ndarray
    distinct: int = 0

    @classmethod
    def empty(cls) -> _Trie:
        rows = _FIRST_SLOTS // 2
        known = np.empty(rows, np.uint64)
        return cls(
            table=rehash(known, 0, _FIRST_SLOTS),
            known=known,
            parent=np.empty(rows, np.int32),
            tokens=np.empty(rows, np.int32),
            children=np.empty(rows, np.int32),
            ends=np.empty(rows, np.bool_),
        )

    def extend(
        self, ids: np.ndarray, offsets: np.ndarray, input_tokens: np.ndarray, block_size: int
    ) -> tuple[int, int]:
        """Add a batch; return what it breaks, CHAINED for nothing, and the request that does."""
        self._make_room(self.distinct + len(ids))
        fault, request, self.distinct = extend_trie(
            np.ascontiguousarray(ids), offsets, input_tokens, block_size, self.table, self.known,
            self.parent, self.tokens, self.children, self.ends, self.distinct,
        )  # fmt: skip
        return fault, request

    def _make_room(self, rows: int) -> None:
        if rows <= len(self.known):
            return
        wide = max(len(self.known), 1 << (rows - 1).bit_length())
        for name in ("known", "parent", "tokens", "children", "ends"):
            old = getattr(self, name)
            new = np.empty(wide, old.dtype)
            new[: self.distinct] = old[: self.distinct]
            setattr(self, name, new)
        self.table = rehash(self.known, self.distinct, 2 * wide)


def _tree(
    trie: _Trie, trace: Trace, path: Path, batch_requests: int, apart: _Apart, progress: Hook
) -> PrefixTree:
    used = slice(trie.distinct)
    edge_of_code, is_head, parent, start, stop, last = compress_edges(
        trie.parent[used], trie.tokens[used], trie.children[used], trie.ends[used]
    )
    last_ids = trie.known[last] // np.uint64(apart.width)
    counts, edges = [], []
    for first, batch in _batches(path, trace.requests, batch_requests):
        progress("Writing down paths", trace.requests + first, 2 * trace.requests)
        flat = flat_blocks(batch["block_ids"].cast(pl.List(pl.UInt64)))
        ids = np.ascontiguousarray(apart.ids(flat, first))
        found = batch_paths(
            ids, flat.offsets, trie.table, trie.known, trie.distinct, edge_of_code, is_head
        )
        counts.append(found[0])
        edges.append(found[1])
    offsets = np.zeros(trace.requests + 1, np.int64)
    np.cumsum(np.concatenate(counts), out=offsets[1:])
    return PrefixTree(
        edge_parent=parent,
        edge_start=start,
        edge_stop=stop,
        edge_last_id=last_ids,
        path_offsets=offsets,
        path_edges=np.concatenate(edges),
        prompt_stops=offsets[1:],
        input_tokens=trace.column("input_tokens"),
        skips=skipping(trace),
        ids_are_blocks=True,
    )
