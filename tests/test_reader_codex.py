"""The Codex reader: one request for each count that is new, grown from the rollout."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.codex import looks_like_codex, read_codex
from replay.trace.text import APPROXIMATE
from replay.trace.tree import build_tree
from tests.naive.agents import ideal_hits
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

CASE = SHARED / "cases" / "formats" / "codex_rollout.jsonl"
trace_of = reading(read_codex)


def row(second, kind, **payload):
    time = f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"
    return {"timestamp": time, "type": kind, "payload": payload}


def meta(name="s", second=0, **more):
    return row(second, "session_meta", id=name, cwd="/code", cli_version="0.98.0", **more)


def user(second, text):
    content = [{"type": "input_text", "text": text}]
    return row(second, "response_item", type="message", role="user", content=content)


def reply(second, text="Ok"):
    content = [{"type": "output_text", "text": text}]
    return row(second, "response_item", type="message", role="assistant", content=content)


def result(second, output="done"):
    return row(second, "response_item", type="function_call_output", call_id="c", output=output)


def usage_of(length, read, output):
    return {"input_tokens": length, "cached_input_tokens": read, "output_tokens": output}


class Counter:
    """Counts of one session, which grow from call to call."""

    def __init__(self):
        self.total = usage_of(0, 0, 0)

    def count(self, second, length, read, output, **without):
        last = usage_of(length, read, output)
        self.total = {name: self.total[name] + last[name] for name in last}
        return self.again(second, last_token_usage=last, **without)

    def again(self, second, **info):
        return row(
            second, "event_msg", type="token_count", info={"total_token_usage": self.total, **info}
        )


def text_of(*rows):
    return "\n".join(json.dumps(one) for one in rows)


def hits_of(trace):
    return content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()


def talk():
    counter = Counter()
    return [
        meta(), row(0, "turn_context", model="gpt-5", cwd="/code"), user(1, "Fix it"), reply(3),
        counter.count(4, 1000, 0, 50), counter.again(5), result(9), reply(11),
        counter.count(12, 1100, 1000, 30),
    ]  # fmt: skip


def test_each_count_is_a_call_and_a_repeated_one_is_none():
    trace = trace_of(text_of(*talk()))
    assert trace.frame["input_tokens"].to_list() == [1000, 1100]
    assert trace.frame["output_tokens"].to_list() == [50, 30]
    assert trace.frame["recorded_hit_tokens"].to_list() == [0, 1000]
    assert trace.frame["arrival_ns"].to_list() == [0, 8_000_000_000]
    assert trace.frame["recorded_e2e_ns"].to_list() == [3_000_000_000, 3_000_000_000]
    assert trace.frame["model"].to_list() == ["gpt-5", "gpt-5"]
    assert "1 token counts repeat the one before and are no calls" in trace.meta.notes
    assert hits_of(trace) == [0, 1049]


def test_without_last_counts_the_totals_are_taken_apart():
    rows = talk()
    for one in rows:
        if one["payload"].get("type") == "token_count":
            one["payload"]["info"].pop("last_token_usage", None)
    assert trace_of(text_of(*rows)).frame["input_tokens"].to_list() == [1000, 1100]


def test_results_that_came_before_the_count_belong_to_the_next_call():
    counter = Counter()
    rows = [meta(), user(1, "Fix it"), reply(3), result(5), counter.count(6, 1000, 0, 50),
            counter.count(9, 1100, 1000, 30)]  # fmt: skip
    found = trace_of(text_of(*rows)).frame
    assert found["arrival_ns"].to_list() == [0, 4_000_000_000]
    assert found["recorded_e2e_ns"].to_list() == [5_000_000_000, 4_000_000_000]


def test_after_compaction_the_start_is_shared_and_what_was_read():
    told = len(APPROXIMATE.split(["Fix it"])[0])
    for read, shared in ((0, 1000 - told), (1040, 1040)):
        counter = Counter()
        rows = [
            *talk()[:4], counter.count(4, 1000, 0, 50),
            row(5, "compacted", message="summary"), counter.count(9, 2000, read, 5),
        ]  # fmt: skip
        assert hits_of(trace_of(text_of(*rows))) == [0, min(shared, 1000)]


def test_a_fork_counts_the_calls_that_it_copied_once(tmp_path):
    counter = Counter()
    whole = [user(1, "Fix it"), reply(3), counter.count(4, 1000, 0, 50)]
    (tmp_path / "rollout-a.jsonl").write_text(text_of(meta("a"), *whole))
    later = [{**one, "timestamp": "2026-01-02T00:00:00.000Z"} for one in whole]
    more = [user(90, "On"), counter.count(99, 1200, 1000, 9)]
    forked = [meta("b", 60, forked_from_id="a"), meta("a", 60), *later, *more]
    (tmp_path / "rollout-b.jsonl").write_text(text_of(*forked))
    trace = load_trace(tmp_path)
    assert trace.frame["input_tokens"].to_list() == [1000, 1200]
    assert hits_of(trace) == [0, 1049]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([meta(), {"type": "event_msg"}], r"a.jsonl:2: payload must be an object \(got None\)"),
        ([{**meta(), "timestamp": 5}], r"a.jsonl:1: timestamp must be a date .*got 5"),
        ([meta(None)], r"a.jsonl:1: id must be text \(got None\)"),
        ([Counter().count(4, 9, 0, 5)], "a.jsonl:1: no session_meta stands before it"),
        ([meta(), Counter().count(4, 9, 10, 5)], "a.jsonl:2: cached tokens are more than the"),
        (
            [meta(), row(1, "event_msg", type="token_count", info={"last_token_usage": 3})],
            "a.jsonl:2: last_token_usage must be an object",
        ),
        ([meta(), row(1, "event_msg", type="token_count", info=[])], "info must be an object"),
    ],
)
def test_faults_are_told_with_their_line(rows, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(text_of(*rows))


def test_the_format_is_known_by_its_rows():
    assert looks_like_codex(text_of(*talk()).encode())
    assert not looks_like_codex(b'{"type": "event_msg", "payload": "x"}')


@needs(CASE)
def test_the_public_shape_is_read():
    trace = load_trace(CASE)
    assert trace.frame.select("input_tokens", "output_tokens", "recorded_hit_tokens").rows() == [
        (9000, 100, 5000)
    ]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.integers(1, 20), st.floats(0, 1), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_content_equals_the_slow_twin(drawn):
    counter, rows, calls = Counter(), [meta()], []
    for number, (length, output, part, compacts) in enumerate(drawn):
        read, text, second = int(part * length), f"say {number % 2}", 3 * number
        compacted = compacts and number > 0
        said = row(second, "compacted", message=text) if compacted else user(second, text)
        rows += [said, reply(second + 1), counter.count(second + 2, length, read, output)]
        calls.append(
            {"length": length, "output": output, "read": read, "added": text, "start": "",
             "spoken": len(APPROXIMATE.split([text])[0]), "after": number - 1 if number else None,
             "goes_on": not compacted}
        )  # fmt: skip
    assert hits_of(trace_of(text_of(*rows))) == ideal_hits(calls)


LINE = rows_of(
    timestamp=st.just("2026-01-01T00:00:00Z"),
    type=st.sampled_from(["session_meta", "response_item", "event_msg", "turn_context", "x"]),
    payload=st.sampled_from([one["payload"] for one in talk()]),
)


@settings(deadline=None, max_examples=200)
@given(st.one_of(mutated(text_of(*talk())), json_lines(LINE).map(str.encode), any_json.map(repr)))
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
