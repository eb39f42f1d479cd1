"""What eviction policies may know of requests besides their content: times, priorities, costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.trace.frame import Trace
from replay.trace.priorities import priorities

if TYPE_CHECKING:
    from replay.gpu.spec import Gpu, Model

# Most policies take no notice of costs, so hardware is imported where somebody asks for them.

TURNS_TOLD_APART = 4
CATEGORY_COLUMNS = ("kind", "turn")
DEFAULT_GPU, DEFAULT_MODEL = "h100-sxm", "llama-3.1-8b"
CHUNK_TOKENS = 2_048
FAR_TOKENS = 32_768


@dataclass(frozen=True, slots=True)
class RecomputeCost:
    """What computing a token again takes, as integers: `linear_ns`, and more the deeper it stands.

    A token after c tokens of context costs `linear_ns` + `context_ns` · c / 1,000 nanoseconds. All
    blocks hold the same bytes of KV, so per byte is the same order as per token. No context cost
    makes all blocks equal.
    """

    linear_ns: int
    context_ns: int


@dataclass(frozen=True, slots=True)
class Hints:
    """Of R requests in replay order; what a policy needs and a trace lacks is None.

    `arrival_ns` int64[R] never falls; `priority` int64[R], a higher one is kept longer; `category`
    int32[R] counts from 0; `ttl_ns` is the longest idle time of policy ttl; `seed` starts policy
    random; `cost` and `block_tokens`, the block size, are for gdsf and pgdsf.
    """

    arrival_ns: np.ndarray
    block_tokens: int
    cost: RecomputeCost
    priority: np.ndarray | None = None
    category: np.ndarray | None = None
    ttl_ns: int | None = None
    seed: int = 0


def hints_of(
    trace: Trace,
    block_tokens: int,
    *,
    cost: RecomputeCost | None = None,
    ttl_ns: int | None = None,
    seed: int = 0,
) -> Hints:
    """Return what a trace tells: a column `priority` of the source's own, kind × turn as category.

    Turns from TURNS_TOLD_APART - 1 on are one category; without `cost` that of DEFAULT_MODEL on
    DEFAULT_GPU is taken.
    """
    frame = trace.frame
    priority = None
    if "priority" in frame.columns:
        priority = priorities(frame, trace.meta.path)
    return Hints(
        arrival_ns=trace.column("arrival_ns"),
        block_tokens=block_tokens,
        cost=cost or _default_cost(),
        priority=priority,
        category=_categories(frame),
        ttl_ns=ttl_ns,
        seed=seed,
    )


def _categories(frame: pl.DataFrame) -> np.ndarray | None:
    """Return a code for each (kind, turn) of a frame, int32[R]; None where it has neither."""
    known = [name for name in CATEGORY_COLUMNS if name in frame.columns]
    if not known:
        return None
    cap = pl.lit(TURNS_TOLD_APART - 1)
    parts = [pl.min_horizontal(name, cap) if name == "turn" else pl.col(name) for name in known]
    code = frame.select(pl.struct(parts).rank("dense") - 1).to_series()
    return code.to_numpy().astype(np.int32)


def _default_cost() -> RecomputeCost:
    from replay.gpu.spec import load_gpu, load_model

    return recompute_cost(load_gpu(DEFAULT_GPU), load_model(DEFAULT_MODEL))


def recompute_cost(gpu: Gpu, model: Model) -> RecomputeCost:
    """Return the cost of a token on one GPU, in chunks of CHUNK_TOKENS.

    A straight line through the step-cost model at the start of a prompt and at FAR_TOKENS.
    """
    from replay.gpu.cost import step_cost, time_steps, uniform_steps

    table = step_cost(
        gpu, model, tensor_parallel=1, max_batched_tokens=CHUNK_TOKENS, max_sequences=1
    )
    steps = uniform_steps(CHUNK_TOKENS, [0, FAR_TOKENS], head=False)
    near, far = (float(time_ns) for time_ns in time_steps(table, steps))
    return RecomputeCost(
        linear_ns=round(near / CHUNK_TOKENS),
        context_ns=round((far - near) / CHUNK_TOKENS / (FAR_TOKENS / 1_000)),
    )
