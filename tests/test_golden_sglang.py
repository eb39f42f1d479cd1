"""Every request of every replay through SGLang 0.5.23's own radix caches, column by column.

A file's name says what was replayed: trace, one after another or held for 10 s, `RadixCache` or
the unified tree with its Python or Rust core, page size, capacity in tokens, without or with
responses, eviction policy. Request i of the replays by priority had priority i % 3.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_untimed
from replay.kernels import layout
from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree
from tests.shared_data import CONVERSATION, SHARED, needs
from tests.test_golden_vllm import NS_PER_MS, RANDOM, STATUS, TRACES, assert_responses

FILES = sorted((SHARED / "golden").glob("sglang_*.parquet"))
UNLIMITED = 2**40
pytestmark = [needs(CONVERSATION), needs(RANDOM)]


def replayed(name: str, trace: Trace, tree: PrefixTree) -> tuple[np.ndarray, int]:
    """Return what became of the requests of a recording, and its page size."""
    _, _, protocol, tree_name, page, capacity, out, policy = name.split("_")
    size = int(page.removeprefix("pg"))
    tokens = UNLIMITED if capacity == "capunlimited" else int(capacity.removeprefix("cap"))
    radix = {}
    if policy in ("fifo", "filo"):
        radix = {"tree": "classic" if tree_name == "radix" else "unified"}
    scenario = Scenario(
        cache={"kind": "radix", "policy": policy, "responses": out == "out1", "radix": radix},
        engine={"mode": "untimed", "hold": "10s" if protocol == "conc" else None},
    )
    if policy == "priority":
        ranks = pl.int_range(pl.len()).mod(3)
        trace = trace.changed(trace.frame.with_columns(priority=ranks))
    plan = make_plan(trace, tree, scenario, block_size=size, capacity_blocks=tokens // size)
    return simulate_untimed(plan).outcome, size


def compare(golden: pl.DataFrame, name: str, trace: Trace, tree: PrefixTree, *, ended=None) -> None:
    """Assert that every request came out as recorded; `ended` bool[R] are those seen to the end."""
    outcome, size = replayed(name, trace, tree)
    expected = {
        layout.STATUS: golden["status"].replace_strict(STATUS),
        layout.ADMITTED_NS: golden["admit_ms"] * NS_PER_MS,
        layout.ATTEMPTS: golden["attempts"],
        layout.FOUND: golden["hit_tokens"] // size,
        layout.EVICTED_BLOCKS: golden["evicted_admit"] // size,
        layout.FREE_AFTER: (golden["avail_after"] + golden["evictable_after"]) // size,
        layout.EVICTABLE_AFTER: golden["evictable_after"] // size,
    }
    for column, values in expected.items():
        assert np.array_equal(outcome[:, column], values.to_numpy()), column
    assert_responses(golden, outcome, size, ended)
    admitted = outcome[:, layout.STATUS] == layout.COMPLETED
    hit_tokens = np.where(admitted, golden["hit_tokens"].to_numpy(), 0)
    assert np.array_equal(outcome[:, layout.HIT], hit_tokens)


def test_every_file_is_there():
    assert len(FILES) >= 287


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_request_equals_the_engines_own_radix_cache(path):
    compare(pl.read_parquet(path), path.stem, *TRACES[path.stem.split("_")[1]]())
