"""What the cache kernels cost: LRU, the curve of all capacities, every policy; beside libCacheSim.

    python benchmarks/cache.py [--trace TRACE] [--copies 100] [--runs 3] [-o RESULTS.json]

The trace is copied so many times, requests interleaved, content disjoint. Kernel times are CPU
seconds of this process, best of `--runs`, after compiling. libCacheSim (PyPI `libcachesim`, C) is
run on the same blocks, one copy, deepest first, where it is installed; the naive twin is the
dictionary LRU of tests/naive.py on one copy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CONVERSATION = ROOT.parent / "shared" / "traces" / "mooncake" / "conversation_trace.jsonl"
SAMPLE = ROOT / "traces" / "chat-small.jsonl"
GOALS = {"lru, one capacity": 0.25, "curve, all capacities": 0.8}
POLICY_GOAL_REFS_PER_S = 5e6


def best(function, runs: int) -> float:
    """Return the fewest CPU seconds of several calls, the first one left out."""
    times = []
    for _ in range(runs + 1):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times[1:])


def curve_of(view) -> object:
    """Return the curve of a view, computed anew."""
    from replay.cache.curve import lru_curve, stack_uses

    uses = stack_uses(view.references, view.input_tokens, view.block_size)
    return lru_curve(uses, view.block_size, 1)


def libcachesim_ns(refs, capacity: int) -> dict[str, float]:
    """Return CPU nanoseconds a block of libCacheSim's policies; empty where it is not installed."""
    try:
        import libcachesim as lcs
    except ImportError:
        return {}
    from benchmarks.oracle import flat_blocks_deepest_first, replay_flat

    flat = flat_blocks_deepest_first(refs)
    found = {}
    for name in ("LRU", "FIFO", "Sieve", "S3FIFO", "ARC", "LFU"):
        cache = getattr(lcs, name)(cache_size=capacity)
        start = time.process_time()
        replay_flat(cache, flat)
        found[name.lower()] = (time.process_time() - start) / len(flat) * 1e9
    return found


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
