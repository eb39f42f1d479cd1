"""Readers of conversations: ShareGPT, LMSYS and WildChat, vLLM's multi-turn benchmark."""

import contextlib
import datetime
import io
import json
from itertools import takewhile

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.check_content import content_facts
from replay.trace.frame import Trace
from replay.trace.parquet import write_trace
from replay.trace.parquet_check import check_parquet
from replay.trace.readers import load_trace
from replay.trace.readers.messages import looks_like_messages, read_messages
from replay.trace.readers.openai import read_openai
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.sharegpt import looks_like_sharegpt, read_sharegpt
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import ASSUMED_TIMES
from replay.trace.readers.vllm_multiturn import looks_like_vllm_multiturn, read_vllm_multiturn
from replay.trace.tree import build_tree
from tests.api_logs import ids
from tests.shared_data import SHARED, needs

S = 10**9
TALK = ["Hi there", "Hello! How can I help?", "Tell me of caches.", "They keep what was computed.",
        "Why?", "It is faster."]  # fmt: skip


def shared(*texts, id="a", first="human", **more):
    speakers = ("human", "gpt") if first == "human" else ("gpt", "human")
    said = [{"from": speakers[at % 2], "value": text} for at, text in enumerate(texts)]
    return {"id": id, "conversations": said, **more}


def roled(*texts, key="messages", **more):
    said = [{"role": ("user", "assistant")[at % 2], "content": one} for at, one in enumerate(texts)]
    return {key: said, **more}


def corpus(*texts, id="a1", **more):
    return {"conversation_id": id, "model": "m", **roled(*texts, key="conversation"), **more}


def read(reader, rows, **options) -> Trace:
    data = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    return reader(Source("c.json", "c.json", data, "0" * 64), ReadOptions(**options))


READERS = [
    (read_sharegpt, shared),
    (read_vllm_multiturn, roled),
    (read_messages, corpus),
]


@pytest.mark.parametrize(("reader", "of"), READERS)
def test_each_answer_is_a_request_with_all_before_it_as_prompt(reader, of):
    trace = read(reader, [of(*TALK), of(*TALK[2:4])])
    assert trace.requests == 4
    assert trace.frame["arrival_ns"].to_list() == [0, 1 * S, 30 * S, 60 * S]
    sessions = trace.frame["session_id"].to_list()
    assert sessions[0] == sessions[2] == sessions[3] != sessions[1] or reader is read_messages
    lengths = trace.frame.filter(pl.col("session_id") == 0)["input_tokens"].to_list()
    assert lengths == sorted(lengths)
    assert ASSUMED_TIMES in trace.meta.notes
    assert any("approximate splitter" in note for note in trace.meta.notes)
    assert any("ChatML" in note for note in trace.meta.notes)


def common(one, other) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a b", "c", "dd ee ff", "?"]), min_size=2, max_size=6),
                min_size=1, max_size=5))  # fmt: skip
def test_hits_are_those_of_a_longest_common_prefix(talks):
    trace = read(read_sharegpt, [shared(*talk, id=str(at)) for at, talk in enumerate(talks)])
    prompts = trace.frame["tokens"].to_list()
    said = [
        prompt + response[:-1]
        for prompt, response in zip(prompts, trace.frame["response_tokens"].to_list(), strict=True)
    ]
    longest = [
        max((common(prompt, earlier) for earlier in said[:at]), default=0)
        for at, prompt in enumerate(prompts)
    ]
    assert content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist() == longest


def test_a_follow_up_hits_the_prompt_and_response_before_it():
    trace = read(read_sharegpt, [shared(*TALK)])
    hits = content_facts(trace, build_tree(trace)).ideal_hit_tokens
    input_tokens, output = trace.column("input_tokens"), trace.column("output_tokens")
    assert (hits[1:] >= input_tokens[:-1] + output[:-1] - 1).all()


def test_what_gpt_says_first_is_context_and_what_it_says_in_a_row_one_answer():
    rows = [shared("Go on", "Yes", "And then", first="gpt")]
    trace = read(read_sharegpt, rows)
    assert trace.requests == 1
    twice = shared("a", "b")
    twice["conversations"].append({"from": "gpt", "value": " c"})
    assert read(read_sharegpt, [twice]).frame["output_tokens"].to_list() == [2]


