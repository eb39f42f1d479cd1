"""The integer tables: whose they are, and that each column has a name of its own."""

import ast
import re
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


def columns_of():
    """Return the columns of each table, as the comments of the layout have them."""
    tables = {}
    for path in FILES:
        for block in path.read_text().split("\n\n"):
            if named := re.match(r"# (\w+) int\d+\[", block):
                tables[named[1]] = set(re.findall(r"^([A-Z_]+) = \d+", block, re.MULTILINE))
    return tables


def uses_in(path):
    """Yield (line, table, name) of every `t.table[..., NAME]`, or of a table at hand."""
    for one in ast.walk(ast.parse(path.read_text())):
        if isinstance(one, ast.Subscript):
            index = one.slice.elts[-1] if isinstance(one.slice, ast.Tuple) else one.slice
            if isinstance(index, ast.Name):
                yield one.lineno, getattr(one.value, "attr", getattr(one.value, "id", "")), index.id


def test_a_column_is_read_in_its_own_table():
    """Each is a mere number: in another table it would be something else, and nothing would say."""
    tables = columns_of()
    known = set().union(*tables.values())
    seen = set()
    for room in ("cache", "serving"):
        for path in sorted((Path(layout.__file__).parents[1] / room).glob("*.py")):
            for line, table, name in uses_in(path):
                if table in tables and name in known:
                    assert name in tables[table], f"{path.name}:{line}: {table}[{name}]"
                    seen.add(name)
    assert len(seen) > 150


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
