"""Compile kernels ahead of time, part by part, by replaying two requests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from replay.cache.hints import hints_of
from replay.cache.queue_policies import QUEUE_POLICIES
from replay.cache.ranked_policies import RANKED_POLICIES
from replay.cache.replacement import possible_policies
from replay.cache.replays import replay_all
from replay.cache.view import block_view
from replay.compiling import parts
from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from replay.gpu.breakdown import Step, break_down
from replay.gpu.cost import replica_cost
from replay.gpu.replica import Replica
from replay.gpu.spec import load_gpu, load_model
from replay.trace.chain import chained
from replay.trace.content import block_ids_of
from replay.trace.describe import describe
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.hashing import Salt, block_hashes, prefix_digests
from replay.trace.parquet import write_trace
from replay.trace.readers.mooncake import read_mooncake
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.sessions import infer_sessions
from replay.trace.stream import stream_trace
from replay.trace.tokens import tokens_of
from replay.trace.tree import build_tree
from replay.workload.generate import generate
from replay.workload.profiles import load_profile

_BLOCK = 4
_SEGMENTS = (
    pl.Series("segments", [[0]], dtype=pl.List(pl.UInt64)),
    pl.Series("segment_tokens", [[1]], dtype=pl.List(pl.Int32)),
)
_MOONCAKE = b'{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0]}'
_TOKENS = (pl.Series("tokens", [[0]], dtype=pl.List(pl.UInt32)),)
_META = TraceMeta(path="", name="", sha256="", format="", block_size=_BLOCK, content="two requests")
_LRU = {"lru"}


def compile_kernels() -> None:
    """Compile every kernel there is, in this process."""
    for name in parts.NAMES:
        compile_part(name)


def compile_part(name: str) -> None:
    """Run each kernel of a part of `parts.PARTS` once, on arrays of the types it always gets."""
    _COMPILE[name]()


def _two_requests(ids: list[list[int]]) -> Trace:
    frame = pl.DataFrame(
        {
            "arrival_ns": [0, 1],
            "input_tokens": [2 * _BLOCK, 2 * _BLOCK],
            "output_tokens": [2, 2],
            "block_ids": pl.Series(ids, dtype=pl.List(pl.UInt64)),
        }
    )
    return infer_sessions(canonical_trace(frame, _META))


def _trace() -> Trace:
    return _two_requests([[0, 1], [0, 2]])


def _compile_engine(mode: str, kind: str, scheduler: str = "vllm") -> None:
    """Replay two requests in one kind of cache."""
    engine = {"mode": mode} if scheduler == "vllm" else {"mode": mode, "scheduler": scheduler}
    execute(prepare_trace(_trace(), Scenario(engine=engine, cache={"kind": kind})))


def _compile_reading() -> None:
    """Read a Mooncake line; build a tree of small ids and describe it."""
    read_mooncake(Source("", "", _MOONCAKE, ""), ReadOptions(block_size=_BLOCK))
    trace = _trace()
    describe(trace, build_tree(trace))


def _compile_content() -> None:
    """Build trees of any ids, of segments and of token ids; chain blocks; read in batches."""
    trace = _two_requests([[0, 1], [0, 2**60]])
    describe(trace, build_tree(trace))
    for content in (_SEGMENTS, _TOKENS):
        frame = pl.DataFrame({"arrival_ns": [0], "input_tokens": [1], "output_tokens": [1]})
        build_tree(canonical_trace(frame.with_columns(content), _META))
    chained(pl.Series([[0]], dtype=pl.List(pl.UInt64)), np.array([1]), _BLOCK)
    with tempfile.TemporaryDirectory() as folder:
        stream_trace(write_trace(trace, Path(folder) / "trace.parquet"))


def _compile_policies(names: set[str]) -> None:
    """Draw the curve, and replay the eviction policies of these names, over two requests."""
    trace = _trace()
    outputs = trace.column("output_tokens").astype(np.int64)
    view = block_view(build_tree(trace), outputs, block_size=_BLOCK)
    assert view.curve.working_set_blocks
    known = hints_of(trace, _BLOCK, ttl_ns=1)
    hints = replace(known, priority=np.zeros(2, np.int64), category=np.zeros(2, np.int32))
    policies = [one for one in possible_policies(hints) if one.name in names]
    list(replay_all(view, policies, [1], hints, threads=1))


def _compile_costs() -> None:
    """Break one step down."""
    replica = Replica(load_gpu("h100-sxm"), load_model("llama-3.1-8b"))
    cost = replica_cost(replica, max_batched_tokens=2, max_sequences=2)
    break_down(replica, cost, Step(new=1, cached=1, decodes=1, context=1))


def _compile_generator() -> None:
    """Draw a few requests that outgrow their window, name their tokens and hash them."""
    trace = generate(load_profile("context_overflow").changed(requests=200))
    generate(load_profile("chat").changed(requests=200))  # its branches cut prompts
    block_ids_of(tokens_of(trace), _BLOCK)
    block_hashes([1, 2], 1, salt=Salt(model="m"), algorithm="murmur3")
    prefix_digests([1, 2], [1], algorithm="murmur3")


_COMPILE: dict[str, Callable[[], None]] = {
    **{
        parts.engine_part(mode, kind): partial(_compile_engine, mode, kind)
        for mode in ("timed", "untimed")
        for kind in ("block", "radix", "session_store")
    },
    parts.SGLANG: partial(_compile_engine, "timed", "radix", "sglang"),
    parts.QUEUES: partial(_compile_policies, _LRU | {one.name for one in QUEUE_POLICIES}),
    parts.RANKS: partial(_compile_policies, {one.name for one in RANKED_POLICIES}),
    parts.CURVES: partial(_compile_policies, _LRU | {"min", "min_bypass"}),
    parts.READING: _compile_reading,
    parts.CONTENT: _compile_content,
    parts.GENERATOR: _compile_generator,
    parts.COSTS: _compile_costs,
}