def test_an_unanswered_message_is_no_request():
    trace = read(read_sharegpt, [shared("a", "b", "c")])
    assert trace.requests == 1
    assert "1 conversations end without an answer to their last message" in trace.meta.notes


def names_of(trace) -> dict[str, int]:
    """Turns by session."""
    counts = trace.frame.group_by("source_session_id").len().rows()
    return {name.split(" ")[0]: turns for name, turns in counts}


def test_an_entry_goes_on_with_the_one_whose_number_and_messages_lead_to_it():
    parts = [
        shared("c", "d", id="x_2"), shared("a", "b", id="x_0"), shared("i", "j", id="y_4"),
        shared("e", "f", "g", "h", id="x_4"), shared("k", "l", id="z"),
    ]  # fmt: skip
    trace = read(read_sharegpt, parts)
    assert names_of(trace) == {"x": 4, "y_4": 1, "z": 1}
    joined = trace.frame.filter(pl.col("source_session_id") == "x").sort("turn")
    assert joined["input_tokens"].is_sorted()
    assert any("1 conversations were joined" in note for note in trace.meta.notes)


def test_numbers_that_overlap_count_entries_and_join_nothing():
    rows = [shared(f"Who are you? {at}", "I am.", id=f"identity_{at}") for at in range(4)]
    assert names_of(read(read_sharegpt, rows)) == {f"identity_{at}": 1 for at in range(4)}


def test_what_follows_a_gap_starts_anew_and_a_note_says_so():
    rows = [shared("a", "b", id="x_0"), shared("c", "d", id="x_2"),
            shared("g", "h", id="x_6"), shared("i", "j", id="x_8")]  # fmt: skip
    trace = read(read_sharegpt, rows)
    assert names_of(trace) == {"x": 2, "x_6": 2}
    assert "1 entries go on from one that is not there: their prompts lack it" in trace.meta.notes


CASES = SHARED / "cases" / "formats"


@needs(CASES)
@pytest.mark.parametrize(
    ("name", "format_name", "turns"),
    [
        ("sharegpt_identity.json", "sharegpt", [1, 1, 1, 1]),
        ("sharegpt_segments.json", "sharegpt", [4]),
        ("sharegpt_role_content.json", "sharegpt", [1]),
        ("sharegpt.parquet", "sharegpt", [2, 2]),
        ("messages_key.jsonl", "vllm-multiturn", [2, 2]),
        ("vllm_extra_input_tokens.json", "vllm-multiturn", [1]),
    ],
)
def test_cases_of_conversations(name, format_name, turns):
    trace = load_trace(CASES / name)
    assert trace.meta.format == format_name
    counts = trace.frame.group_by("session_id").len()["len"].to_list()
    assert counts == turns


@pytest.mark.parametrize(
    ("row", "format_name"),
    [
        (shared("a", "b"), "sharegpt"),
        ({"conversations": roled("a", "b")["messages"]}, "sharegpt"),
        (roled("a", "b"), "vllm-multiturn"),
        (roled("a", "b", key="conversation"), "messages"),
    ],
)
def test_parquet_is_read_like_json_lines(tmp_path, row, format_name):
    rows = [{**row, "id": f"r{at}", "n": at} for at in range(3)]
    pl.DataFrame(rows).write_parquet(tmp_path / "c.parquet")
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = load_trace(tmp_path / "c.parquet")
    lines = load_trace(tmp_path / "c.jsonl", format_name=format_name)
    assert table.meta.format == format_name
    assert table.frame.drop("source_session_id").equals(lines.frame.drop("source_session_id"))


def test_empty_conversations_are_put_aside():
    rows = [shared(), shared("a", "b"), shared("a", ""), shared("a"), shared("a", first="gpt")]
    trace = read(read_sharegpt, rows)
    assert [(row.line, row.reason) for row in trace.rejected] == [
        (1, "a conversation without messages"), (3, "no response: a failed request"),
        (4, "no answer to anything that was asked"), (5, "no answer to anything that was asked"),
    ]  # fmt: skip


def test_an_answer_without_text_leaves_the_others_of_its_conversation():
    trace = read(read_sharegpt, [shared("a", "b", "c", "", "e", "f")])
    assert trace.frame["turn"].to_list() == [0, 1]
    assert trace.rejected == ()
    assert "1 answers without text are no requests" in trace.meta.notes


