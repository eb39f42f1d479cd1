"""What the cache kernels cost: LRU, the curve of all capacities, every policy; beside libCacheSim.

    python benchmarks/cache.py [--trace TRACE] [--copies 100] [--policy-copies 20] [-o RESULTS.json]

The trace is copied, requests interleaved, content disjoint; capacities grow with the copies.
Figures are CPU seconds of the kernels, best of `--runs`, compiled before. libCacheSim (PyPI
`libcachesim`, C) replays the same blocks in the same order where it is installed; the naive twin is
the dictionary LRU of tests/naive/pool.py on one copy.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CONVERSATION = ROOT.parent / "shared" / "traces" / "mooncake" / "conversation_trace.jsonl"
SAMPLE = ROOT / "traces" / "chat-small.jsonl"
BLOCK_SIZES = (512, 16)
SHARE_OF_CONTENT = 0.055  # 10,000 blocks of 512 tokens for the conversation trace
LRU_GOAL_S, CURVE_GOAL_S, POLICY_GOAL = 0.25, 0.8, 5e6


def best(function, runs: int) -> float:
    """Return the fewest CPU seconds of several calls, the first one left out."""
    times = []
    for _ in range(runs + 1):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times[1:])


def load(trace: Path):
    """Return the frame, the tree and the hints of a trace."""
    from replay.cache.hints import hints_of
    from replay.trace.readers import load_trace
    from replay.trace.sessions import infer_sessions
    from replay.trace.tree import build_tree

    read = infer_sessions(load_trace(trace))
    return read, build_tree(read), lambda size: hints_of(read, size, ttl_ns=600 * 10**9)


def copied(view, copies: int):
    """Return a view of the trace copied so many times."""
    from benchmarks.copies import interleaved
    from replay.cache.view import BlockView

    tokens = np.repeat(view.input_tokens, copies)
    return BlockView(view.block_size, interleaved(view.references, copies), tokens)


def lru_and_curve(view, runs: int) -> dict[str, float]:
    """Return CPU seconds of LRU at one capacity and of the curve of all capacities."""
    from replay.cache.curve import lru_curve, stack_uses
    from replay.kernels.policies.lru import replay_lru

    refs = view.references
    capacity = int(SHARE_OF_CONTENT * refs.blocks.sum())

    def curve() -> None:
        uses = stack_uses(refs, view.input_tokens, view.block_size)
        lru_curve(uses, view.block_size, int(view.input_tokens.sum()))

    return {
        "requests": view.requests,
        "edge_references": len(refs.edges),
        "unique_blocks": view.unique_blocks,
        "lru_s": best(
            lambda: replay_lru(refs.blocks, refs.offsets, refs.edges, refs.limit, capacity), runs
        ),
        "curve_s": best(curve, runs),
    }


def policy_rates(view, hints, copies: int, runs: int) -> dict[str, float]:
    """Return edge references a CPU second of each policy."""
    from dataclasses import replace

    from replay.cache.replacement import possible_policies

    many = replace(
        hints,
        arrival_ns=np.repeat(hints.arrival_ns, copies),
        priority=np.repeat(np.arange(view.requests // copies) % 3, copies),
        category=None if hints.category is None else np.repeat(hints.category, copies),
    )
    refs = view.references
    capacity = int(SHARE_OF_CONTENT * refs.blocks.sum())
    return {
        policy.name: len(refs.edges)
        / best(lambda policy=policy: policy.replay(refs, capacity, many), runs)
        for policy in possible_policies(many)
    }


def libcachesim_ns(refs, runs: int) -> dict[str, float]:
    """Return CPU nanoseconds a block of libCacheSim's policies; empty where it is not installed."""
    try:
        import libcachesim  # noqa: F401
    except ImportError:
        return {}
    from tests.libcachesim_oracle import CLASSES, flattened, hits, write_oracle_general

    flat = flattened(refs)
    capacity = int(SHARE_OF_CONTENT * refs.blocks.sum())
    with tempfile.TemporaryDirectory() as folder:
        path = write_oracle_general(flat, Path(folder) / "blocks.oracle")
        return {
            name: best(lambda name=name: hits(path, name, capacity), runs) / len(flat) * 1e9
            for name in CLASSES
        }


def naive_ns(trace: Path, capacity: int) -> float:
    """Return CPU nanoseconds a block of the dictionary LRU."""
    from replay.trace.readers import load_trace
    from tests.naive.pool import dictionary_lru

    prompts = load_trace(trace).frame["block_ids"].to_list()
    start = time.process_time()
    dictionary_lru(prompts, capacity)
    return (time.process_time() - start) / sum(map(len, prompts)) * 1e9


def main() -> None:
    """Measure, print tables, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = CONVERSATION if CONVERSATION.exists() else SAMPLE
    parser.add_argument("--trace", type=Path, default=default)
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--policy-copies", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from replay.cache.view import block_view

    trace, tree, hints = load(options.trace)
    outputs = trace.column("output_tokens").astype(np.int64)
    report: dict[str, object] = {}
    print(f"{options.copies} copies of {options.trace.name}, interleaved")
    print(f"{'block size':>12}{'LRU s':>9}{'goal':>7}{'curve s':>10}{'goal':>7}  capacities")
    views = {}
    for size in BLOCK_SIZES:
        views[size] = block_view(tree, outputs, block_size=size, partial_blocks=True)
        found = lru_and_curve(copied(views[size], options.copies), options.runs)
        report[f"lru_and_curve_{size}"] = found
        line = f"{size:>12}{found['lru_s']:9.3f}{LRU_GOAL_S:7.2f}{found['curve_s']:10.3f}"
        print(f"{line}{CURVE_GOAL_S:7.2f}  {found['unique_blocks']:,}")
    rates = {
        size: policy_rates(
            copied(views[size], options.policy_copies),
            hints(size),
            options.policy_copies,
            options.runs,
        )
        for size in BLOCK_SIZES
    }
    one = views[512].references
    per_edge = one.blocks[one.edges].mean()
    peer = libcachesim_ns(one, options.runs)
    report |= {"policy_rates": rates, "libcachesim_ns_per_block": peer}
    title = "M edge references/s (goal 5); ns a 512-token block"
    print(f"\n{options.policy_copies} copies, {title}")
    heads = f"{'block 512':>11}{'block 16':>10}{'ns':>8}{'libCacheSim ns':>16}{'ratio':>8}"
    print(f"{'policy':>16}{heads}")
    for name, rate in rates[512].items():
        own = 1e9 / rate / per_edge
        theirs = peer.get("optimum" if name == "min" else name)
        beside = f"{theirs:16.0f}{theirs / own:7.0f}x" if theirs else ""
        print(f"{name:>16}{rate / 1e6:11.1f}{rates[16][name] / 1e6:10.1f}{own:8.2f}{beside}")
    if trace.has_blocks:
        report["naive_lru_ns_per_block"] = naive_ns(
            options.trace, int(SHARE_OF_CONTENT * one.blocks.sum())
        )
        print(
            "\ndictionary LRU of tests/naive/pool.py: "
            f"{report['naive_lru_ns_per_block']:.0f} ns a block"
        )
    if options.output:
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
