"""The answer of `replay policies` as tables: one a capacity to read, one long one for programs."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.analysis.policy_table import PolicyLine
    from replay.analysis.question import Question
    from replay.report.tables import Table


def policy_tables(question: Question, lines: list[PolicyLine]) -> list[Table]:
    """Return a table for each block size and capacity."""
    views = {view.block_size: view for view in question.views}
    tables = []
    for (size, capacity), group in groupby(
        lines, lambda one: (one.block_size, one.capacity_blocks)
    ):
        amount = question.in_unit(views[size], capacity)
        title = f"{amount:,.6g} {question.unit} of cache, blocks of {size:,} tokens"
        if question.unit != "blocks":
            title = (
                f"{amount:,.6g} {question.unit} of cache: {capacity:,} blocks of {size:,} tokens"
            )
        tables.append(policy_table(list(group), title))
    return tables


def policy_table(lines: list[PolicyLine], title: str | None = None) -> Table:
    """Return a line a row; without a title also the block size and capacity of each."""
    from dataclasses import asdict

    from replay.report.tables import Table

    rows = [asdict(line) for line in lines]
    left_out = {"block_size", "capacity_blocks"} if title else set()
    columns = [name for name in rows[0] if name not in left_out]
    return Table(
        tuple(columns), [tuple(row[name] for name in columns) for row in rows], title=title
    )