@pytest.mark.parametrize(("reader", "of"), READERS)
def test_conversations_of_one_name_or_none_are_told_apart(tmp_path, reader, of):
    named = read(reader, [of("a", "b", "c", "d", id="x"), of("a", "b", id="x")])
    assert named.frame.sort("request_id")["session_id"].to_list() == [0, 1, 0]
    for name, answer in (("one.json", "b"), ("two.json", "c")):
        row = of("a", answer)
        row.pop("id", None)
        if "conversation_id" in row:
            row["conversation_id"] = None
        (tmp_path / name).write_text(json.dumps([row]))
    assert load_trace(tmp_path).frame["session_id"].n_unique() == 2


def test_conversations_of_one_hash_are_known_by_their_first_turn():
    def of(number):
        row = corpus("a", "b", "c", "d", conversation_hash="h", id=None)
        row["conversation"][0]["turn_identifier"] = number
        return row

    trace = read(read_messages, [of(7), of(8)])
    assert trace.frame["source_session_id"].to_list() == ["h 7", "h 8", "h 7", "h 8"]


@pytest.mark.parametrize(("reader", "of"), READERS)
def test_plain_values_of_a_row_become_columns(reader, of):
    frame = read(reader, [of("a", "b", lang="en", score=0.5, tags=["x"])]).frame
    assert frame.select("lang", "score").rows() == [("en", 0.5)]
    assert "tags" not in frame.columns


def timed(*times):
    row = corpus(*"abcd"[: len(times)])
    for message, time in zip(row["conversation"], times, strict=True):
        message["timestamp"] = time
    return row


def test_times_of_questions_go_before_those_of_answers():
    dates = [f"2023-04-09T00:00:{second:02}.250Z" for second in (1, 4, 11, 14)]
    trace = read(read_messages, [timed(*dates)])
    assert trace.frame["arrival_ns"].to_list() == [0, 10 * S]
    assert trace.meta.clock_start_ns == 1_680_998_401_250_000_000
    assert not any("answers were complete" in note for note in trace.meta.notes)


def test_the_day_of_a_prompt_is_that_of_its_question(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text("{{ strftime_now('%Y-%m-%d') }}")
    days = [f"2024-02-{day}T00:00:00Z" for day in ("28", "28", "29", "29")]
    trace = read(read_messages, [timed(*days)], chat_template=path)
    wanted = [ids(f"2024-02-{day}") for day in ("28", "29")]
    assert trace.frame["tokens"].to_list() == wanted
    trace = read(read_messages, [corpus("a", "b")], chat_template=path)
    assert trace.frame["tokens"].to_list() == [ids("2025-01-01")]
    assert any("asks for the day" in note for note in trace.meta.notes)


def test_times_as_numbers_since_1970_are_known_by_their_size():
    trace = read(read_messages, [timed(None, 1_680_998_401_250, None, 1_680_998_431_251)])
    assert trace.frame["arrival_ns"].to_list() == [0, 30_001_000_000]
    assert trace.meta.clock_start_ns == 1_680_998_401_250_000_000


def test_times_that_some_answers_lack_are_not_used_and_the_note_counts_them():
    trace = read(read_messages, [timed(None, "2023-04-09T00:00:01Z", None, None)])
    assert trace.frame["arrival_ns"].to_list() == [0, 30 * S]
    assert any(note.startswith("1 of 2 answers have no time") for note in trace.meta.notes)


@pytest.mark.parametrize(("reader", "of", "bad", "what"), [
    (read_sharegpt, shared, {"id": "x"}, "lacks conversations"),
    (read_sharegpt, shared, {"id": [], "conversations": []}, "id must be text"),
    (read_sharegpt, shared, {"conversations": "x"}, "messages must be a list"),
    (read_sharegpt, shared, {"conversations": [7]}, "message 0: must be an object"),
    (read_sharegpt, shared, {"conversations": [{"from": "dog", "value": "woof"}]},
     r"unknown speaker \(got 'dog'\); known: system"),
    (read_sharegpt, shared, {"conversations": [{"from": "gpt", "value": None}]},
     "value must be text"),
    (read_vllm_multiturn, roled, {"id": 3}, "lacks messages"),
    (read_vllm_multiturn, roled, {"messages": [{"role": 3}]}, "role must be text"),
    (read_messages, corpus, {"conversation_id": "x"}, "lacks conversation"),
    (read_messages, corpus,
     {"conversation": [{"role": "user", "content": "x", "timestamp": "soon"}]},
     r"timestamp must be a date from 1970 to 2262.*\(got 'soon'\)"),
])  # fmt: skip
def test_each_fault_is_told_with_its_entry(reader, of, bad, what):
    with pytest.raises(TraceError, match=f"c.json:2: .*{what}"):
        read(reader, [of("a", "b"), bad])
    kept = read(reader, [of("a", "b"), bad, of("c", "d")], max_rejected=0.5)
    assert [row.line for row in kept.rejected] == [2]
    assert kept.requests == 2


def test_messages_that_a_template_refuses_are_faults(tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{% if messages|length > 1 %}{{ raise_exception('too many') }}{% endif %}x")
    with pytest.raises(TraceError, match=r"c.json:1: .*too many"):
        read(read_sharegpt, [shared(*TALK)], chat_template=template)


def test_a_specification_to_generate_points_at_generate(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"filetype": "generate_conversations", "num_conversations": 3}))
    with pytest.raises(TraceError, match="how to generate conversations") as caught:
        load_trace(path)
    assert "replay generate" in caught.value.hint


