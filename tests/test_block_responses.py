"""Responses known by the blocks they complete: the same hits as token by token, at that size."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from replay.errors import TraceError
from replay.trace.anonymize import anonymize
from replay.trace.block_units import units_of_blocks
from replay.trace.ceilings import block_hit_tokens, content_hit_tokens
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.merge import merge_traces
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from replay.trace.tree import build_tree
from replay.trace.writers.canonical import write_canonical
from replay.trace.writers.mooncake import write_mooncake
from tests import random_traces

FINER = ("segments", "segment_tokens", "response_segment")
sizes = st.sampled_from([1, 2, 3, 4, 5, 8, 16])


def in_blocks(trace: Trace, size: int) -> Trace:
    """The trace with block ids of prompts and responses and nothing finer."""
    made = block_ids_of(trace, size)
    return made.changed(made.frame.drop(FINER))


def hits(trace: Trace, size: int, **cache) -> list[tuple[int, ...]]:
    """What each request hits in an untimed run, and what it misses by which cause."""
    wanted = {"engine": {"mode": "untimed"}, "cache": {"block_size": size, **cache}}
    rows = execute(prepare_trace(trace, Scenario.model_validate(wanted))).tables["requests"]
    return rows.select("hit_tokens", "hit_blocks", "capacity_miss_tokens", "evicted_blocks").rows()


@settings(deadline=None, max_examples=80)
@given(
    random_traces.unit_rows(),
    sizes,
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["inf", "9blocks"]),
)
def test_a_run_of_blocks_is_the_run_of_tokens_at_their_size_and_multiples(
    drawn, size, times, capacity
):
    trace = random_traces.unit_trace_of(drawn)
    blocks = in_blocks(trace, size)
    assert hits(blocks, times * size, capacity=capacity) == hits(
        trace, times * size, capacity=capacity
    )


@settings(deadline=None, max_examples=80)
@given(random_traces.unit_rows(), sizes, sizes)
def test_at_smaller_blocks_nothing_is_hit_that_content_does_not_allow(drawn, size, other):
    trace = random_traces.unit_trace_of(drawn)
    blocks = in_blocks(trace, size)
    exact, coarse = build_tree(trace), build_tree(blocks)
    assert (content_hit_tokens(coarse) <= content_hit_tokens(exact)).all()
    at_size = block_hit_tokens(coarse, content_hit_tokens(coarse), size)
    assert (content_hit_tokens(coarse) >= at_size).all()
    found = hits(blocks, other)
    allowed = block_hit_tokens(exact, content_hit_tokens(exact), other)
    assert all(row[0] <= most for row, most in zip(found, allowed, strict=True))


@settings(deadline=None, max_examples=60)
@given(random_traces.unit_rows(), sizes)
def test_units_add_up_to_the_tokens_of_prompt_and_response(drawn, size):
    trace = in_blocks(random_traces.unit_trace_of(drawn), size)
    if not trace.has_block_responses:
        return
    flat = units_of_blocks(trace).flat
    upto = np.append(0, np.cumsum(flat.unit_tokens))
    prompts = upto[flat.prompt_stops] - upto[flat.offsets[:-1]]
    assert prompts.tolist() == trace.column("input_tokens").tolist()
    known = trace.frame["response_block_ids"].list.len().to_numpy() > 0
    whole = upto[flat.offsets[1:]] - upto[flat.offsets[:-1]]
    last = trace.column("input_tokens") + trace.column("output_tokens") - 1
    assert whole[known].tolist() == last[known].tolist()
    assert (flat.unit_tokens > 0).all()


@settings(deadline=None, max_examples=60)
@given(random_traces.unit_rows(), sizes)
def test_ends_of_prompts_are_shared_as_they_were(drawn, size):
    """Equal prompts share their partial last blocks, whether their responses are known or not."""
    trace = random_traces.unit_trace_of(drawn)
    again = content_hit_tokens(build_tree(in_blocks(trace, size)))
    prompts = [list(zip(r["segments"], r["segment_tokens"], strict=True)) for r in drawn]
    for request, prompt in enumerate(prompts):
        if prompt in prompts[:request]:
            assert again[request] == drawn[request]["input_tokens"]


@settings(deadline=None, max_examples=60)
@given(random_traces.unit_rows(last_arrival_ns=4_000_000_000), sizes)
def test_anonymized_and_converted_files_hit_the_same_for_every_request(
    tmp_path_factory, drawn, size
):
    trace = random_traces.unit_trace_of(drawn)
    whole = trace.changed(trace.frame.with_columns(pl.col("arrival_ns") // 1_000_000 * 1_000_000))
    folder = tmp_path_factory.mktemp("files")
    expected = hits(whole, size)
    options = ReadOptions(block_size=size)
    made = anonymize(whole, size).trace
    write_mooncake(made, folder / "anonymized.jsonl", block_size=size)
    write_mooncake(whole, folder / "converted.jsonl", block_size=size)
    for name in ("anonymized.jsonl", "converted.jsonl"):
        assert hits(load_trace(folder / name, options=options), size) == expected
    write_canonical(whole, folder / "converted.parquet", block_size=size)
    write_canonical(whole, folder / "exact.parquet")
    for name in ("converted.parquet", "exact.parquet"):
        assert hits(load_trace(folder / name), size) == expected


@settings(deadline=None, max_examples=60)
@given(random_traces.unit_rows(), random_traces.unit_rows(), sizes)
def test_blocks_and_responses_of_merged_files_are_each_files_own(first, second, size):
    parts = [in_blocks(random_traces.unit_trace_of(drawn), size) for drawn in (first, second)]
    if len({part.has_block_responses for part in parts}) > 1:
        return
    both = merge_traces(parts, path="both", name="both")
    alone = sum(int(content_hit_tokens(build_tree(part)).sum()) for part in parts)
    assert content_hit_tokens(build_tree(both)).sum() == alone


LINE = (
    '{"timestamp": %d, "input_length": %d, "output_length": %d, "hash_ids": %s, '
    '"response_hash_ids": %s}\n'
)


def read(tmp_path, *rows) -> Trace:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(LINE % row for row in rows))
    return load_trace(path, options=ReadOptions(block_size=4))


def test_the_worked_example(tmp_path):
    trace = read(tmp_path, (0, 6, 7, [1, 2], [3, 4]), (9, 14, 2, [1, 3, 4, 5], []))
    flat = units_of_blocks(trace).flat
    assert flat.unit_tokens.tolist() == [4, 2, 2, 4, 4, 2, 2, 4, 2]
    assert flat.prompt_stops.tolist() == [2, 9]
    assert content_hit_tokens(build_tree(trace)).tolist() == [0, 12]
    assert "responses have them too" in trace.meta.content


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            "[3]",
            "1: output_length 7 behind 6 tokens completes 2 blocks of 4 (got 1 response_hash_ids)",
        ),
        ("[3, -4]", "1: a block id must be between 0"),
        ('"34"', "1: response_hash_ids must be a list of integers"),
        ("[3, 4.5]", r"1: response_hash_ids\[1\] must be an integer"),
    ],
)
def test_wrong_ids_of_responses_are_told_by_line(ids, message, tmp_path):
    with pytest.raises(TraceError) as told:
        read(tmp_path, (0, 6, 7, [1, 2], ids))
    assert message.replace("\\", "") in str(told.value)


@st.composite
def replies_that_agree(draw) -> Trace:
    """Draw prompts that end anywhere in a few texts, and responses that go on with the text."""
    texts = [
        draw(st.lists(st.integers(0, 1), min_size=24, max_size=24)),
        draw(st.lists(st.integers(0, 1), min_size=24, max_size=24)),
    ]
    rows = []
    for at in range(draw(st.integers(1, 8))):
        text = draw(st.sampled_from(texts))
        end = draw(st.integers(1, 20))
        stop = draw(st.integers(end + 1, 24))
        rows.append((at, text[:end], text[end:stop]))
    frame = pl.DataFrame(
        {
            "arrival_ns": [at for at, _, _ in rows],
            "input_tokens": [len(prompt) for _, prompt, _ in rows],
            "output_tokens": [len(reply) for _, _, reply in rows],
            "tokens": [prompt for _, prompt, _ in rows],
            "response_tokens": [reply for _, _, reply in rows],
        }
    )
    meta = TraceMeta(path="t", name="t", sha256="", format="t", block_size=None, content="drawn")
    return canonical_trace(frame, meta)


@settings(deadline=None, max_examples=60)
@given(replies_that_agree(), st.sampled_from([3, 4, 5, 8]))
def test_prompts_that_end_at_several_places_of_one_block_are_cut_at_all_of_them(trace, size):
    made = block_ids_of(trace, size)
    blocks = made.changed(made.frame.drop("tokens", "response_tokens"))
    if blocks.has_block_responses:
        flat = units_of_blocks(blocks).flat
        upto = np.append(0, np.cumsum(flat.unit_tokens))
        prompts = upto[flat.prompt_stops] - upto[flat.offsets[:-1]]
        assert prompts.tolist() == trace.column("input_tokens").tolist()
    assert hits(blocks, size) == hits(trace, size)
    assert hits(blocks, 2 * size) == hits(trace, 2 * size)
    hashed = anonymize(trace, size).trace
    assert hits(hashed, size) == hits(trace, size)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14), st.data()), min_size=1, max_size=6)
)
def test_ids_that_contradict_each_other_are_told_or_do_no_harm(drawn):
    """Any ids at all: a fault by request, or a run in which every token is counted once."""
    rows = []
    for at, (tokens, output, data) in enumerate(drawn):
        several = [-(-tokens // 4), (tokens + output - 1) // 4 - tokens // 4]
        lists = [data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)) for n in several]
        rows.append((at, tokens, output, *lists))
    names = ("arrival_ns", "input_tokens", "output_tokens", "block_ids", "response_block_ids")
    frame = pl.DataFrame(
        {name: [row[at] for row in rows] for at, name in enumerate(names)},
        schema_overrides=dict.fromkeys(names[3:], pl.List(pl.UInt64)),
    )
    meta = TraceMeta(path="t", name="t", sha256="", format="t", block_size=4, content="drawn")
    trace = canonical_trace(frame, meta)
    try:
        tree = build_tree(trace)
    except TraceError as error:
        told = str(error)
        tree = None
    if tree is None:
        assert "stands for two lengths or begins in two ways" in told
        return
    prompts = tree.prompts_only()
    last = prompts.path_edges[prompts.path_offsets[1:] - 1]
    assert tree.edge_stop[last].tolist() == [tokens for _, tokens, *_ in rows]
