"""Readers of sessions that agents in editors and terminals keep: OpenCode and Cline."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.cline import looks_like_cline, read_cline
from replay.trace.readers.opencode import looks_like_opencode, read_opencode
from replay.trace.text import APPROXIMATE
from replay.trace.tree import build_tree
from tests.naive.agents import ideal_hits
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of

T = 1_767_225_600_000
task_of = reading(read_cline, "ui_messages.json")
session_of = reading(read_opencode, "s.json")


def hits_of(trace):
    return content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()


def say(kind, text, second=0, **more):
    return {"ts": T + 1000 * second, "type": "say", "say": kind, "text": text, **more}


def started(second, new, read=0, written=0, output=50, **more):
    told = {"request": f"ask {second}", "tokensIn": new, "tokensOut": output,
            "cacheReads": read, "cacheWrites": written, **more}  # fmt: skip
    return say("api_req_started", json.dumps(told), second)


TASK = [say("task", "Fix it"), started(1, 4, 0, 996), say("text", "Done", 3),
        say("user_feedback", "On", 8), started(9, 4, 1000, 96, 30)]  # fmt: skip


def message(role, second, *parts, **info):
    time = {"created": T + 1000 * second}
    return {"info": {"id": f"m{second}", "role": role, "time": time, **info}, "parts": list(parts)}


def text(said):
    return {"type": "text", "text": said}


def finish(new, read=0, written=0, output=40, reasoning=10):
    cache = {"read": read, "write": written}
    return {"type": "step-finish", "tokens": {"input": new, "output": output,
                                              "reasoning": reasoning, "cache": cache}}  # fmt: skip


def tool(second):
    return {"type": "tool", "state": {"output": "ok", "time": {"end": T + 1000 * second}}}


def session(*messages, name="ses_1"):
    return {"info": {"id": name, "directory": "/code", "version": "1.0"}, "messages": messages}


TALK = session(
    message("user", 0, text("Fix it")),
    message("assistant", 1, finish(4, 0, 996), tool(6), finish(4, 1000, 96), modelID="m"),
)


@pytest.mark.parametrize(
    ("trace", "times"),
    [(task_of(json.dumps(TASK)), [0, 8]), (session_of(json.dumps(TALK, indent=1)), [0, 6])],
    ids=["cline", "opencode"],
)
def test_calls_have_what_was_counted_and_go_on(trace, times):
    frame = trace.frame
    assert frame["input_tokens"].to_list() == [1000, 1100]
    assert frame["output_tokens"].to_list()[0] == 50
    assert frame["recorded_hit_tokens"].to_list() == [0, 1000]
    assert frame["recorded_cache_write_tokens"].to_list() == [996, 96]
    assert [time // 10**9 for time in frame["arrival_ns"].to_list()] == times
    assert hits_of(trace) == [0, 1049]
    assert frame["session_id"].to_list() == [0, 0]


def test_counts_of_openai_hold_what_was_cached():
    row = started(1, 1000, 900, apiProtocol="openai")
    assert task_of(json.dumps([row])).frame["input_tokens"].to_list() == [1000]


def test_older_versions_tell_a_call_in_two_parts():
    begun = say("api_req_started", json.dumps({"request": "x"}))
    done = say("api_req_finished", json.dumps({"tokensIn": 9, "tokensOut": 5}), 2)
    frame = task_of(json.dumps([begun, done])).frame
    assert (frame["input_tokens"][0], frame["output_tokens"][0]) == (9, 5)


def test_a_condensed_task_shares_its_start_and_what_was_read():
    told = len(APPROXIMATE.split(["ask 1"])[0])
    for read, shared in ((0, 1000 - told), (1020, 1020)):
        rows = [*TASK[:4], say("condense_context", "sum"), started(9, 2000 - read, read)]
        assert hits_of(task_of(json.dumps(rows))) == [0, min(shared, 1000)]


def test_a_task_goes_by_its_folder(tmp_path):
    for name in ("1767225600000", "1767225700000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ui_messages.json").write_text(json.dumps(TASK))
    trace = load_trace(f"{tmp_path}/*/ui_messages.json")
    assert trace.frame["source_session_id"].n_unique() == 2
    assert looks_like_cline(json.dumps(TASK).encode())
    assert looks_like_opencode(json.dumps(TALK).encode())


def test_sessions_of_one_file_go_on_by_themselves():
    other = session(message("user", 20, text("Else")), message("assistant", 21, finish(700, 300)),
                    name="ses_2")  # fmt: skip
    trace = session_of("\n".join(map(json.dumps, (TALK, other))))
    assert trace.frame["source_session_id"].to_list() == ["ses_1", "ses_1", "ses_2"]
    assert hits_of(trace)[2] == 0  # another model


@pytest.mark.parametrize(
    ("trace_of", "wrong", "fault"),
    [
        (task_of, [say("api_req_started", "no")], "ui_messages.json:1: text must be an object"),
        (task_of, [started(1, -4)], "ui_messages.json:1: tokensIn must be between"),
        (task_of, [started(1, 4) | {"ts": "x"}], "ui_messages.json:1: ts must be a date from"),
        (session_of, session(5), "s.json:1: a message must be an object"),
        (session_of, session({"info": {}, "parts": 3}), "s.json:1: parts must be a list"),
        (session_of, session(message("user", 0, time={})), "s.json:1: lacks created"),
        (session_of, session(message("assistant", 0, finish("x"))), "input must be an integer"),
        (session_of, {"info": 3, "messages": []}, "s.json:1: info must be of a session"),
        (session_of, {"info": {"id": "a"}, "messages": 3}, "s.json:1: messages must be a list"),
    ],
)
def test_faults_are_told(trace_of, wrong, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(json.dumps(wrong))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), min_size=1, max_size=6))
def test_content_equals_the_slow_twin(drawn):
    rows, steps, calls = [], [], []
    for number, (length, part) in enumerate(drawn):
        read = int(part * length)
        rows.append(started(number, length - read, read, output=7, request="a"))
        steps += [message("user", number, text("a")),
                  message("assistant", number, finish(length - read, read, 0, 5, 2))]  # fmt: skip
        calls.append(
            {"length": length, "output": 7, "read": read, "added": "a", "start": "", "spoken": 1,
             "after": number - 1 if number else None, "goes_on": True}
        )  # fmt: skip
    assert hits_of(task_of(json.dumps(rows))) == ideal_hits(calls)
    assert hits_of(session_of(json.dumps(session(*steps)))) == ideal_hits(calls)


ROW = rows_of(ts=st.just(T), say=st.sampled_from(["task", "api_req_started"]), text=st.just("{}"))


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        mutated(json.dumps(TASK)),
        mutated(json.dumps(TALK)),
        json_lines(ROW).map(str.encode),
        st.lists(any_json, max_size=3).map(lambda some: json.dumps(session(*some))),
        any_json.map(repr),
    )
)
def test_anything_is_read_or_refused(written):
    for trace_of in (task_of, session_of):
        requests_or_refusal(trace_of, written)
        requests_or_refusal(trace_of, written, max_rejected=0.9)


@pytest.mark.parametrize("time", [2**63, 2**64, 9.99e18, 1e30])
def test_a_time_beyond_what_a_clock_of_nanoseconds_can_say_is_told(time):
    rows = [TASK[0], {**TASK[1], "ts": time}]
    with pytest.raises(TraceError, match="ts must be a date from 1970"):
        task_of(json.dumps(rows))
