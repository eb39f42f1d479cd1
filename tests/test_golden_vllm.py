"""Every request of every replay through vLLM 0.33's own block pool, column by column.

A file's name says what was replayed: trace, one after another or held for 10 s, block size,
capacity in tokens, without or with responses. Hybrid models (`_swa`) are not modelled.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_untimed
from replay.kernels import layout
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.tree import PrefixTree, build_tree
from tests.shared_data import CONVERSATION, SHARED, conversation, needs

GOLDEN = SHARED / "golden"
RANDOM = GOLDEN / "random_trace.jsonl.gz"
NS_PER_MS = 10**6
pytestmark = [needs(CONVERSATION), needs(RANDOM)]

FILES = sorted(path for path in GOLDEN.glob("vllm_*.parquet") if "_swa" not in path.stem)
STATUS = {"ok": layout.COMPLETED, "rejected": layout.REJECTED}
RESPONSE = {
    "none": layout.RESPONSE_NONE,
    "cached": layout.RESPONSE_CACHED,
    "skipped": layout.RESPONSE_SKIPPED,
}


@cache
def random_tokens() -> tuple[Trace, PrefixTree]:
    """Return the random trace, prompts and responses known to the token, and its tree."""
    with gzip.open(RANDOM, "rt") as file:
        rows = [json.loads(line) for line in file]
    columns = {
        "arrival_ns": [row["timestamp"] * NS_PER_MS for row in rows],
        "input_tokens": [len(row["input_ids"]) for row in rows],
        "output_tokens": [len(row["output_ids"]) for row in rows],
        "tokens": pl.Series([row["input_ids"] for row in rows], dtype=pl.List(pl.UInt32)),
        "response_tokens": pl.Series([row["output_ids"] for row in rows], dtype=pl.List(pl.UInt32)),
    }
    meta = TraceMeta(
        path="random", name="random", sha256="", format="random", block_size=None, content="tokens"
    )
    trace = canonical_trace(pl.DataFrame(columns), meta)
    return trace, build_tree(trace)


@cache
def first_conversations() -> tuple[Trace, PrefixTree]:
    """Return the first 3,000 requests of the conversation trace and their tree."""
    trace, _ = conversation()
    first = trace.changed(trace.frame.head(3000))
    return first, build_tree(first)


TRACES = {
    "conversation": conversation,
    "conversation3k": first_conversations,
    "random": random_tokens,
}


def replayed(path: Path) -> tuple[np.ndarray, int, bool]:
    """Return what became of the requests of a golden file, its block size, if it was limited."""
    _, name, protocol, block, capacity, out = path.stem.split("_")
    trace, tree = TRACES[name]()
    size, limited = int(block.removeprefix("bs")), capacity != "capunlimited"
    blocks = int(capacity.removeprefix("cap")) // size if limited else None
    scenario = Scenario(
        cache={"responses": out == "out1"},
        engine={"mode": "untimed", "hold": "10s" if protocol == "conc" else None},
    )
    plan = make_plan(trace, tree, scenario, block_size=size, capacity_blocks=blocks)
    return simulate_untimed(plan).outcome, size, limited


def test_every_file_is_there():
    assert len(FILES) == 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_request_equals_the_engines_own_block_pool(path):
    golden = pl.read_parquet(path)
    outcome, size, limited = replayed(path)
    tokens = golden["n_in"].to_numpy()
    expected = {
        layout.STATUS: golden["status"].replace_strict(STATUS),
        layout.ADMITTED_NS: golden["admit_ms"] * NS_PER_MS,
        layout.ATTEMPTS: golden["attempts"],
        layout.EVICTED_BLOCKS: golden["evicted_admit"],
        layout.EVICTED_LATER: golden["evicted_out"],
        layout.RESPONSE: golden["out_status"].replace_strict(RESPONSE),
    }
    if limited:
        expected[layout.FREE_AFTER] = golden["free_after"]
    for column, values in expected.items():
        assert np.array_equal(outcome[:, column], values.to_numpy()), column
    found = np.minimum(outcome[:, layout.FOUND] * size, tokens - 1)
    assert np.array_equal(found, golden["hit_tokens"].to_numpy())
    admitted = outcome[:, layout.STATUS] == layout.COMPLETED
    assert np.array_equal(outcome[:, layout.HIT], np.where(admitted, found, 0))
