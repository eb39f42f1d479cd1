"""What hashing costs: one prompt of 8,000 tokens, and ten million tokens at once.

    python benchmarks/hashing.py [--runs 20]

Wall time of one thread, the least of several runs, kernels compiled before. Also printed: token
ids made from segments, block ids made from segments, and Mooncake lines written.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from replay.trace.content import block_ids_of
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.hash_algorithms import ALGORITHMS
from replay.trace.hashing import (
    batch_block_hashes,
    batch_prefix_digests,
    block_hashes,
    prefix_digests,
)
from replay.trace.lists import list_column
from replay.trace.tokens import tokens_of
from replay.trace.writers.mooncake import write_mooncake

PROMPT_TOKENS = 8_000
PROMPTS = 1_250
BLOCK = 16
REQUESTS = 100_000
TURNS = 5
TURN_TOKENS = 120


def least_s(work: Callable[[], object], runs: int) -> float:
    """Return the least wall time of several runs after one that compiles."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def one_prompt(algorithm: str, runs: int) -> None:
    tokens = np.random.default_rng(1).integers(0, 128_256, PROMPT_TOKENS, dtype=np.uint32)
    sparse, every = (np.arange(step, PROMPT_TOKENS + 1, step) for step in (BLOCK, 1))
    for what, work in {
        f"chained blocks of {BLOCK}": lambda: block_hashes(tokens, BLOCK, algorithm=algorithm),
        f"prefixes, every {BLOCK}": lambda: prefix_digests(tokens, sparse, algorithm=algorithm),
        "prefixes, every one": lambda: prefix_digests(tokens, every, algorithm=algorithm),
    }.items():
        print(f"{algorithm:8} {what:26} {1e3 * least_s(work, runs):8.3f} ms for 8,000 tokens")


def many_prompts(algorithm: str, runs: int) -> None:
    total = PROMPTS * PROMPT_TOKENS
    tokens = np.random.default_rng(2).integers(0, 128_256, total, dtype=np.uint32)
    offsets = np.arange(0, total + 1, PROMPT_TOKENS)
    asked = np.arange(BLOCK, PROMPT_TOKENS + 1, BLOCK)
    lengths, upto = np.tile(asked, PROMPTS), np.arange(0, PROMPTS * len(asked) + 1, len(asked))
    blocks = least_s(lambda: batch_block_hashes(tokens, offsets, BLOCK, algorithm=algorithm), runs)
    prefixes = least_s(
        lambda: batch_prefix_digests(tokens, offsets, lengths, upto, algorithm=algorithm), runs
    )
    for what, taken in (
        (f"chained blocks of {BLOCK}", blocks),
        (f"prefixes, every {BLOCK}", prefixes),
    ):
        print(f"{algorithm:8} {what:26} {total / taken / 1e6:8.1f} M tokens/s over 10 M tokens")


def conversations() -> Trace:
    """Return requests in sessions of five turns, each prompt all the turns so far."""
    turn = np.arange(REQUESTS) % TURNS
    session = np.arange(REQUESTS) // TURNS
    counts = turn + 1
    turns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    frame = pl.DataFrame(
        {
            "arrival_ns": np.arange(REQUESTS) * 10**7,
            "input_tokens": counts * TURN_TOKENS,
            "output_tokens": np.full(REQUESTS, 100),
            "segments": list_column(np.repeat(session, counts) * TURNS + turns, counts),
            "segment_tokens": list_column(np.full(counts.sum(), TURN_TOKENS), counts),
        }
    )
    meta = TraceMeta(
        path="", name="conversations", sha256="", format="made", block_size=None, content="segments"
    )
    return canonical_trace(frame, meta)


def whole_traces(runs: int) -> None:
    trace = conversations()
    tokens = int(trace.column("input_tokens").sum())
    taken = least_s(lambda: tokens_of(trace), runs)
    print(f"token ids made from segments        {tokens / taken / 1e6:8.1f} M tokens/s")
    taken = least_s(lambda: block_ids_of(trace, BLOCK), runs)
    print(f"block ids of {BLOCK} made from segments {REQUESTS / taken / 1e6:8.2f} M requests/s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        blocks = block_ids_of(trace, BLOCK)
        for what, source in (("block ids", blocks), ("segments", trace)):
            taken = least_s(
                lambda source=source: write_mooncake(source, path, block_size=BLOCK, force=True),
                runs,
            )
            print(f"Mooncake lines from {what:15} {REQUESTS / taken / 1e3:8.0f} thousand rows/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    for algorithm in ALGORITHMS:
        one_prompt(algorithm.name, runs)
    for algorithm in ALGORITHMS:
        many_prompts(algorithm.name, max(runs // 5, 1))
    whole_traces(max(runs // 5, 1))


if __name__ == "__main__":
    main()