def wildchat(answered) -> pl.DataFrame:
    said = [
        {"role": "user", "content": "Hi", "hashed_ip": "ip1", "timestamp": None, "turn": 1},
        {"role": "assistant", "content": "Hello", "hashed_ip": None, "timestamp": answered,
         "turn": 1},
    ]  # fmt: skip
    return pl.DataFrame(
        {"conversation_hash": ["h1"], "model": ["m"], "conversation": [said], "toxic": [False]},
        schema_overrides={"conversation": pl.List(pl.Struct({
            "role": pl.String, "content": pl.String, "hashed_ip": pl.String,
            "timestamp": pl.Datetime("us", "UTC"), "turn": pl.Int64}))},
    )  # fmt: skip


def test_parquet_is_told_from_canonical_parquet_and_has_the_times_of_answers(tmp_path):
    answered = datetime.datetime(2023, 4, 9, 0, 2, 53, 250_000, tzinfo=datetime.UTC)
    path = tmp_path / "w.parquet"
    wildchat(answered).write_parquet(path)
    trace = load_trace(path)
    assert trace.meta.format == "messages"
    assert trace.meta.clock_start_ns == int(answered.timestamp() * 1000) * 10**6
    assert trace.frame["user"].to_list() == ["ip1"]
    assert trace.frame["toxic"].to_list() == [False]
    assert any("when answers were complete" in note for note in trace.meta.notes)
    kept = trace.changed(trace.frame.with_columns(conversation=pl.lit("a column of the source")))
    again = write_trace(kept, tmp_path / "canonical.parquet")
    assert load_trace(again).meta.format == "parquet"


def test_columns_of_parquet_that_json_cannot_hold_are_left_out(tmp_path):
    path = tmp_path / "w.parquet"
    images = pl.Series([[{"bytes": b"\xff", "path": "x"}]])
    wildchat(None).with_columns(images=images, raw=pl.lit(b"\xff")).write_parquet(path)
    frame = load_trace(path).frame
    assert frame["model"].to_list() == ["m"]
    assert not {"images", "raw"} & set(frame.columns)


def test_rejected_rows_of_parquet_are_kept_as_json(tmp_path):
    frame = pl.concat([wildchat(None), wildchat(None)]).with_columns(
        conversation=pl.Series([[], None], dtype=wildchat(None)["conversation"].dtype)
    )
    path = tmp_path / "w.parquet"
    pl.concat([wildchat(None), frame]).write_parquet(path)
    trace = load_trace(path, options=ReadOptions(max_rejected=0.5))
    assert [row.line for row in trace.rejected] == [2, 3]
    assert json.loads(trace.rejected[1].text)["conversation"] is None
    data = io.BytesIO()
    wildchat(None).write_parquet(data)
    with pytest.raises(TraceError, match="damaged Parquet"):
        read(read_messages, data.getvalue()[:-20])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), which=st.sampled_from(READERS))
