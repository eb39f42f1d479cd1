"""The LLMServingSim reader: token ids in, and what of them repeats counted by brute force."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.content import block_ids_of
from replay.trace.readers import load_trace
from replay.trace.readers.llmservingsim import looks_like_llmservingsim, read_llmservingsim
from replay.trace.reuse import edge_uses
from replay.trace.tree import build_tree
from tests.reader_fuzz import json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

REAL = SHARED / "traces" / "sharegpt_tokens" / "sharegpt-llama-3.1-8b-300-sps10.jsonl"
ASSUMED = "when responses end is not in the source"
trace_of = reading(read_llmservingsim)


def line(input_toks=3, output_toks=2, arrival_time_ns=5, **more):
    return json.dumps(
        {
            "input_toks": input_toks, "output_toks": output_toks,
            "arrival_time_ns": arrival_time_ns, **more,
        }
    )  # fmt: skip


def tokens_line(prompt, response, arrival_time_ns=5, **more):
    ids = {"input_tok_ids": prompt, "output_tok_ids": response}
    return line(len(prompt), len(response), arrival_time_ns, **ids, **more)


def session_line(*steps, session_id="s", arrival_time_ns=0, **more):
    """A session of (input_toks, output_toks, tool_duration_ns)."""
    names = ("input_toks", "output_toks", "tool_duration_ns")
    steps = [dict(zip(names, step, strict=False)) for step in steps]
    head = {"session_id": session_id, "arrival_time_ns": arrival_time_ns}
    return json.dumps({**head, "sub_requests": steps, **more})


SAMPLE = "\n".join(
    [
        tokens_line([1, 2, 3], [4, 5], 5),
        tokens_line([1, 2, 3, 4, 5, 6], [7], 9, user="u"),
        tokens_line([1, 9], [7, 8], 7),
    ]
)


def test_flat_rows_become_requests_in_order_of_time_exact_to_the_token():
    trace = trace_of(SAMPLE)
    assert trace.frame["arrival_ns"].to_list() == [0, 2, 4]
    assert trace.frame["tokens"].to_list() == [[1, 2, 3], [1, 9], [1, 2, 3, 4, 5, 6]]
    assert trace.frame["response_tokens"].to_list() == [[4, 5], [7, 8], [7]]
    assert trace.frame["user"].to_list() == [None, None, "u"]
    assert not trace.has_sessions
    assert "1 rows arrive before the one above" in trace.meta.notes[0]


def test_a_request_of_a_session_arrives_a_tool_after_the_one_before():
    trace = trace_of(session_line((10, 2, 100), (14, 3, 50), (20, 1, 0)))
    assert trace.frame["arrival_ns"].to_list() == [0, 100, 150]
    assert trace.frame["input_tokens"].to_list() == [10, 14, 20]
    assert trace.frame["parent_request_id"].to_list() == [None, 0, 1]
    assert trace.frame["source_session_id"].to_list() == ["s", "s", "s"]
    assert trace.meta.notes[0].startswith(ASSUMED)
    assert not trace.has_content


def test_flat_rows_and_sessions_may_stand_in_one_file():
    rows = [line(7, 1, 60), session_line((10, 2, 100), (14, 3), arrival_time_ns=10)]
    trace = trace_of("\n".join(rows))
    assert trace.frame["input_tokens"].to_list() == [10, 7, 14]
    assert trace.frame["turn"].to_list() == [0, None, 1]


def test_a_session_without_a_name_is_one_all_the_same():
    trace = trace_of(session_line((1, 1, 0), (2, 1), session_id=None))
    assert trace.frame["session_id"].to_list() == [0, 0]


def test_responses_may_lack_ids_where_prompts_have_them():
    trace = trace_of("\n".join([tokens_line([1], [2]), line(1, 4, input_tok_ids=[3])]))
    assert trace.frame["response_tokens"].to_list() == [[2], None]


def test_requests_without_a_response_are_put_aside():
    steps = session_line((3, 1, 4), (3, 0, 4), (3, 2))
    trace = trace_of("\n".join([line(output_toks=0), steps]))
    assert trace.requests == 2
    assert [(one.line, one.reason) for one in trace.rejected] == [
        (1, "no response: a failed request")
    ]
    assert "1 sub_requests without a response were left out" in trace.meta.notes


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line("12"), "input_toks must be an integer (got '12')"),
        (line(3.0), "input_toks must be an integer (got 3.0)"),
        (line(True), "input_toks must be an integer (got True)"),
        (line(0), "input_toks must be between 1 and 16777216 (got 0)"),
        (line(2**31), "input_toks must be between 1 and 16777216"),
        (line(output_toks=-1), "output_toks must be between 0"),
        (line(arrival_time_ns=-1), "arrival_time_ns must be between 0"),
        (line(arrival_time_ns=2**63), "arrival_time_ns must be between 0"),
        (line(arrival_time_ns=1.5), "arrival_time_ns must be an integer (got 1.5)"),
        (line(arrival_time_ns=None), "lacks arrival_time_ns (got 'input_toks'"),
        ('{"arrival_time_ns": 1, "output_toks": 2}', "lacks input_toks"),
        (line(input_tok_ids=[1, 2]), "input_toks is 3 (got 2 input_tok_ids)"),
        (line(output_tok_ids=[1]), "output_toks is 2 (got 1 output_tok_ids)"),
        (line(input_tok_ids="123"), "input_tok_ids must be a list of integers (got '123')"),
        (line(input_tok_ids=[1, "2", 3]), "input_tok_ids must hold integers alone (got '2')"),
        (line(input_tok_ids=[1, 2**32, 3]), "must hold integers between 0 and 4294967295"),
        (session_line(), "sub_requests must be a list of requests (got [])"),
        (session_line(session_id=1.5), "session_id must be text (got 1.5)"),
        ('{"arrival_time_ns": 1, "sub_requests": [4]}', "sub_requests[0] must be an object"),
        (session_line((1, 1, -1)), "sub_requests[0].tool_duration_ns must be between 0"),
        (session_line((1, 1), (0, 1)), "sub_requests[1].input_toks must be between 1"),
        (session_line((1, 1, 2**63 - 1), (1, 1, 1)), "leads out of range"),
        (line()[:-1] + ', "input_toks": 3}', "key 'input_toks' given twice"),
        (line()[:-1] + ', "x": NaN}', "NaN is not a number"),
        ("[1]", "expected a JSON object"),
        (line()[:-4], "not valid JSON"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(bad, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{line()}\n{bad}\n{line()}\n")
    assert str(caught.value).startswith("a.jsonl:2:")
    assert message in str(caught.value)


def test_a_row_without_ids_among_rows_with_them_is_refused():
    with pytest.raises(TraceError, match=r":2: lacks input_tok_ids, which other rows have"):
        trace_of(f"{tokens_line([1], [2])}\n{line()}\n")


def test_faults_are_told_together_and_may_be_put_aside():
    text = "\n".join([tokens_line([1], [2])] * 3 + [line(), "{", line(0)])
    with pytest.raises(TraceError) as caught:
        trace_of(text)
    assert [problem.line for problem in caught.value.problems] == [4, 5, 6]
    trace = trace_of(text, max_rejected=0.5)
    assert (trace.requests, trace.meta.rejected_rows) == (3, 3)


def test_it_is_recognised_and_others_are_not():
    assert looks_like_llmservingsim(SAMPLE.encode())
    assert looks_like_llmservingsim(session_line((1, 1, 1)).encode())
    assert not looks_like_llmservingsim(
        b'{"input": "\\"input_toks\\": 1 \\"arrival_time_ns\\": 2"}'
    )
    assert not looks_like_llmservingsim(b'{"timestamp": 0, "input_length": 1, "hash_ids": [0]}')


rows_ish = rows_of(
    input_toks=st.integers(0, 3),
    output_toks=st.integers(0, 3),
    arrival_time_ns=st.integers(0, 9),
    input_tok_ids=st.lists(st.integers(0, 5), max_size=3),
    output_tok_ids=st.lists(st.integers(0, 5), max_size=3),
    session_id=st.sampled_from(["a", "b"]),
    sub_requests=st.lists(
        rows_of(input_toks=st.integers(1, 3), output_toks=st.integers(0, 3)), max_size=2
    ),
)


@settings(max_examples=120, deadline=None)
@given(json_lines(rows_ish) | mutated(SAMPLE) | mutated(session_line((1, 1, 1), (2, 1))))
def test_anything_gives_a_trace_or_a_refusal(text):
    assert requests_or_refusal(trace_of, text) != 0


def longest_common_prefixes(prompts) -> list[int]:
    """How much of each prompt the start of any earlier one equals, in tokens."""
    arrays = [np.array(prompt) for prompt in prompts]
    found = []
    for place, prompt in enumerate(arrays):
        most = 0
        for earlier in arrays[:place]:
            length = min(len(prompt), len(earlier))
            differ = np.flatnonzero(prompt[:length] != earlier[:length])
            most = max(most, int(differ[0]) if len(differ) else length)
        found.append(most)
    return found


@needs(REAL)
def test_the_real_file_has_its_known_size():
    trace = load_trace(REAL)
    assert trace.meta.format == "llmservingsim"
    assert trace.requests == 300
    assert int(trace.frame["input_tokens"].sum()) == 257_239
    assert int(trace.frame["output_tokens"].sum()) == 195_753
    assert int(trace.frame["arrival_ns"][-1]) == 29_183_763_203 - 46_926_808


@needs(REAL)
def test_hits_exact_to_the_token_are_the_longest_common_prefixes():
    trace = load_trace(REAL)
    tree = build_tree(trace).prompts_only()
    uses = edge_uses(tree, 1)
    expected = longest_common_prefixes(trace.frame["tokens"].to_list())
    assert uses.hits_by_request(uses.tokens).tolist() == expected
    assert sum(expected) > 0


@needs(REAL)
def test_full_blocks_hit_are_the_whole_blocks_of_those_prefixes():
    trace = block_ids_of(load_trace(REAL), 16)
    blocks = trace.changed(trace.frame.drop("tokens", "response_tokens"))
    uses = edge_uses(build_tree(blocks), 16)
    expected = longest_common_prefixes(trace.frame["tokens"].to_list())
    assert uses.hits_by_request(uses.full_blocks).tolist() == [most // 16 for most in expected]
