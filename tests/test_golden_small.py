"""Every request of the recordings that ship with the tests, as the engines' own caches had it.

Recorded from vLLM 0.33 and SGLang 0.5.23: tests/golden/README.md. The full recordings, of real
traces too, are in test_golden_vllm.py and test_golden_sglang.py.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import polars as pl
import pytest

from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree
from tests import test_golden_sglang, test_golden_vllm

GOLDEN = Path(__file__).parent / "golden"
COMPARE = {"vllm": test_golden_vllm.compare, "sglang": test_golden_sglang.compare}
HELD_MS = 10_000


@cache
def requests() -> tuple[Trace, PrefixTree]:
    return test_golden_vllm.known_tokens(pl.read_parquet(GOLDEN / "requests.parquet"))


@cache
def recordings() -> dict[str, pl.DataFrame]:
    """Return the rows of every replay by its name."""
    files = (pl.read_parquet(GOLDEN / f"{engine}.parquet") for engine in COMPARE)
    return {name: rows for file in files
            for (name,), rows in file.partition_by("replay", as_dict=True).items()}  # fmt: skip


@pytest.mark.parametrize("name", sorted(recordings()))
def test_every_request_equals_the_engines_own_cache(name):
    golden, (trace, tree) = recordings()[name], requests()
    assert len(golden) == trace.requests == 400
    ended = None
    if "_conc_" in name:  # those held when the last one was admitted end after the recording
        ended = (golden["admit_ms"] + HELD_MS <= golden["admit_ms"].max()).to_numpy()
        assert ended.sum() > 300
    COMPARE[name.split("_")[0]](golden, name, trace, tree, ended=ended)


def test_recordings_are_small_and_say_something():
    assert sum(file.stat().st_size for file in GOLDEN.iterdir() if file.is_file()) < 10**6
    assert len(recordings()) > 200
    both = pl.concat(recordings().values(), how="diagonal")
    for column in ("hit_tokens", "evicted_admit", "evicted_out"):
        assert (both[column] > 0).mean() > 0.03, column
    assert set(both["out_status"]) == {"none", "cached", "skipped"}
