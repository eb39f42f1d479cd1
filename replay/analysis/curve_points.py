"""The points of a curve as a frame: a row for each group, block size, policy and capacity.

`block_ceiling_tokens` is what an unlimited cache hits with blocks of that size, and
`block_ceiling_share` how much of it this one does. `marginal_tokens_per_gib` is what more capacity
saves, over the next tenth of it and at least one GiB; known for LRU where the bytes of a block are.
`token_hit_rate_error` is the standard error of a rate that was estimated from a sample. What is not
known is null.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from replay.analysis.group_curves import GroupCurve
from replay.cache.replays import Replay
from replay.cache.view import BlockView

GIB = 2**30
POINTS = pl.Schema(
    {
        "group": pl.String,
        "block_size": pl.Int64,
        "policy": pl.String,
        "capacity_blocks": pl.Int64,
        "capacity_tokens": pl.Int64,
        "capacity_gib": pl.Float64,
        "hit_tokens": pl.Int64,
        "token_hit_rate": pl.Float64,
        "token_hit_rate_error": pl.Float64,
        "block_ceiling_tokens": pl.Int64,
        "block_ceiling_share": pl.Float64,
        "marginal_tokens_per_gib": pl.Float64,
        "evicted_blocks": pl.Int64,
        "stranded_blocks": pl.Int64,
    }
)
ABOUT_HITS = tuple(POINTS)[6:]  # null where the content is unknown


def lru_points(
    view: BlockView,
    curves: Sequence[GroupCurve],
    capacities: Sequence[int],
    block_bytes: int | None,
) -> pl.DataFrame:
    """Return LRU at the capacities, in blocks, for each group; exact, from the curve."""
    capacity = np.asarray(capacities, np.int64)
    hits = np.stack([one.curve.hit_tokens(capacity) for one in curves])
    known: dict[str, np.ndarray] = {}
    if block_bytes is not None:
        more = np.maximum(capacity // 10, max(GIB // block_bytes, 1))
        later = np.stack([one.curve.hit_tokens(capacity + more) for one in curves])
        known["marginal_tokens_per_gib"] = (later - hits) * (GIB / (more * block_bytes))
    if curves[0].estimate is not None:
        known["token_hit_rate_error"] = curves[0].estimate.rate_error(capacity)
    return _points(view, curves, "lru", capacity, hits, block_bytes, known)


def replay_points(
    replay: Replay, curves: Sequence[GroupCurve], block_bytes: int | None
) -> pl.DataFrame:
    """Return one replay of a policy for each group; its evictions only where there are none."""
    saved = replay.hit_tokens
    hits = np.array([[saved[one.requests].sum()] for one in curves], np.int64)
    known: dict[str, np.ndarray] = {}
    if curves[0].name is None:
        known["evicted_blocks"] = np.array([replay.outcome.evicted_blocks])
        known["stranded_blocks"] = np.array([replay.outcome.stranded_blocks])
    capacity = np.array([replay.capacity_blocks], np.int64)
    return _points(replay.view, curves, replay.policy.name, capacity, hits, block_bytes, known)


def _points(
    view: BlockView,
    curves: Sequence[GroupCurve],
    policy: str,
    capacity_blocks: np.ndarray,
    hits: np.ndarray,
    block_bytes: int | None,
    known: dict[str, np.ndarray],
) -> pl.DataFrame:
    """Return the rows of every group, int64[groups, capacities] of hits, capacity by capacity."""
    each, times = len(capacity_blocks), len(curves)
    blocks = np.tile(capacity_blocks, times)
    tokens = np.repeat([one.curve.input_tokens for one in curves], each)
    ceiling = np.repeat([one.curve.ceiling_tokens for one in curves], each)
    columns = {
        "group": pl.Series([one.name for one in curves], dtype=pl.String).gather(
            np.repeat(np.arange(times), each)
        ),
        "block_size": np.full(len(blocks), view.block_size),
        "policy": pl.Series([policy], dtype=pl.String).new_from_index(0, len(blocks)),
        "capacity_blocks": blocks,
        "capacity_tokens": blocks * view.block_size,
        "hit_tokens": hits.ravel(),
        "token_hit_rate": _rates(hits.ravel(), tokens),
        "block_ceiling_tokens": ceiling,
        "block_ceiling_share": _rates(hits.ravel(), ceiling),
    }
    if block_bytes is not None:
        columns["capacity_gib"] = blocks * (block_bytes / GIB)
    columns |= {name: np.ravel(values) for name, values in known.items()}
    frame = pl.DataFrame(columns)
    lacking = [pl.lit(None, dtype=POINTS[name]).alias(name) for name in POINTS if name not in frame]
    return frame.with_columns(lacking).select(*POINTS).cast(POINTS).fill_nan(None)


def _rates(part: np.ndarray, whole: np.ndarray) -> pl.Series:
    """Return shares, null where there is nothing to have a share of."""
    shares = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)
    return pl.Series(shares, nan_to_null=True)
