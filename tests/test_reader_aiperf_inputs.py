"""The reader of AIPerf's conversations: turns add to what was said, and branch."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.aiperf_inputs import looks_like_aiperf_inputs, read_aiperf_inputs
from replay.trace.text import APPROXIMATE
from replay.trace.tree import build_tree
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

CASE = SHARED / "cases" / "formats" / "aiperf_dag.jsonl"
S = 10**9
trace_of = reading(read_aiperf_inputs)


def turn(text="Go on", tokens=15, **more):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, **more}


def session(name, *turns):
    return {"session_id": name, "turns": list(turns)}


def text_of(*rows):
    return "\n".join(map(json.dumps, rows))


def chatml(*said):
    """Tokens of a prompt, as ChatML writes these texts in turn, and unknown ones by their count."""
    total = 0
    for place, one in enumerate(said):
        role = ("user", "assistant")[place % 2]
        around = len(APPROXIMATE.split([f"<|im_start|>{role}\n<|im_end|>\n"])[0])
        total += around + (one if isinstance(one, int) else len(APPROXIMATE.split([one])[0]))
    return total + len(APPROXIMATE.split(["<|im_start|>assistant\n"])[0])


def hits_of(trace):
    return content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()


TALK = session("a", turn("Plan it"), turn("Go on", 7))


def test_turns_add_to_what_was_said_and_hold_its_response():
    trace = trace_of(text_of(TALK))
    prompts = [chatml("Plan it"), chatml("Plan it", 15, "Go on")]
    assert trace.frame["input_tokens"].to_list() == prompts
    assert trace.frame["output_tokens"].to_list() == [15, 7]
    assert trace.frame["arrival_ns"].to_list() == [0, 30 * S]
    assert hits_of(trace) == [0, prompts[0] + 14]


def test_forks_go_on_from_a_turn_and_spawns_start_anew():
    rows = [session("a", turn("Plan it", forks=["b"], spawns=["c"]), turn("Go on")),
            session("b", turn("Aside")), session("c", turn("Else"))]  # fmt: skip
    trace = trace_of(text_of(*rows))
    lengths = dict(
        zip(trace.frame["source_session_id"].str.slice(0, 1), trace.frame["input_tokens"],
            strict=True)
    )  # fmt: skip
    assert lengths["b"] == chatml("Plan it", 15, "Aside")
    assert lengths["c"] == chatml("Else")
    assert trace.requests == 4
    assert hits_of(trace)[1:] == [
        chatml("Plan it") + 14 if name == "b" else hit
        for name, hit in zip(
            trace.frame["source_session_id"].str.slice(0, 1)[1:], hits_of(trace)[1:], strict=True
        )
    ]


def test_delays_and_times_are_milliseconds():
    rows = [session("a", turn(delay=900), turn(delay=250), turn(timestamp=5000)),
            session("b", turn())]  # fmt: skip
    trace = trace_of(text_of(*rows))
    assert trace.frame["arrival_ns"].to_list() == [0, S // 4, S, 5 * S]
    assert any(note.startswith("3 turns have no times") for note in trace.meta.notes)


@pytest.mark.parametrize("deltas", [True, False])
def test_payloads_hold_a_turn_or_all_that_was_said(deltas):
    first, second = TALK["turns"]
    said = first["messages"] + [{"role": "assistant", "content": "Yes"}] + second["messages"]
    payloads = [first, second if deltas else {**second, "messages": said}]
    document = {"data": [{"session_id": "a", "payloads": payloads}]}
    text = json.dumps(document, indent=1)
    assert looks_like_aiperf_inputs(text.encode())
    found = trace_of(text).frame["input_tokens"].to_list()
    assert found[1] == chatml("Plan it", 15 if deltas else "Yes", "Go on")


def test_turns_of_texts_are_what_a_user_says():
    rows = {"session_id": "a", "turns": [{"text": "Plan it"}, {"texts": ["Go on"]}]}
    trace = trace_of(text_of(rows))
    assert trace.frame["input_tokens"].to_list()[0] == chatml("Plan it")
    assert trace.frame["output_tokens"].to_list() == [1, 1]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (session("a"), "a.jsonl:1: turns must be a list of turns"),
        (session("a", 5), r"a.jsonl:1: turns\[0\] must be an object"),
        (session("a", {"max_tokens": 3}), r"a.jsonl:1: turns\[0\] lacks messages"),
        (session("a", turn(tokens=0)), "max_tokens must be from 1 to"),
        (session("a", turn(delay="x")), r"turns\[0\].delay must be milliseconds"),
        (session("a", turn(forks=[5])), r"turns\[0\].forks must name sessions"),
        (session(None, turn()), "session_id must be text"),
        (session("a", turn(forks=["a"])), "session a branches from no session that starts"),
    ],
)
def test_faults_are_told_with_their_line(row, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(text_of(row))


def test_a_circle_of_branches_is_refused():
    rows = [session("a", turn(forks=["b"])), session("b", turn(forks=["c"])),
            session("c", turn(forks=["b"]))]  # fmt: skip
    with pytest.raises(TraceError, match="in a circle"):
        trace_of(text_of(*rows))


@needs(CASE)
def test_the_public_shape_is_read():
    trace = load_trace(CASE)
    assert trace.meta.format == "aiperf-inputs"
    assert trace.requests == 3


ROW = rows_of(
    session_id=st.sampled_from(["a", "b"]),
    turns=st.lists(st.just(turn(forks=["b"])) | any_json, max_size=3),
    payloads=st.just([turn()]),
)


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(
        mutated(text_of(TALK, session("b", turn()))),
        json_lines(ROW).map(str.encode),
        any_json.map(repr),
    )
)
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)


@pytest.mark.parametrize("turns", [[], [1], None, {}, "x"])
def test_a_session_without_turns_is_none_of_this_format(turns):
    assert not looks_like_aiperf_inputs(json.dumps({"session_id": "a", "turns": turns}).encode())
