"""The integer tables: whose they are, and that each column has a name of its own."""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_untimed
from replay.engine.tables import make_tables
from replay.kernels import layout
from replay.trace.readers import load_trace
from replay.trace.tree import build_tree

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
FILES = sorted(Path(layout.__file__).parent.glob("*.py"))


def names_in(path):
    """Return what a file defines at its top."""
    for one in ast.parse(path.read_text()).body:
        targets = one.targets if isinstance(one, ast.Assign) else []
        for target in targets:
            for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                yield name.id


def test_no_name_stands_for_two_columns():
    """The package gathers its files, so a name in two of them would hide a column."""
    names = Counter(name for path in FILES for name in names_in(path))
    assert len(names) > 200
    assert [name for name, count in names.items() if count > 1] == []
    assert [name for name in names if not hasattr(layout, name)] == []


OF_TRACE = {"rules", "plan", "path_edges", "edges", "cuts"}


@pytest.mark.parametrize("kind", ["block", "radix", "session_store"])
def test_replays_share_what_is_of_the_trace_and_leave_it_as_it_is(kind):
    trace = load_trace(SAMPLE)
    given = Scenario(engine={"mode": "untimed"}, cache={"kind": kind})
    size, capacity = (1, 20_000) if kind == "session_store" else (16, 1_250)
    plan = make_plan(trace, build_tree(trace), given, block_size=size, capacity_blocks=capacity)
    one, other = make_tables(plan), make_tables(plan)
    shared = {
        name
        for name, mine, others in zip(one._fields, one, other, strict=True)
        if mine.size and np.shares_memory(mine, others)
    }
    assert shared == OF_TRACE - ({"cuts"} if kind != "session_store" else set())
    before = {name: getattr(one, name).copy() for name in shared}
    replay = simulate_untimed(plan)
    assert replay.totals[:, layout.REUSED].any()
    assert replay.evictions > 0
    for name, rows in before.items():
        assert np.array_equal(getattr(one, name), rows), name
