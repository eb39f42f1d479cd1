"""What a call cannot use it refuses as an InputError that says what is wanted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import replay

ROWS = {"arrival_ns": [0, 1], "input_tokens": [32, 32], "output_tokens": [1, 2]}
BLOCKS = {**ROWS, "block_ids": [[1, 2], [1, 3]]}
MAPPING = {
    "arrival": {"name": "arrival_ns", "unit": "ns"},
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "block_ids": "block_ids",
}


@pytest.fixture(scope="module")
def trace() -> replay.Trace:
    return replay.from_frame(BLOCKS, block_size=16)


@pytest.fixture(scope="module")
def run(trace) -> replay.Run:
    return replay.run(trace, untimed=True, capacity=100)


def refused(call, *arguments: object, **keywords: object) -> str:
    with pytest.raises(replay.InputError) as raised:
        call(*arguments, **keywords)
    assert raised.value.hint
    return raised.value.message


@pytest.mark.parametrize("wrong", [0, -3, 1.5, True, "many", [5]])
def test_a_trace_of_no_requests_is_not_drawn(wrong):
    assert refused(replay.generate, "chat", requests=wrong) == (
        f"requests must be a whole number of at least 1 (got {wrong!r})"
    )


def test_a_seed_and_a_profile_are_checked_as_well():
    assert "seed must be" in refused(replay.generate, "chat", requests=3, seed=-1)
    assert refused(replay.generate, None) == "not a profile (got NoneType)"


def test_a_bare_number_is_seconds():
    few = [replay.generate("chat", duration=text, seed=1).requests for text in (20, "20s")]
    assert few[0] == few[1] > 0


@pytest.mark.parametrize(
    "wrong", [1.5, True, None, [1, 2], "1..3", "x", float("nan"), float("inf"), np.array([1, 0])]
)
def test_a_request_is_told_by_a_whole_number(run, wrong):
    assert refused(run.explain, wrong) == f"request must be a whole number (got {wrong!r})"


@pytest.mark.parametrize("same", [1.0, "1", np.int64(1), np.float64(1), pl.Series([1]).item()])
def test_a_whole_number_may_come_in_any_type(run, same):
    assert run.explain(same).text == run.explain(1).text


@pytest.mark.parametrize("columns", [None, MAPPING])
@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, 2**70, "x"])
def test_a_block_has_a_token_at_least(wrong, columns):
    said = refused(replay.from_frame, BLOCKS, block_size=wrong, columns=columns)
    assert said.startswith("block_size must be a whole number of at least 1")
    assert f"(got {wrong!r})" in said


def test_blocks_of_nothing_are_refused_wherever_a_size_is_given(trace):
    assert "trace_block_size must be" in refused(replay.load_trace, "t", trace_block_size=0)
    assert "block_size must be" in refused(replay.anonymize, trace, block_size=0)


def test_columns_have_a_value_for_each_row():
    assert refused(replay.from_frame, {**ROWS, "output_tokens": [1]}) == (
        "columns differ in length: 'arrival_ns' has 2 rows, 'output_tokens' 1"
    )
    for wrong in (1, None, "ab", {"a": 1}, np.array(3)):
        assert refused(replay.from_frame, {**ROWS, "output_tokens": wrong}) == (
            f"column 'output_tokens' must be a list (got {type(wrong).__name__})"
        )
    assert "two columns '1'" in refused(replay.from_frame, {**ROWS, 1: [0, 0], "1": [0, 0]})


def test_lists_of_several_types_are_told_as_such():
    mixed = {**ROWS, "block_ids": [[1, "a"], [1, 3]]}
    assert refused(replay.from_frame, mixed, block_size=16) == (
        "column 'block_ids' has values of several types, each a list, but not of one type within"
    )


@pytest.mark.parametrize("large", [2**64, 2**130, -(2**130)])
def test_a_number_beyond_64_bits_is_too_large(large):
    said = refused(replay.from_frame, {**ROWS, "input_tokens": [5, large]})
    assert (
        said == f"column 'input_tokens', row 1 holds a whole number that is too large (got {large})"
    )
    lists = {**ROWS, "block_ids": [[1, 2], [1, large]]}
    assert "column 'block_ids', row 1 holds a whole number that is too large" in refused(
        replay.from_frame, lists, columns=MAPPING, block_size=16
    )
    first = {**ROWS, "block_ids": [[large, 2], [1, 3]]}
    assert "column 'block_ids', row 0 holds a whole number that is too large" in refused(
        replay.from_frame, first, columns=MAPPING, block_size=16
    )


def test_a_mapping_of_columns_is_a_mapping_or_a_file():
    for wrong in (["a"], 3):
        said = refused(replay.from_frame, ROWS, columns=wrong)
        assert said == f"not a mapping of columns, nor the path of one (got {type(wrong).__name__})"


@pytest.mark.parametrize("column", [pd.Series([1]), pd.Index([1]), pl.Series([1])])
def test_one_column_is_no_frame(column):
    said = f"not a DataFrame (got {type(column).__name__})"
    assert refused(replay.from_frame, column) == said
    assert refused(replay.describe, column).startswith("not a ")


@pytest.mark.parametrize("wrong", [None, b"FROM requests", 5])
def test_a_query_is_text(run, trace, wrong):
    said = f"the query is no text (got {type(wrong).__name__})"
    assert refused(run.sql, wrong) == refused(trace.sql, wrong) == said
    assert refused(run.query, wrong, unsafe=True) == said


def test_a_timeout_may_be_a_bare_number_of_seconds(run, trace):
    assert run.sql("SELECT 1 AS a", timeout=5).frame().item() == 1
    assert trace.sql("SELECT 1 AS a", timeout=5).frame().item() == 1
    assert "duration" in refused(run.sql, "SELECT 1", timeout=None)


@pytest.mark.parametrize("wrong", [5, 0, [5], ["cache.kind=radix", None]])
def test_settings_are_a_dict_or_texts(trace, wrong):
    assert refused(replay.run, trace, untimed=True, capacity=100, set=wrong) == (
        f"set must be a dict of keys, or texts (got {wrong!r})"
    )


def test_settings_may_come_one_by_one(trace):
    texts = (text for text in ["cache.kind=radix", "cache.policy=fifo", "cache.block_size=16"])
    made = replay.run(trace, untimed=True, capacity=100, set=texts)
    assert made.manifest["scenario"]["cache"]["policy"] == "fifo"


def test_what_is_no_path_is_told_by_what_was_wanted(run, trace):
    for wrong in (None, ["x", "y"], pl.DataFrame(ROWS)):
        kind = type(wrong).__name__
        assert refused(replay.load_trace, wrong) == f"not the path of a trace (got {kind})"
        assert refused(replay.open_run, wrong) == f"not the folder of a run (got {kind})"
    assert "a path for config" in refused(replay.run, trace, untimed=True, config=5)
    assert "a path for output" in refused(replay.convert, trace, output=5)


def test_a_trace_is_no_run(run, trace):
    said = "not a run, nor the folder of one (got Trace)"
    assert refused(replay.compare, trace, run) == refused(replay.compare, run, trace) == said
    assert refused(replay.explain, trace, 1) == refused(replay.page, trace) == said
    assert refused(replay.query, trace, "FROM requests") == said
