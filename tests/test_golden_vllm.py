"""Every request of every replay through vLLM 0.33's own block pool, column by column.

A file's name says what was replayed: trace, one after another or held for 10 s, block size,
capacity in tokens, without or with responses. Hybrid models (`_swa`) are not modelled.
"""

from __future__ import annotations

import gzip
import json
from functools import cache

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
        return known_tokens(pl.DataFrame([json.loads(line) for line in file]))


def known_tokens(rows: pl.DataFrame) -> tuple[Trace, PrefixTree]:
    """Return requests of (timestamp in ms, input_ids, output_ids) as a trace, and its tree."""
    columns = {
        "arrival_ns": rows["timestamp"].cast(pl.Int64) * NS_PER_MS,
        "input_tokens": rows["input_ids"].list.len(),
        "output_tokens": rows["output_ids"].list.len(),
        "tokens": rows["input_ids"].cast(pl.List(pl.UInt32)),
        "response_tokens": rows["output_ids"].cast(pl.List(pl.UInt32)),
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


def replayed(name: str, trace: Trace, tree: PrefixTree) -> tuple[np.ndarray, int, bool]:
    """Return what became of the requests of a recording, its block size, if it was limited."""
    _, _, protocol, block, capacity, out = name.split("_")
    size, limited = int(block.removeprefix("bs")), capacity != "capunlimited"
    blocks = int(capacity.removeprefix("cap")) // size if limited else None
    scenario = Scenario(
        cache={"responses": out == "out1"},
        engine={"mode": "untimed", "hold": "10s" if protocol == "conc" else None},
    )
    plan = make_plan(trace, tree, scenario, block_size=size, capacity_blocks=blocks)
    return simulate_untimed(plan).outcome, size, limited


def compare(golden: pl.DataFrame, name: str, trace: Trace, tree: PrefixTree, *, ended=None) -> None:
    """Assert that every request came out as recorded; `ended` bool[R] are those seen to the end."""
    outcome, size, limited = replayed(name, trace, tree)
    tokens = trace.column("input_tokens")
    expected = {
        layout.STATUS: golden["status"].replace_strict(STATUS),
        layout.ADMITTED_NS: golden["admit_ms"] * NS_PER_MS,
        layout.ATTEMPTS: golden["attempts"],
        layout.EVICTED_BLOCKS: golden["evicted_admit"],
    }
    if limited:
        expected[layout.FREE_AFTER] = golden["free_after"]
    for column, values in expected.items():
        assert np.array_equal(outcome[:, column], values.to_numpy()), column
    assert_responses(golden, outcome, 1, ended)
    found = np.minimum(outcome[:, layout.FOUND] * size, tokens - 1)
    assert np.array_equal(found, golden["hit_tokens"].to_numpy())
    admitted = outcome[:, layout.STATUS] == layout.COMPLETED
    assert np.array_equal(outcome[:, layout.HIT], np.where(admitted, found, 0))


def assert_responses(golden: pl.DataFrame, outcome: np.ndarray, size: int, ended) -> None:
    """Assert that what became of responses is what was recorded, evictions in units of `size`."""
    seen = slice(None) if ended is None else ended
    came_to = golden["out_status"].replace_strict(RESPONSE).to_numpy()
    evicted = golden["evicted_out"].to_numpy() // size
    assert np.array_equal(outcome[seen, layout.RESPONSE], came_to[seen])
    assert np.array_equal(outcome[seen, layout.EVICTED_LATER], evicted[seen])


def test_every_file_is_there():
    assert len(FILES) == 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_request_equals_the_engines_own_block_pool(path):
    compare(pl.read_parquet(path), path.stem, *TRACES[path.stem.split("_")[1]]())
