"""The Claude Code reader: one request a call, grown from the log, as long as was counted."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.claude_code import looks_like_claude_code, read_claude_code
from replay.trace.text import APPROXIMATE
from replay.trace.tree import build_tree
from tests.naive.agents import ideal_hits
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

CASE = SHARED / "cases" / "formats" / "claude_code_session.jsonl"
trace_of = reading(read_claude_code)


def time_of(second):
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def message(kind, uuid, parent, second, content, *, session="s", **more):
    return {
        "type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": session, "version": "2.0.1",
        "cwd": "/code", "isSidechain": False, "timestamp": time_of(second),
        "message": {"role": kind, "content": content}, **more,
    }  # fmt: skip


def user(uuid, parent, second, text, **more):
    return message("user", uuid, parent, second, text, **more)


def answer(uuid, parent, second, name, *, new=4, read=0, written=0, output=10, **more):
    row = message("assistant", uuid, parent, second, [{"type": "text", "text": "Ok"}], **more)
    row["message"] |= {
        "id": name,
        "model": "m",
        "usage": {
            "input_tokens": new,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "output_tokens": output,
        },
    }
    return row | {"requestId": f"req_{name}"}


def text_of(*rows):
    return "\n".join(json.dumps(row) for row in rows)


def hits_of(trace):
    return content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()


TALK = [
    {"type": "summary", "summary": "A fix", "leafUuid": "x"},
    {"type": "file-history-snapshot", "messageId": "u1", "snapshot": {}},
    user("u1", None, 0, "Fix it"),
    answer("a1", "u1", 4, "m1", new=4, written=996, output=2),
    answer("a2", "a1", 6, "m1", new=4, written=996, output=50),
    user("u2", "a2", 9, [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]),
    answer("a3", "u2", 12, "m2", new=4, read=1000, written=96, output=30),
]


def test_lines_of_one_message_are_one_request_with_the_last_usage():
    trace = trace_of(text_of(*TALK))
    assert trace.frame["input_tokens"].to_list() == [1000, 1100]
    assert trace.frame["output_tokens"].to_list() == [50, 30]
    assert trace.frame["recorded_hit_tokens"].to_list() == [0, 1000]
    assert trace.frame["recorded_cache_write_tokens"].to_list() == [996, 96]
    assert trace.frame["source_session_id"].to_list() == ["s", "s"]
    assert trace.frame["call_id"].to_list() == ["m1", "m2"]


def test_a_request_arrives_with_what_it_answers_and_lasts_until_its_last_line():
    trace = trace_of(text_of(*TALK))
    assert trace.frame["arrival_ns"].to_list() == [0, 9_000_000_000]
    assert trace.frame["recorded_e2e_ns"].to_list() == [6_000_000_000, 3_000_000_000]


def test_of_results_of_several_tools_the_last_sends_the_request():
    rows = [*TALK[:6], user("u2b", "a1", 11, "other tool"), TALK[6]]
    assert trace_of(text_of(*rows)).frame["arrival_ns"].to_list() == [0, 11_000_000_000]


def test_a_call_holds_the_prompt_before_it_and_the_response():
    # 1,000 tokens, then 50 of the response (49 of which leave KV), then 50 that are new.
    assert hits_of(trace_of(text_of(*TALK))) == [0, 1049]


def test_a_response_that_does_not_fit_into_the_growth_was_not_sent_back():
    rows = [*TALK[:6], answer("a3", "u2", 12, "m2", new=4, read=1000, written=16)]
    trace = trace_of(text_of(*rows))
    assert hits_of(trace) == [0, 1000]
    assert any("1 responses do not come back whole" in note for note in trace.meta.notes)


def test_a_prompt_may_add_nothing_to_the_response_before_it():
    rows = [*TALK[:6], answer("a3", "u2", 12, "m2", new=4, read=1000, written=46)]
    trace = trace_of(text_of(*rows))
    assert trace.frame["segment_tokens"].to_list()[1][-1] == 50
    assert not any("come back whole" in note for note in trace.meta.notes)
    assert hits_of(trace) == [0, 1049]


def test_after_compaction_the_start_is_shared_and_what_was_read():
    boundary = {
        "type": "system", "subtype": "compact_boundary", "uuid": "b", "parentUuid": None,
        "sessionId": "s", "logicalParentUuid": "a3", "timestamp": time_of(20),
    }  # fmt: skip
    rows = [*TALK, boundary, user("u3", "b", 21, "summary", isCompactSummary=True)]
    told = len(APPROXIMATE.split(["Fix it"])[0])
    for read, shared in ((0, 1000 - told), (900, 1000 - told), (1050, 1050)):
        trace = trace_of(text_of(*rows, answer("a4", "u3", 25, "m3", new=2000 - read, read=read)))
        assert hits_of(trace) == [0, 1049, shared], read
        assert any("1 prompts do not hold the one before" in note for note in trace.meta.notes)


def test_a_rewound_conversation_goes_on_from_the_earlier_call():
    rows = [*TALK, user("u4", "a2", 30, "no, otherwise"), answer("a4", "u4", 33, "m3", new=1200)]
    assert hits_of(trace_of(text_of(*rows))) == [0, 1049, 1050]


def test_sessions_of_one_version_model_and_folder_start_alike():
    other = [user("v1", None, 60, "Say", session="t"),
             answer("b1", "v1", 63, "n1", new=500, read=600, session="t")]  # fmt: skip
    assert hits_of(trace_of(text_of(*TALK, *other)))[2] == 600
    other[1]["version"] = "2.0.2"
    assert hits_of(trace_of(text_of(*TALK, *other)))[2] == 0


def test_sub_agents_are_sessions_of_their_own():
    side = {"isSidechain": True}
    rows = [
        *TALK,
        user("s1", None, 30, "search", **side), answer("s2", "s1", 31, "n1", new=300, **side),
        user("s3", "s2", 32, "on", **side), answer("s4", "s3", 33, "n2", new=400, **side),
        user("w1", None, 40, "else", agentId="w", **side),
        answer("w2", "w1", 41, "n3", new=300, agentId="w", **side),
    ]  # fmt: skip
    trace = trace_of(text_of(*rows))
    assert trace.frame["source_session_id"].to_list() == ["s", "s", "s/s1", "s/s1", "s/w"]
    assert trace.frame["agent"].to_list() == ["main", "main", *["sidechain"] * 3]
    assert any(note.startswith("3 calls are of sub-agents") for note in trace.meta.notes)


def test_what_the_client_says_for_the_model_is_put_aside():
    failed = answer("a9", "a3", 40, "m9", isApiErrorMessage=True)
    trace = trace_of(text_of(*TALK, failed))
    assert trace.requests == 2
    assert [row.reason for row in trace.rejected] == [
        "a failed request: the client answered for the model"
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"timestamp": "noon"}, r"a.jsonl:4: timestamp must be a date .*got 'noon'"),
        ({"uuid": None}, r"a.jsonl:4: uuid must be text \(got None\)"),
        ({"parentUuid": 3}, r"a.jsonl:4: parentUuid must be text or null \(got 3\)"),
        ({"sessionId": ""}, r"a.jsonl:4: sessionId must be text"),
        ({"message": "x"}, r"a.jsonl:4: message must be an object"),
        ({"message": {"id": "m"}}, r"a.jsonl:4: message.usage must be an object \(got None\)"),
        (
            {"message": {"usage": {"input_tokens": -1}}},
            r"a.jsonl:4: input_tokens must be between",
        ),
    ],
)
def test_faults_are_told_with_their_line(change, fault):
    rows = [*TALK[:3], TALK[3] | change, *TALK[4:]]
    with pytest.raises(TraceError, match=fault):
        trace_of(text_of(*rows))
    assert trace_of(text_of(*rows), max_rejected=0.5).requests >= 1


def test_a_log_without_calls_has_no_requests():
    with pytest.raises(TraceError, match="no requests"):
        trace_of(text_of(*TALK[:3]))


def test_the_format_is_known_by_its_chained_lines():
    assert looks_like_claude_code(text_of(*TALK).encode())
    assert not looks_like_claude_code(b'{"type": "summary", "sessionId": 3}\n{"type": "a"}')
    assert not looks_like_claude_code(json.dumps({"messages": [TALK[0]]}).encode())


@needs(CASE)
def test_the_public_shape_is_read():
    trace = load_trace(CASE)
    assert trace.frame.select("input_tokens", "output_tokens", "recorded_hit_tokens").rows() == [
        (16004, 33, 15000)
    ]


@st.composite
def conversations(draw):
    """Lines of a log, and its calls as the twin takes them."""
    rows, calls, second = [], [], 0
    for number in range(draw(st.integers(1, 6))):
        after = draw(st.sampled_from([None, *range(number)])) if number else None
        cut = after is not None and draw(st.booleans())
        text = draw(st.sampled_from(["a", "b c", "d e f"]))
        length, output = draw(st.integers(4, 60)), draw(st.integers(1, 20))
        read = draw(st.integers(0, length))
        session = f"s{number}" if after is None else calls[after]["session"]
        if cut:  # a compacted conversation follows the last call of its session
            after = max(at for at, one in enumerate(calls) if one["session"] == session)
        parent = None if after is None else f"a{after}"
        if cut:
            rows.append(
                {"type": "system", "subtype": "compact_boundary", "uuid": f"b{number}",
                 "parentUuid": None, "sessionId": session, "timestamp": time_of(second)}
            )  # fmt: skip
            parent = f"b{number}"
        rows.append(user(f"u{number}", parent, second, text, session=session))
        rows.append(
            answer(
                f"a{number}", f"u{number}", second + 1, f"m{number}", session=session,
                new=length - read, read=read, output=output,
            )
        )  # fmt: skip
        calls.append(
            {"length": length, "output": output, "read": read, "added": text, "session": session,
             "spoken": len(APPROXIMATE.split([text])[0]), "start": "", "after": after,
             "goes_on": not cut}
        )  # fmt: skip
        second += 2
    return rows, calls


@settings(deadline=None, max_examples=150)
@given(conversations())
def test_content_equals_the_slow_twin(drawn):
    rows, calls = drawn
    assert hits_of(trace_of(text_of(*rows))) == ideal_hits(calls)


LINE = rows_of(
    type=st.sampled_from(["user", "assistant", "system", "attachment"]),
    uuid=st.sampled_from(["a", "b", "c"]),
    parentUuid=st.sampled_from([None, "a", "b", "c"]),
    sessionId=st.just("s"),
    timestamp=st.just(time_of(3)),
    isSidechain=st.booleans(),
    message=st.just(TALK[3]["message"]),
)


@settings(deadline=None, max_examples=200)
@given(st.one_of(mutated(text_of(*TALK)), json_lines(LINE).map(str.encode), any_json.map(repr)))
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)


def test_a_session_that_was_resumed_in_another_file_counts_once(tmp_path):
    copied = [row | {"sessionId": "t"} for row in TALK if "uuid" in row]
    more = [user("u9", "a3", 50, "go on", session="t"),
            answer("a9", "u9", 55, "m9", new=1200, session="t")]  # fmt: skip
    (tmp_path / "a.jsonl").write_text(text_of(*TALK))
    (tmp_path / "b.jsonl").write_text(text_of(*copied, *more))
    (tmp_path / "c.jsonl").write_text(text_of(*copied))
    trace = load_trace(tmp_path)
    assert trace.frame["call_id"].to_list() == ["m1", "m2", "m9"]
    assert hits_of(trace) == [0, 1049, 1129]
    assert "2 calls stand in an earlier file as well and count once" in trace.meta.notes
