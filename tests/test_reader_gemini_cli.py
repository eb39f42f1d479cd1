"""The Gemini CLI reader: documents and lines of messages, a request for each answer."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers.gemini_cli import looks_like_gemini_cli, read_gemini_cli
from replay.trace.tree import build_tree
from tests.naive.agents import ideal_hits
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of

trace_of = reading(read_gemini_cli)
HEAD = {
    "sessionId": "s", "projectHash": "ab12", "startTime": "2026-01-01T00:00:00.000Z",
    "lastUpdated": "2026-01-01T00:00:00.000Z", "kind": "main",
}  # fmt: skip


def time_of(second):
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def user(name, second, text):
    content = [{"text": text}]
    return {"id": name, "timestamp": time_of(second), "type": "user", "content": content}


def answer(name, second, length, cached=0, output=20, thoughts=30, tool=0, **more):
    tokens = {
        "input": length, "output": output, "cached": cached, "thoughts": thoughts, "tool": tool,
        "total": length + output + thoughts + tool,
    }  # fmt: skip
    return {
        "id": name, "timestamp": time_of(second), "type": "gemini", "content": "Ok",
        "model": "gemini-3-pro", "tokens": tokens, **more,
    }  # fmt: skip


TALK = [
    user("1", 1, "Fix it"),
    answer("2", 4, 1000, toolCalls=[{"name": "ls", "result": ["a"], "timestamp": time_of(7)}]),
    answer("3", 9, 1090, 1000, tool=10),
    {"id": "4", "timestamp": time_of(10), "type": "info", "content": "Done"},
]
LINES = "\n".join(json.dumps(one) for one in (HEAD, *TALK))
DOCUMENT = json.dumps({**HEAD, "messages": TALK}, indent=1)


def hits_of(trace):
    return content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()


@pytest.mark.parametrize("text", [LINES, DOCUMENT])
def test_each_answer_is_a_request_with_thoughts_and_what_tools_added(text):
    assert looks_like_gemini_cli(text.encode())
    trace = trace_of(text)
    assert trace.frame["input_tokens"].to_list() == [1000, 1100]
    assert trace.frame["output_tokens"].to_list() == [50, 50]
    assert trace.frame["recorded_hit_tokens"].to_list() == [0, 1000]
    assert trace.frame["arrival_ns"].to_list() == [0, 6_000_000_000]
    assert hits_of(trace) == [0, 1049]


def test_a_message_told_again_takes_its_own_place():
    text = f"{LINES}\n{json.dumps(answer('3', 9, 1200))}"
    assert trace_of(text).frame["input_tokens"].to_list() == [1000, 1200]


def test_a_rewound_chat_goes_on_from_the_earlier_call():
    more = [{"$set": {"summary": "x"}}, user("5", 20, "On"), answer("6", 22, 1200),
            {"$rewindTo": "5"}, user("7", 30, "No"), answer("8", 33, 1200)]  # fmt: skip
    trace = trace_of("\n".join([LINES, *map(json.dumps, more)]))
    assert hits_of(trace) == [0, 1049, 1149, 1150]
    assert any(note.startswith("chats were rewound 1 times") for note in trace.meta.notes)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"$rewindTo": "9"}, r"a.jsonl:6: \$rewindTo must be the id of an earlier message"),
        (user("5", 1, "x") | {"timestamp": None}, "a.jsonl:6: timestamp must be a date"),
        (user("5", 1, "x") | {"content": 5}, "a.jsonl:6: content must be text or a list"),
        (answer("5", 1, 5) | {"tokens": []}, "a.jsonl:6: tokens must be an object"),
        (answer(5, 1, 5), r"a.jsonl:6: id must be text \(got 5\)"),
        (answer("5", 1, 5, cached=6), "a.jsonl:6: cached tokens are more than the prompt has"),
    ],
)
def test_faults_are_told_with_their_line(wrong, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(f"{LINES}\n{json.dumps(wrong)}")


def test_a_document_whose_messages_are_none_is_refused():
    with pytest.raises(TraceError, match="messages must be a list"):
        trace_of(json.dumps({**HEAD, "messages": 3}))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), min_size=1, max_size=6))
def test_content_equals_the_slow_twin(drawn):
    rows, calls = [HEAD], []
    for number, (length, part) in enumerate(drawn):
        read = int(part * length)
        rows += [user(f"u{number}", number, "a"), answer(f"a{number}", number, length, read, 5, 2)]
        calls.append(
            {"length": length, "output": 7, "read": read, "added": "a", "start": "", "spoken": 1,
             "after": number - 1 if number else None, "goes_on": True}
        )  # fmt: skip
    assert hits_of(trace_of("\n".join(map(json.dumps, rows)))) == ideal_hits(calls)


LINE = rows_of(
    **{name: st.just(value) for name, value in {**HEAD, **TALK[1]}.items() if name != "type"},
    type=st.sampled_from(["user", "gemini", "info", "x"]),
    messages=st.just(TALK),
)


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        mutated(LINES), mutated(DOCUMENT), json_lines(LINE).map(str.encode), any_json.map(repr)
    )
)
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
