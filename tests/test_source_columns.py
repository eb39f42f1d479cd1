"""No column of a source overwrites another, replay's own or one that SQL takes for the same."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare
from replay.report.db import RunDatabase
from replay.runs.write import write_run
from replay.schema import CARRIED, REQUESTS, TRACE, column_names
from replay.trace.frame import TraceMeta, canonical_trace
from replay.trace.free_names import free_name, with_free_names
from replay.trace.parquet import write_trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source_columns import joined_values, scalar_columns

OURS = {name.lower() for name in (*column_names(TRACE), *column_names(REQUESTS))}
FILLED = {"model", "adapter", "cache_salt", "tenant", "skips_lookup"}
NAMES = st.sampled_from(
    [*sorted(OURS), "Status", "status", "x", "X", "source_x", "source_status", "source_status_2",
     "source_session_id", "link", "source_file", "_row", "Model", "lora", "source_source_x"]
)  # fmt: skip
META = TraceMeta(path="t", name="t", sha256="", format="t", block_size=None, content="none")
TAIR = {"type": "get", "instance_id": "i", "timestamp_ns": 1000, "keys": [1, 2, 3],
        "input_len": 50, "query_type": "prefix_match", "block_mask": []}  # fmt: skip
BAILIAN = {"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 20,
           "output_length": 5, "type": "text", "turn": 1, "hash_ids": [7, 8]}  # fmt: skip
EVENT = {"event_type": "user_message", "timestamp": "2026-06-01T05:40:20.151Z"}
TRACELAB = {"provider": "claude", "session_id": "s1", "round_index": 0, "model": "m",
            "input_tokens_total": 300, "prefix_tokens": 200, "newly_append_tokens": 100,
            "output_tokens": 9, "timing_events": [EVENT]}  # fmt: skip
MOONCAKE = {"timestamp": 0, "input_length": 4, "output_length": 1, "hash_ids": [1]}


@given(st.lists(NAMES, unique=True, max_size=12))
def test_columns_of_rows_are_unique_without_regard_to_case(names):
    rows = [{name: place for place, name in enumerate(names)}]
    taken = ["arrival_ns", "source_session_id"]
    columns, keys = scalar_columns(rows, taken=taken)
    found = [column.name for column in columns]
    lower = [name.lower() for name in (*found, *taken)]
    assert len(lower) == len(set(lower))
    assert not {name.lower() for name in found} & (OURS - FILLED)
    assert len(found) >= len(names)  # what skips the look-up is a column more
    assert {old for old in names if old not in found} <= set(keys.renamed)
    for name, place in zip(names, range(len(names)), strict=True):
        column = next(one for one in columns if one.name == keys.renamed.get(name, name))
        assert column.to_list() in ([place], [str(place)], [bool(place)])


@given(st.lists(NAMES, unique=True, max_size=12))
def test_columns_of_a_trace_are_unique_without_regard_to_case(names):
    frame = pl.DataFrame({name: [1] for name in names})
    found, notes = with_free_names(frame)
    lower = [name.lower() for name in found.columns]
    assert len(lower) == len(set(lower))
    own = [name for name in found.columns if name not in column_names(TRACE)]
    assert not {name.lower() for name in own} & (OURS - FILLED)
    assert with_free_names(found)[0].columns == found.columns
    assert bool(notes) == (found.columns != frame.columns)


def test_names_are_counted_where_source_is_taken_too():
    assert free_name("status", ()) == "source_status"
    assert free_name("status", {"source_status"}) == "source_status_2"
    assert free_name("Status", {"source_status", "source_status_2"}) == "source_Status_3"
    assert free_name("x", ()) == "x"
    assert free_name("link", ()) == "source_link"
    assert free_name("link", (), fresh=False) == "link"


def test_values_that_a_reader_makes_replace_no_others():
    joined = joined_values({"a": 1, "b": 2, "source_a": 3}, {"a": 4, "c": None})
    assert joined == {"source_a_2": 1, "b": 2, "source_a": 3, "a": 4}


@pytest.mark.parametrize(("format_name", "row", "extra", "kept"), [
    ("tair", TAIR, "session_id", "source_session_id_2"),
    ("tair", TAIR, "source_session_id", "source_source_session_id"),
    ("tair", TAIR, "turn", "source_turn"),
    ("tracelab", TRACELAB, "source_session_id", "source_source_session_id"),
    ("tracelab", TRACELAB, "recorded_hit_tokens", "source_recorded_hit_tokens"),
    ("bailian", BAILIAN, "source_turn", "source_source_turn"),
    ("bailian", BAILIAN, "arrival_ns", "source_arrival_ns"),
    ("mooncake", MOONCAKE, "hit_tokens", "source_hit_tokens"),
    ("mooncake", MOONCAKE, "source_file", "source_source_file"),
])  # fmt: skip
def test_a_key_whose_name_is_taken_is_kept_under_another(tmp_path, format_name, row, extra, kept):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({**row, extra: "x"}) + "\n" for _ in range(1)))
    options = ReadOptions(block_size=16) if format_name == "tair" else ReadOptions()
    trace = load_trace(path, format_name=format_name, options=options)
    assert trace.frame[kept].to_list() == ["x"]
    assert any(f"{extra!r} is {kept!r}" in note for note in trace.meta.notes)


def test_a_sessions_name_is_found_beside_one_that_is_called_source(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{**MOONCAKE, "source_session_id": "no", "session_id": name} for name in "aab"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_trace(path).frame["session_id"].to_list() == [0, 0, 1]


def test_a_run_has_every_column_once_and_its_own_under_their_names(tmp_path):
    frame = pl.DataFrame({
        "arrival_ns": [0, 1], "input_tokens": [4, 4], "output_tokens": [1, 1], "status": ["a", "b"],
        "hit_tokens": [7, 8], "X": [1, 2], "x": [3, 4], "ttft_saving_ns": [5, 6],
        "tenant": ["p", "q"], "skips_lookup": [True, False],
    })  # fmt: skip
    trace = canonical_trace(frame, META)
    path = tmp_path / "t.parquet"
    write_trace(trace, path)
    scenario = Scenario(engine={"mode": "untimed"})
    result = execute(prepare(path, scenario))
    write_run(tmp_path / "run", result.tables, result.manifest, "")
    with RunDatabase(tmp_path / "run") as database:
        columns = database.query("FROM requests").columns
        assert len({name.lower() for name in columns}) == len(columns)
        wanted = (
            "SELECT status, source_status, source_hit_tokens, X, source_x, source_ttft_saving_ns, "
            "tenant, skips_lookup FROM completed ORDER BY request_id"
        )
        assert database.query(wanted).table().rows == [
            ("completed", "a", 7, 1, 3, 5, "p", True), ("completed", "b", 8, 2, 4, 6, "q", False),
        ]  # fmt: skip


def test_what_a_run_carries_over_are_columns_of_a_trace():
    assert set(CARRIED) <= set(column_names(TRACE))
    assert not set(CARRIED) & set(column_names(REQUESTS))
