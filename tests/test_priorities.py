"""Priorities of a trace: read as they are meant, or refused with their place, never wrapped."""

from __future__ import annotations

import json

import polars as pl
import pytest

import replay
from replay.errors import InputError, TraceError
from replay.trace.priorities import LARGEST, priorities

TIMED = {"gpu": "h100-sxm", "model": "llama-3.1-8b"}


def rows_with(*values):
    return [
        {"timestamp": 10 * i, "input_length": 600, "output_length": 2, "hash_ids": [i, i + 7]}
        | ({} if value is None else {"priority": value})
        for i, value in enumerate(values)
    ]


def loaded(tmp_path, *values):
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_with(*values)))
    return replay.load_trace(path)


def test_whole_numbers_are_read_however_they_are_written(tmp_path):
    frame = loaded(tmp_path, 1, "2", 3.0, None, " -4").frame()
    assert frame["priority"].to_list() == [1, 2, 3, None, -4]


@pytest.mark.parametrize("odd", ["high", 1.5, True, 1e23, 2**63, -(2**63), "", LARGEST + 1])
def test_what_is_no_priority_is_told_with_its_line(tmp_path, odd):
    with pytest.raises(TraceError, match="whole number") as told:
        loaded(tmp_path, 1, odd, 3)
    assert told.value.problems[0].line == 2


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([1, 2**63 + 1], dtype=pl.UInt64),
        pl.Series([1, -(2**63)], dtype=pl.Int64),
        pl.Series([1.0, 1.5]),
        pl.Series([1.0, 1e23]),
        pl.Series([1.0, float("nan")]),
        pl.Series(["1", "urgent"]),
        pl.Series([None, True]),
    ],
    ids=str,
)
def test_columns_that_cannot_be_compared_are_refused(column):
    with pytest.raises(InputError, match=r"t: request 1: priority must be a whole number") as told:
        priorities(pl.DataFrame({"priority": column}), "t")
    assert "leave the column out" in told.value.hint


@pytest.mark.parametrize(
    "column", [pl.Series([2.0, None, -3.0]), pl.Series(["2", None, "-3"]), pl.Series([2, None, -3])]
)
def test_columns_of_whole_numbers_are_taken(column):
    assert priorities(pl.DataFrame({"priority": column}), "t").tolist() == [2, 0, -3]
    assert priorities(pl.DataFrame({"priority": [LARGEST, -LARGEST]}), "t")[1] == -LARGEST


def test_a_table_tells_the_line(tmp_path):
    table = "t,prompt,answer,priority\n0,600,2,1\n1,600,2,soon\n"
    (tmp_path / "trace.csv").write_text(table)
    (tmp_path / "columns.yaml").write_text(
        "columns: {arrival: {name: t, unit: s}, input_tokens: prompt, output_tokens: answer}\n"
    )
    with pytest.raises(TraceError, match="whole number") as told:
        replay.load_trace(tmp_path / "trace.csv", columns=tmp_path / "columns.yaml")
    assert told.value.problems[0].line == 3


def test_a_policy_without_priorities_says_so(tmp_path):
    keys = {"cache.kind": "radix", "cache.policy": "priority"}
    plain = replay.run(loaded(tmp_path, None, None), set=keys, **TIMED)
    told = replay.run(loaded(tmp_path, 1, 2), set=keys, **TIMED)
    said = [[one for one in run.manifest["notes"] if "cache.policy priority" in one]
            for run in (plain, told)]  # fmt: skip
    assert [len(one) for one in said] == [1, 0]
