"""Requests of several models, adapters and salts: the same as if all their content were apart."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_untimed
from replay.errors import InputError, UnknownNameError
from replay.kernels import layout
from replay.trace.anonymize import anonymize
from replay.trace.check_content import content_facts
from replay.trace.content import block_ids_of
from replay.trace.describe import describe
from replay.trace.frame import Trace
from replay.trace.merge import merge_traces
from replay.trace.parquet import read_trace, write_trace
from replay.trace.prefix_sample import sample_prefixes
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from replay.trace.separation import (
    roots_of,
    separated,
    separating_columns,
    sharing_notes,
)
from replay.trace.sessions import link_requests
from replay.trace.tree import build_tree
from replay.trace.writers.llmservingsim import write_llmservingsim
from replay.trace.writers.mooncake import write_mooncake
from tests.random_traces import BLOCK, mixed, rows, trace_of, unit_rows, unit_trace_of

ONE = {"arrival_ns": 0, "block_ids": [7, 8, 9], "input_tokens": 10, "output_tokens": 3}


def trace_with(**columns: list) -> Trace:
    """Return requests of one prompt that differ in these columns alone."""
    requests = len(next(iter(columns.values())))
    trace = trace_of([{**ONE, "session_id": None} for _ in range(requests)])
    own = [pl.Series(name, values) for name, values in columns.items()]
    return Trace(trace.frame.drop("session_id").with_columns(own), trace.meta)


def hits(trace: Trace, size: int = BLOCK, *, responses: bool = False) -> list[int]:
    """Return what each request hits in an unlimited cache of blocks of `size`."""
    scenario = Scenario(cache={"responses": responses}, engine={"mode": "untimed"})
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=None)
    return simulate_untimed(plan).outcome[:, layout.HIT].tolist()


def with_ids_apart(drawn: list[dict]) -> list[dict]:
    """Return the same requests of one model, whose blocks differ where the models did."""
    names: dict[tuple, int] = {}
    return [
        {name: value for name, value in row.items() if name != "model"}
        | {"block_ids": [names.setdefault((row.get("model"), one), len(names))
                         for one in row["block_ids"]]}
        for row in drawn
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["model", "adapter", "cache_salt"])
def test_what_an_engine_keeps_apart_shares_nothing_and_null_is_a_value(name):
    trace = trace_with(**{name: ["a", None, "b", "a", None]})
    assert separating_columns(trace) == (name,)
    assert hits(trace) == [0, 0, 0, 8, 8]
    assert sharing_notes(trace, content_known=True) == [
        f"prompts share KV only within one {name} (2 values or none)"
    ]


def test_one_value_separates_nothing():
    trace = trace_with(model=["a", "a"], cache_salt=[None, None])
    assert separating_columns(trace) == ()
    assert hits(trace) == [0, 8]
    assert sharing_notes(trace, content_known=True) == []


def test_tenants_share_unless_they_are_named():
    trace = trace_with(tenant=["x", "y", "x"], model=["a", "a", "b"])
    assert hits(trace) == [0, 8, 0]
    named = separated(trace, "tenant")
    assert hits(named) == [0, 0, 8]
    assert sharing_notes(named, content_known=True) == [
        "prompts share KV only within one tenant (2 values)",
        "prompts share KV across model (2 values), as no engine does",
    ]
    assert hits(separated(trace, ("tenant", "model"))) == [0, 0, 0]
    assert hits(separated(trace, "tenant, model")) == [0, 0, 0]
    assert separated(trace, ["organization", "Model-ID"]).meta.separate_by == ("tenant", "model")


@pytest.mark.parametrize("nothing", ["none", ()])
def test_nothing_named_lets_all_share(nothing):
    trace = separated(trace_with(model=["a", "b"]), nothing)
    assert hits(trace) == [0, 8]
    assert "as no engine does" in sharing_notes(trace, content_known=True)[0]
    assert hits(separated(trace, "auto")) == [0, 8]  # the user has said so before


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UnknownNameError, match="column of the trace"):
        separated(trace_with(model=["a"]), "tenant")


def test_content_itself_keeps_nobody_apart():
    trace = trace_with(model=["a"])
    (content,) = (name for name, kind in trace.frame.schema.items() if kind.is_nested())
    with pytest.raises(UnknownNameError, match="column of the trace"):
        separated(trace, content)


def test_a_request_that_skips_the_lookup_hits_nothing_and_leaves_what_it_computes():
    trace = trace_with(skips_lookup=[True, False, True, None])
    assert hits(trace) == [0, 8, 0, 8]
    assert sharing_notes(trace, content_known=False) == [
        "2 of 4 requests skip the look-up, as those for prompt log-probabilities do: they hit "
        "nothing, and leave what they compute"
    ]


@settings(max_examples=80)
@given(drawn=mixed(rows(most=30)))
def test_everything_that_compares_blocks_keeps_models_apart(drawn):
    trace, apart = trace_of(drawn), trace_of(with_ids_apart(drawn))
    one, other = build_tree(trace), build_tree(apart)
    assert one.path_edges.tolist() == other.path_edges.tolist()
    assert one.edge_stop.tolist() == other.edge_stop.tolist()
    assert hits(trace) == hits(apart)
    bare = [Trace(of.frame.drop("session_id"), of.meta) for of in (trace, apart)]
    assert link_requests(bare[0]).parent.tolist() == link_requests(bare[1]).parent.tolist()
    draws = [_drawn(of) for of in (trace, apart)]
    assert draws[0] == draws[1]
    groups = [describe(of, build_tree(of)) for of in (trace, apart)]
    for group in ("ideal", "sources", "reuse"):
        assert groups[0][group] == groups[1][group]


def _drawn(trace: Trace) -> list[int]:
    try:
        return sample_prefixes(trace, 2, seed=1).trace.frame["request_id"].to_list()
    except InputError:  # nothing is drawn: then of neither
        return []


@settings(max_examples=60)
@given(drawn=mixed(unit_rows()))
def test_describe_and_check_agree_on_who_shares_where_responses_are_unknown(drawn):
    trace = unit_trace_of(drawn)
    trace = Trace(trace.frame.drop("response_segment"), trace.meta)
    tree = build_tree(trace)
    rate = describe(trace, tree)["ideal"]["ideal_token_hit_rate"]
    assert content_facts(trace, tree).ideal_hit_rate == pytest.approx(rate)


@settings(max_examples=60)
@given(
    drawn=mixed(st.one_of(rows(), unit_rows())),
    size=st.sampled_from([BLOCK, 2, 8]),
    responses=st.booleans(),
)
def test_a_trace_hits_the_same_anonymized_and_converted(tmp_path_factory, drawn, size, responses):
    trace = trace_of(drawn) if "block_ids" in drawn[0] else unit_trace_of(drawn)
    wanted = hits(trace, size, responses=responses)
    made = anonymize(trace, size).trace
    assert hits(made, size, responses=responses) == wanted
    folder = tmp_path_factory.mktemp("t")
    for name, source in (("own.jsonl", trace), ("anonymized.jsonl", made)):
        write_mooncake(source, folder / name, block_size=size)
        read = load_trace(
            folder / name, format_name="mooncake", options=ReadOptions(block_size=size)
        )
        assert hits(read, size, responses=responses) == wanted
    if trace.has_segments:
        write_llmservingsim(trace, folder / "tokens.jsonl")
        assert hits(load_trace(folder / "tokens.jsonl"), size, responses=responses) == wanted


@given(drawn=mixed(rows()))
def test_ids_stay_as_they_are_unless_two_models_have_one(drawn):
    trace = trace_of(drawn)
    found = block_ids_of(trace, BLOCK)
    owners = {(row.get("model"), one) for row in drawn for one in row["block_ids"]}
    if len(owners) == len({one for _, one in owners}):
        assert found is trace
    else:
        lists = zip(drawn, found.frame["block_ids"].to_list(), strict=True)
        of_id = {one: row.get("model") for row, ids in lists for one in ids}
        for row, ids in zip(drawn, found.frame["block_ids"].to_list(), strict=True):
            assert {of_id[one] for one in ids} <= {row.get("model")}
        assert "block ids were counted anew" in found.meta.notes[-1]


def test_files_of_one_key_share_ids_model_by_model():
    key = bytes(32)
    both = anonymize(trace_with(model=["a", "b"]), BLOCK, key=key).trace.frame["block_ids"]
    other = anonymize(trace_with(model=["c", "b"]), BLOCK, key=key).trace.frame["block_ids"]
    assert both[1].to_list() == other[1].to_list()
    assert not {*both[0], *other[0]} & {*both[1]}
    assert not {*both[0]} & {*other[0]}


def test_columns_that_were_named_travel_in_a_canonical_file(tmp_path):
    trace = separated(trace_with(tenant=["x", "y"]), ("tenant",))
    path = write_trace(trace, tmp_path / "t.parquet")
    again = read_trace(path.read_bytes(), str(path), sha256="")
    assert again.meta.separate_by == ("tenant",)
    assert hits(again) == [0, 0]
    path = write_trace(trace_with(model=["x", "y"]), tmp_path / "auto.parquet")
    assert read_trace(path.read_bytes(), str(path), sha256="").meta.separate_by is None


def test_a_token_file_says_what_its_reader_has_to_be_told(tmp_path):
    frame = pl.DataFrame(
        {"arrival_ns": [0, 1], "input_tokens": [2, 2], "output_tokens": [1, 1],
         "tokens": pl.Series([[1, 2], [1, 2]], dtype=pl.List(pl.UInt32)), "tenant": ["x", "y"]}
    )  # fmt: skip
    trace = Trace(frame.with_row_index("request_id"), trace_with(model=["a"]).meta)
    lost = write_llmservingsim(separated(trace, ("tenant",)), tmp_path / "t.jsonl")
    assert lost == ["what separates requests: read it with --separate-by tenant"]
    read = load_trace(tmp_path / "t.jsonl")
    assert hits(separated(read, ("tenant",)), 1) == [0, 0]


def test_files_of_different_models_are_apart_once_they_are_merged():
    parts = [trace_with(model=[name, name]) for name in ("a", "b")]
    shared = [Trace(one.frame, one.meta.noting()) for one in parts]
    merged = merge_traces(shared, path="m", name="m")
    assert separating_columns(merged) == ("model",)


def test_roots_are_few_numbers_from_zero():
    trace = trace_with(model=["b", None, "a", "b"], cache_salt=["s", "s", "s", None])
    roots = roots_of(trace)
    assert roots.dtype == np.int32
    assert sorted(set(roots.tolist())) == [0, 1, 2, 3]
