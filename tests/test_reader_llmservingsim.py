"""The LLMServingSim reader: token ids, lengths and sessions, and every fault with its line."""

import contextlib
import json
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.check_content import content_facts
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.llmservingsim import looks_like_llmservingsim, read_llmservingsim
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.reuse import edge_uses, ideal_hit_rates
from replay.trace.tree import build_tree
from tests.shared_data import SHARED, needs

SHAREGPT = SHARED / "traces" / "sharegpt_tokens" / "sharegpt-llama-3.1-8b-300-sps10.jsonl"


def line(input_toks=3, output_toks=2, arrival_time_ns=5, **more):
    return json.dumps(
        {
            "input_toks": input_toks, "output_toks": output_toks,
            "arrival_time_ns": arrival_time_ns, **more,
        }
    )  # fmt: skip


FIRST = line(input_tok_ids=[7, 8, 9], output_tok_ids=[1, 2])
SECOND = line(4, 1, 6, input_tok_ids=[7, 8, 9, 1], output_tok_ids=[5], model="m")
SESSION = json.dumps(
    {
        "session_id": "s", "arrival_time_ns": 0,
        "sub_requests": [
            {"input_toks": 3, "output_toks": 2, "tool_duration_ns": 10},
            {"input_toks": 9, "output_toks": 1, "tool_duration_ns": 0},
            {"input_toks": 12, "output_toks": 4},
        ],
    }
)  # fmt: skip


def trace_of(*lines, **options) -> Trace:
    data = b"\n".join(one if isinstance(one, bytes) else one.encode() for one in lines)
    return read_llmservingsim(Source("t.jsonl", "t.jsonl", data, "0" * 64), ReadOptions(**options))


def test_flat_rows_keep_their_token_ids():
    trace = trace_of(SECOND, FIRST)
    assert trace.frame["arrival_ns"].to_list() == [0, 1]
    assert trace.frame["tokens"].to_list() == [[7, 8, 9], [7, 8, 9, 1]]
    assert trace.frame["response_tokens"].to_list() == [[1, 2], [5]]
    assert trace.frame["model"].to_list() == [None, "m"]
    hits = content_facts(trace, build_tree(trace)).ideal_hit_tokens
    assert hits.tolist() == [0, 4]  # the response's last token is never computed


def test_rows_without_ids_are_a_trace_of_lengths():
    trace = trace_of(line(), line(arrival_time_ns=9))
    assert not trace.has_content
    assert not trace.has_sessions


def test_sub_requests_are_the_turns_of_a_session_one_tool_apart():
    trace = trace_of(SESSION, line(arrival_time_ns=4))
    assert trace.frame["arrival_ns"].to_list() == [0, 4, 10, 10]
    assert trace.frame["session_id"].to_list() == [0, None, 0, 0]
    assert trace.frame["turn"].to_list() == [0, None, 1, 2]
    assert "as if the model took no time" in trace.meta.notes[0]


@pytest.mark.parametrize(("bad", "what"), [
    ('{"input_toks": 3}', "lacks output_toks, arrival_time_ns"),
    (line(input_toks=0), "input_toks must be between 1 and"),
    (line(input_toks=3.0), "input_toks must be an integer"),
    (line(output_toks=True), "output_toks must be an integer"),
    (line(arrival_time_ns=-1), "arrival_time_ns must be between 0"),
    (line(input_tok_ids=[1]), r"input_toks is 3 \(got 1 input_tok_ids\)"),
    (line(input_tok_ids=[1, 2, -1]), r"input_tok_ids\[2\] must be between 0"),
    (line(input_tok_ids="abc"), "must be a list of integers"),
    (line(output_tok_ids=[1, "2"]), r"output_tok_ids\[1\] must be an integer"),
    ('{"session_id": [], "arrival_time_ns": 0, "sub_requests": [{}]}', "must be text"),
    ('{"session_id": 1, "arrival_time_ns": 0, "sub_requests": []}', "must be a list of requests"),
    ('{"session_id": 1, "arrival_time_ns": 0, "sub_requests": [1]}', "must be an object"),
    ('{"session_id": 1, "arrival_time_ns": 0, "sub_requests": [{}]}',
     r"sub_requests\[0\].lacks input_toks"),
    ("[]", "expected a JSON object"),
    ("{oops", "not valid JSON"),
])  # fmt: skip
def test_each_fault_is_told_with_its_line(bad, what):
    with pytest.raises(TraceError, match=f"t.jsonl:2(:[0-9]+)?: .*{what}"):
        trace_of(line(), bad)
    assert trace_of(*[line()] * 9, bad, max_rejected=0.2).meta.rejected_rows == 1


def test_ids_in_some_rows_and_not_in_others_are_a_fault():
    with pytest.raises(TraceError, match=r"t.jsonl:2: lacks input_tok_ids, which other rows have"):
        trace_of(FIRST, line())


def test_a_request_without_a_response_is_put_aside():
    trace = trace_of(FIRST, line(output_toks=0, input_tok_ids=[1, 2, 3]))
    assert trace.requests == 1
    assert trace.rejected[0].line == 2
    with pytest.raises(TraceError, match="no request"):
        trace_of(line(output_toks=0))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_file_ends_in_anything_but_a_trace_or_an_error(data):
    good = bytearray(f"{FIRST}\n{SECOND}\n{SESSION}\n".encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ReplayError):
        assert trace_of(bytes(good)).requests


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(
    st.sampled_from(["input_toks", "output_toks", "arrival_time_ns", "input_tok_ids", "session_id",
                     "sub_requests", "tool_duration_ns"]),
    st.none() | st.integers() | st.text(max_size=2) | st.lists(st.integers(0, 9), max_size=3),
), min_size=1, max_size=4))  # fmt: skip
def test_no_row_ends_in_anything_but_a_trace_or_an_error(rows):
    with contextlib.suppress(ReplayError):
        assert trace_of(*map(json.dumps, rows)).requests


def test_its_files_are_recognised():
    assert looks_like_llmservingsim(FIRST.encode())
    assert looks_like_llmservingsim(SESSION.encode())
    assert not looks_like_llmservingsim(b'{"timestamp": 1, "hash_ids": []}')


def common(one, other) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@needs(SHAREGPT)
@pytest.mark.parametrize("with_responses", [False, True])
def test_real_token_ids_hit_as_a_longest_common_prefix_says(with_responses):
    trace = load_trace(SHAREGPT)
    assert (trace.requests, trace.meta.format) == (300, "llmservingsim")
    prompts = trace.frame["tokens"].to_list()
    said = [
        prompt + (response[:-1] if with_responses else [])
        for prompt, response in zip(prompts, trace.frame["response_tokens"].to_list(), strict=True)
    ]
    longest = [
        max((common(prompt, earlier) for earlier in said[:at]), default=0)
        for at, prompt in enumerate(prompts)
    ]
    tree = build_tree(trace)
    if with_responses:
        assert content_facts(trace, tree).ideal_hit_tokens.tolist() == longest
        return
    uses = edge_uses(tree, 16)
    assert uses.hits_by_request(uses.tokens).tolist() == longest
    blocks = block_ids_of(trace.changed(trace.frame), 16)
    blocks = blocks.changed(blocks.frame.drop("tokens", "response_tokens"))
    full = [common // 16 for common in longest]
    found = edge_uses(build_tree(blocks), 16)
    assert found.hits_by_request(found.full_blocks).tolist() == full
    rates = ideal_hit_rates(uses, 16)
    assert rates["ideal_token_hit_rate"] == pytest.approx(sum(longest) / sum(map(len, prompts)))