def test_no_file_ends_in_anything_but_a_trace_or_an_error(data, which):
    reader, of = which
    good = bytearray(json.dumps([of(*TALK), of("x", "y")]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ReplayError):
        assert read(reader, bytes(good)).requests


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_damaged_parquet_ends_in_a_trace_or_an_error(data):
    file = io.BytesIO()
    wildchat(None).write_parquet(file)
    bad = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        bad[data.draw(st.integers(4, len(bad) - 5))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ReplayError):
        check_parquet(bytes(bad), "c.parquet")  # as `load_trace` does: some damage ends a decoder
        assert read(read_messages, bytes(bad)).requests


def test_each_is_recognised_and_takes_no_other():
    files = [json.dumps([of(*TALK)]).encode() for _, of in READERS]
    sniffs = [looks_like_sharegpt, looks_like_vllm_multiturn, looks_like_messages]
    for at, sniff in enumerate(sniffs):
        assert [sniff(one) for one in files] == [at == other for other in range(3)]


def test_a_request_log_of_messages_is_no_conversation(tmp_path):
    answer = {"choices": [{"message": {"role": "assistant", "content": "b"}}]}
    log = {"id": "r", **roled("a"), "model": "m", "response": answer}
    (tmp_path / "log.json").write_text(json.dumps([log]))
    assert load_trace(tmp_path / "log.json").meta.format == "openai"
    assert not looks_like_vllm_multiturn(b'{"messages": [{"role": "user"}], "usage": {}}')


CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
RICH = [
    {"role": "user", "content": [{"type": "text", "text": "Look there"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "found", "tool_call_id": "c"},
    {"role": "assistant", "content": "It is there"},
]


def logged(number):
    """The call that the answer at this place is, as a log of an API has it."""
    request = {"model": "m", "messages": RICH[:number], "tools": TOOLS}
    return {"request": request, "response": {"choices": [{"message": RICH[number]}]}}


def test_calls_of_tools_and_parts_of_messages_are_those_of_a_log_of_calls():
    calls = read(read_openai, "\n".join(json.dumps(logged(at)) for at in (1, 3)).encode())
    for tools in (TOOLS, json.dumps(TOOLS)):
        for reader, of in (
            (read_vllm_multiturn, {"messages": RICH}),
            (read_sharegpt, {"conversations": RICH}),
            (read_messages, {"conversation": RICH, "conversation_id": "a"}),
        ):
            found = read(reader, [{**of, "tools": tools}])
            names = ("tokens", "response_tokens")
            assert found.frame.select(names).rows() == calls.frame.select(names).rows()


def test_parquet_fills_what_messages_lack_with_nulls(tmp_path):
    rows = [{"messages": RICH[:1] + RICH[1:], "tools": json.dumps(TOOLS)}]
    frame = pl.DataFrame(
        [{**row, "messages": [{**one, "content": one["content"] if isinstance(
            one["content"], str) else None if one["content"] is None else "Look there"}
            for one in row["messages"]]} for row in rows]
    )  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    plain = [{**RICH[0], "content": "Look there"}, *RICH[1:]]
    wanted = read(read_vllm_multiturn, [{"messages": plain, "tools": TOOLS}])
    found = load_trace(tmp_path / "a.parquet")
    assert found.frame["tokens"].to_list() == wanted.frame["tokens"].to_list()


def test_a_system_prompt_beside_the_conversation_stands_first():
    within = shared("Hi", "Ho")
    within["conversations"].insert(0, {"from": "system", "value": "Be brief"})
    beside = shared("Hi", "Ho", system="Be brief")
    found = read(read_sharegpt, [beside])
    assert (
        found.frame["tokens"].to_list() == read(read_sharegpt, [within]).frame["tokens"].to_list()
    )
    assert "system" not in found.frame.columns
    assert any("system prompt in a key of its own" in note for note in found.meta.notes)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({"role": "assistant", "content": None}, "c.json:1: message 1: content must be text"),
        ({"role": "assistant", "content": 5}, r"content must be text \(got 5\)"),
        ({"role": "assistant", "content": None, "tool_calls": 3}, "tool_calls must be a list"),
        ({"role": "judge", "content": []}, "message 1: unknown speaker"),
    ],
)
def test_faults_of_rich_messages_are_told(message, fault):
    with pytest.raises(TraceError, match=fault):
        read(read_vllm_multiturn, [{"messages": [RICH[0], message]}])
