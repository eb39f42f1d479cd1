"""What logs of APIs leave open: lengths, sessions, JSON in text, streams, calls told twice."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.chat import Chat
from replay.trace.frame import SESSIONS_INFERRED, SESSIONS_SOURCE
from replay.trace.readers import load_trace
from replay.trace.readers.api_streams import assembled
from replay.trace.readers.continued import inferred_sessions
from replay.trace.readers.logged_requests import LoggedRequest
from replay.trace.readers.openai import looks_like_openai
from replay.trace.sessions import infer_sessions
from tests.api_logs import (
    NOW,
    column,
    ids,
    logged,
    notes,
    prompts,
    source_of,
    told_or_read,
    trace_of,
    user,
)
from tests.reader_fuzz import any_json

HI = [user("Hi there")]
WORDS = " ".join(["word"] * 100)  # a token each


def counted(reply, tokens, **details):
    usage = {"prompt_tokens": 9, "completion_tokens": tokens}
    return logged(HI, reply, usage=usage | details)


# Lengths


@pytest.mark.parametrize(
    ("tokens", "length", "known"),
    [
        (40, 100, 100),  # fewer than the text has
        (150, 100, 100),  # by half: the splitter may be that far off
        (151, 151, 151),  # the text, then what is not there
        (200, 200, 200),
        (201, 201, None),  # more than twice: reasoning comes first
    ],
)
def test_a_count_that_is_larger_by_more_than_a_little_is_the_length(tokens, length, known):
    trace = trace_of([counted(WORDS, tokens)])
    assert column(trace, "output_tokens") == [length]
    assert column(trace, "recorded_output_tokens") == [tokens]
    if known is None:
        assert "response_tokens" not in trace.frame.columns
    else:
        (told,) = column(trace, "response_tokens")
        assert len(told) == known
        assert told[:100] == ids(WORDS)
        assert not set(told[100:]) & set(ids(WORDS))
    assert ("as long as the source counted" in notes(trace)) == (length > 100)


def test_with_the_models_own_tokenizer_little_is_less(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"word": 0, "?": 1}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    trace = trace_of([counted(WORDS, 108), counted(WORDS, 109)], tokenizer=path)
    assert column(trace, "output_tokens") == [100, 109]
    assert (
        "1 of 2 responses are as long as the source counted, for their text is shorter: 9 tokens "
        "more, of unknown content"
    ) in notes(trace)


def test_unknown_content_is_no_other_responses():
    first, second = column(trace_of([counted(WORDS, 160)] * 2), "response_tokens")
    assert first[:100] == second[:100]
    assert not set(first[100:]) & set(second[100:])


def test_counts_of_responses_are_compared():
    trace = trace_of([counted(WORDS, 80)])
    assert (
        "responses have 1.250 times the tokens that the provider counted (100 for 80, in 1 of 1 "
        "requests)"
    ) in notes(trace)


REASONING = {
    "reasoning_content": {"reasoning_content": "Think."},
    "reasoning": {"reasoning": "Think."},
    "thinking": {"thinking": "Think."},
    "details": {"reasoning_details": [{"type": "reasoning.text", "text": "Think."}]},
    "a block": {"content": [{"type": "thinking", "thinking": "Think.", "signature": "x"},
                            {"type": "text", "text": "Yes"}]},
    "a thought": {"content": [{"text": "Think.", "thought": True}, {"text": "Yes"}]},
    "an item": {"content": [{"type": "reasoning", "content": [
        {"type": "reasoning_text", "text": "Think."}]}, {"type": "text", "text": "Yes"}]},
}  # fmt: skip
SEALED = {
    "details": {"reasoning": "Short.", "reasoning_details": [
        {"type": "reasoning.summary", "summary": "Short."},
        {"type": "reasoning.encrypted", "data": "xx"}]},
    "redacted": {"content": [{"type": "redacted_thinking", "data": "xx"},
                             {"type": "text", "text": "Yes"}]},
    "a summary": {"content": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Short."}]},
        {"type": "text", "text": "Yes"}]},
    "encrypted": {"content": [{"type": "reasoning", "summary": [], "encrypted_content": "xx"},
                              {"type": "text", "text": "Yes"}]},
}  # fmt: skip


@pytest.mark.parametrize("key", REASONING)
def test_reasoning_under_every_key_is_generated_before_the_answer(key):
    reply = {"role": "assistant", "content": "Yes", **REASONING[key]}
    trace = trace_of([counted(reply, 4, completion_tokens_details={"reasoning_tokens": 3})])
    assert column(trace, "response_tokens") == [ids("Think.Yes")]


@pytest.mark.parametrize("key", SEALED)
def test_of_reasoning_that_is_sealed_or_summed_up_the_count_is_known_alone(key):
    reply = {"role": "assistant", "content": "Yes", **SEALED[key]}
    trace = trace_of([counted(reply, 20), logged([*HI, reply, user("And?")], at=1)])
    assert column(trace, "output_tokens")[0] == 20
    assert column(trace, "response_tokens")[0] is None
    shown = "<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>"
    assert prompts(trace)[1][: len(ids("<|im_start|>user\nHi there" + shown))] == ids(
        "<|im_start|>user\nHi there" + shown
    )


# Words put into the assistant's mouth


def anthropic(messages, text, at=0):
    response = {"content": [{"type": "text", "text": text}], "usage": {"input_tokens": 9}}
    return {"timestamp": NOW + at, "request": {"messages": messages}, "response": response}


def begun(content, **more):
    return {"role": "assistant", "content": content, **more}


@pytest.mark.parametrize(
    ("row", "goes_on"),
    [
        (anthropic([*HI, begun('{"a": ')], "1}"), True),
        (logged([*HI, begun('{"a": ')], "1}"), False),
        (logged([*HI, begun('{"a": ')], "1}", continue_final_message=True), True),
        (logged([*HI, begun('{"a": ', prefix=True)], "1}"), True),
        (logged([*HI, begun('{"a": ', partial=True)], "1}"), True),
        (anthropic([*HI, begun(" ")], "1}"), False),
    ],
)
def test_an_answer_goes_on_from_words_put_into_its_mouth(row, goes_on):
    later = anthropic([*HI, begun('{"a": 1}'), user("And?")], "x", at=1)
    trace = trace_of([row, later])
    first, second = prompts(trace)
    whole = first + column(trace, "response_tokens")[0]
    assert (second[: len(whole)] == whole) == goes_on
    assert trace.frame["turn"].to_list() == ([0, 1] if goes_on else [0, 0])


def test_words_put_into_its_mouth_in_pieces_are_one_message():
    trace = trace_of([anthropic([*HI, begun("a"), begun("b")], "c")])
    assert prompts(trace) == [
        ids("<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\nab")
    ]


# Sessions


def talk(name, turns, start=0.0, step=20.0, **request):
    """The requests of a conversation whose turns are `step` seconds apart."""
    messages, rows = [], []
    for turn in range(turns):
        messages = [*messages, user(f"{name} asks {turn}")]
        rows.append(logged(messages, f"{name} hears {turn}", at=start + turn * step, **request))
        messages = [*messages, {"role": "assistant", "content": f"{name} hears {turn}"}]
    return rows


def in_time(*talks):
    return sorted((row for rows in talks for row in rows), key=lambda row: row["timestamp"])


def test_a_user_with_one_conversation_is_a_session():
    trace = trace_of(in_time(talk("a", 4, user="x"), talk("b", 4, start=1, user="y")))
    assert trace.meta.sessions == SESSIONS_SOURCE
    assert column(trace, "turn") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert "sessions are named by user" in notes(trace)


@pytest.mark.parametrize("start", [10, 100])  # at once, and one after the other
def test_a_user_with_two_conversations_is_none(start):
    rows = in_time(talk("a", 4, user="x"), talk("b", 4, start=start, user="x"))
    trace = trace_of(rows)
    assert trace.meta.sessions == SESSIONS_INFERRED
    names = [row["request"]["messages"][0]["content"][0] for row in rows]
    assert [("a", "b")[session] for session in column(trace, "session_id")] == names
    assert "user names no sessions" in notes(trace)
    assert column(trace, "user") == ["x"] * 8


def test_a_key_of_sessions_stands_before_a_user_whose_requests_follow():
    rows = [row | {"session_id": f"s{at}"} for at, row in enumerate(talk("a", 2, user="x"))]
    assert column(trace_of(rows), "source_session_id") == ["s0", "s1"]


def test_a_file_with_names_of_sessions_and_one_without_keep_theirs(tmp_path):
    named = [row | {"session_id": "s"} for row in talk("a", 2)]
    for name, rows in (("a.jsonl", named), ("b.jsonl", in_time(talk("b", 2), talk("c", 2, 1)))):
        (tmp_path / name).write_bytes(source_of(rows).data)
    trace = load_trace(tmp_path)
    sessions = trace.frame.group_by("session_id").agg("source_file").sort("session_id")
    assert sessions["source_file"].list.len().to_list() == [2, 2, 2]


def test_a_key_of_sessions_names_sessions_whatever_their_requests_say():
    rows = [row | {"session_id": "s"} for row in in_time(talk("a", 2), talk("b", 2, start=1))]
    trace = trace_of(rows)
    assert trace.meta.sessions == SESSIONS_SOURCE
    assert column(trace, "session_id") == [0] * 4


def test_a_reply_sent_back_without_its_white_space_is_still_that_reply():
    rows = talk("a", 2)
    rows[0]["response"]["choices"][0]["message"]["content"] += "\n "
    assert column(trace_of(rows), "session_id") == [0, 0]


def test_conversations_of_two_users_that_start_alike_stay_apart():
    rows = in_time(talk("a", 3, user="x"), talk("a", 3, start=1, user="y"))
    rows += talk("b", 2, start=200, user="x")
    assert column(trace_of(rows), "session_id") == [0, 1, 0, 1, 0, 1, 2, 2]


def test_inferred_sessions_are_left_as_they_are_by_inference_from_content():
    trace = trace_of(talk("a", 3))
    assert infer_sessions(trace) is trace


SAID = st.sampled_from(["a", "b"])
TALKS = st.lists(st.tuples(st.lists(SAID, min_size=1, max_size=5), SAID), max_size=8)


def naive_sessions(talks):
    """The session of each (messages, reply): that of the longest start that was answered so."""
    answered, sessions = {}, []
    for messages, reply in talks:
        starts = [tuple(messages[:at]) for at in range(len(messages) - 1, 0, -1)]
        session = next((answered[start] for start in starts if start in answered), None)
        if session is None:
            session = len(set(sessions))
        answered[*messages, reply] = session
        sessions.append(session)
    return sessions


@settings(max_examples=150, deadline=None)
@given(TALKS)
def test_inferred_sessions_equal_their_naive_twin(talks):
    def message(place, text):
        return {"role": ("user", "assistant")[place % 2], "content": text}

    requests = [
        LoggedRequest(
            0, 0, chat=Chat([message(at, text) for at, text in enumerate(said)],
                            [message(len(said), reply)]),
        )
        for said, reply in talks
    ]  # fmt: skip
    found, joined = inferred_sessions(requests, [None] * len(requests))
    wanted = naive_sessions(talks)
    assert [int(session) for session in found] == wanted
    assert joined == len(wanted) - len(set(wanted))


# JSON in text


def as_text(value, times=1):
    for _ in range(times):
        value = json.dumps(value)
    return value


ONE = logged(HI, "Hello", usage={"prompt_tokens": 9, "completion_tokens": 1})
REQUEST, RESPONSE = ONE["request"], ONE["response"]
FLAT = {"timestamp": NOW, "model": "m"}
IN_TEXT = {
    "request and response": ONE | {"request": as_text(REQUEST), "response": as_text(RESPONSE)},
    "three times": ONE | {"request": as_text(REQUEST, 3), "response": as_text(RESPONSE, 3)},
    "twice": ONE | {"request": as_text(REQUEST, 2), "response": as_text(RESPONSE, 2)},
    "bodies": {"timestamp": NOW, "request_body": as_text(REQUEST),
               "response_body": as_text(RESPONSE)},
    "messages": FLAT | {"messages": as_text(HI), "response": as_text(RESPONSE)},
    "messages, twice": FLAT | {"messages": as_text(HI, 2), "response": as_text(RESPONSE)},
    "choices": FLAT | {"messages": HI, "choices": as_text(RESPONSE["choices"]),
                       "usage": as_text(RESPONSE["usage"])},
    "a prompt of messages": FLAT | {"prompt": as_text(HI), "completion": as_text(RESPONSE)},
    "a prompt that is a list": FLAT | {"prompt": HI, "completion": as_text(RESPONSE)},
    "input and output": FLAT | {"input": as_text(HI), "output": as_text(
        [{"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "Hello"}]}]), "usage": RESPONSE["usage"]},
    "a message": FLAT | {"messages": as_text(HI), "usage": RESPONSE["usage"],
                         "response": as_text([{"role": "assistant", "content": "Hello"}])},
    "a batch": {"custom_id": "a", "timestamp": NOW, "body": as_text(REQUEST),
                "response": {"status_code": 200, "body": as_text(RESPONSE)}},
}  # fmt: skip


@pytest.mark.parametrize("shape", IN_TEXT)
def test_json_in_text_is_what_it_holds(shape, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(IN_TEXT[shape]))
    assert looks_like_openai(path.read_bytes())
    trace, wanted = load_trace(path), trace_of([ONE])
    assert trace.meta.format == "openai"
    assert prompts(trace) == prompts(wanted)
    assert column(trace, "response_tokens") == column(wanted, "response_tokens")
    assert column(trace, "recorded_input_tokens") == [9]


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (ONE | {"request": as_text(REQUEST)[:-9]}, "request"),
        (ONE | {"response": as_text(RESPONSE)[:-9]}, "response"),
        (ONE | {"request": REQUEST | {"messages": as_text(HI)[:-2]}}, "messages"),
        (ONE | {"request": {"input": as_text(HI)[:-2]}}, "input"),
        (ONE | {"request": REQUEST | {"tools": "[{"}}, "tools"),
        (FLAT | {"messages": HI, "choices": "[{", "response": None}, "choices"),
        (FLAT | {"messages": HI, "choices": as_text(RESPONSE["choices"]), "usage": "{"}, "usage"),
    ],
)
def test_json_in_text_that_is_cut_off_is_refused_with_its_line(row, key):
    with pytest.raises(TraceError, match=rf"log\.jsonl:2: {key} is JSON as text that does not pa"):
        trace_of([ONE, row])


def test_what_holds_the_call_is_no_column_beside_it():
    names = trace_of([IN_TEXT["bodies"] | {"metadata": "{", "host": "h"}]).frame.columns
    assert not {"request_body", "response_body"} & set(names)
    assert "host" in names


@pytest.mark.parametrize(
    "said",
    ['{"bird": "robin"}', '{"id": 5, "name": "x"}', "[1, 2]", '[{"a": 1}]', "{not json", '"quoted"',
     "data: 5", "event: x", "[INST] x", "{}", "[]", '{"type": "object"}',
     '[{"type": "text_input", "label": "x"}]',
     '{"id": "a", "content": "x", "model": "m"}', '{"error": "none"}'],
)  # fmt: skip
def test_json_that_was_said_stays_what_was_said(said):
    trace = trace_of([FLAT | {"messages": HI, "response": said}, logged([user(said)], said, at=1)])
    assert column(trace, "response_tokens") == [ids(said), ids(said)]
    (prompt,) = prompts(trace_of([FLAT | {"prompt": said, "response": "x"}]))
    assert prompt == ids(said)


# Streams


def delta(**told):
    return {"id": "x", "model": "m", "choices": [{"index": 0, "delta": told}]}


CHUNKS = [
    delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo"),
    {"choices": [], "usage": RESPONSE["usage"]},
]  # fmt: skip
BLOCKS = [
    {"type": "message_start", "message": {"id": "m", "usage": {
        "input_tokens": 9, "output_tokens": 0}, "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]  # fmt: skip
EVENTS = [
    {"type": "response.created", "response": {"id": "r", "output": []}},
    {"type": "response.output_text.delta", "delta": "Hel"},
    {"type": "response.output_text.delta", "delta": "lo"},
    {"type": "response.completed", "response": {
        "id": "r", "output": [], "usage": {"input_tokens": 9, "output_tokens": 1}}},
]  # fmt: skip


def sent(events):
    return (
        "".join(f"event: e\ndata: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n"
    )


@pytest.mark.parametrize("events", [CHUNKS, BLOCKS, EVENTS])
@pytest.mark.parametrize("form", [list, sent, json.dumps])
def test_a_stream_is_the_response_that_its_parts_make_up(events, form):
    trace = trace_of([ONE | {"response": form(events)}])
    assert column(trace, "response_tokens") == [ids("Hello")]
    assert column(trace, "recorded_input_tokens") == [9]
    assert column(trace, "recorded_output_tokens") == [1]


def test_of_several_choices_of_a_stream_the_first_is_kept():
    other = {"choices": [{"index": 1, "delta": {"content": "Bye"}}]}
    trace = trace_of([ONE | {"response": [*CHUNKS[:2], other, *CHUNKS[2:]]}])
    assert column(trace, "response_tokens") == [ids("Hello")]


def test_calls_and_reasoning_are_put_together_from_their_parts():
    call = {"index": 0, "id": "1", "function": {"name": "look", "arguments": '{"a'}}
    parts = [
        delta(reasoning_content="Hm"), delta(reasoning_content="m."), delta(tool_calls=[call]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '": 1}'}}]),
    ]  # fmt: skip
    message = assembled(parts)["choices"][0]["message"]
    assert message["reasoning_content"] == "Hmm."
    assert message["tool_calls"] == [
        {"id": "1", "function": {"name": "look", "arguments": '{"a": 1}'}}
    ]
    blocks = [
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "tool_use", "id": "1", "name": "look", "input": {}}},
        *({"type": "content_block_delta", "index": 0, "delta": {
            "type": "input_json_delta", "partial_json": part}} for part in ('{"a"', ": 1}")),
    ]  # fmt: skip
    assert assembled(blocks)["content"] == [
        {"type": "tool_use", "id": "1", "name": "look", "input": '{"a": 1}'}
    ]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ([{"a": 1}], "response is a list of no known stream's parts"),
        ([1], "response must be an object or text"),
        ("data: {\n\n", "a part of the stream is not valid JSON (got '{')"),
        ('data: {"a": 1}\n\ndata: 5\n\n', "a part of the stream must be an object (got 5)"),
    ],
)
def test_what_is_no_stream_is_refused_with_its_line(response, message):
    with pytest.raises(TraceError) as caught:
        trace_of([ONE, ONE | {"response": response}])
    assert f"log.jsonl:2: {message}" in str(caught.value)


def test_a_stream_that_failed_is_put_aside():
    trace = trace_of([ONE, ONE | {"response": [CHUNKS[0], {"error": {"message": "overloaded"}}]}])
    assert (trace.requests, trace.rejected[0].line) == (1, 2)


# Calls told twice


def test_rows_that_repeat_an_id_and_all_are_taken_once():
    named = [row | {"request_id": f"r{at}"} for at, row in enumerate(talk("a", 3))]
    trace = trace_of([*named[:2], *named[1:]])
    assert trace.requests == 3
    (aside,) = trace.rejected
    assert (aside.line, aside.reason) == (3, "repeats line 2, id and all")
    assert "1 rows repeat the call of an earlier one, id and all, and were taken once" in notes(
        trace
    )


def test_two_loggers_of_one_response_tell_of_one_call():
    rows = [row | {"logger": logger} for row in talk("a", 2) for logger in "xy"]
    for at, row in enumerate(rows):
        row["response"] = row["response"] | {"id": f"chatcmpl-{at // 2}"}
    assert column(trace_of(rows), "logger") == ["x", "x"]
    for row in rows:
        row["response"] = row["response"] | {"id": "chatcmpl-0"}  # a server that is played
    assert column(trace_of(rows), "logger") == ["x", "y", "x", "y"]


@pytest.mark.parametrize(("name", "requests"), [("chatcmpl-{at}", 4), ("chatcmpl-0", 6)])
def test_logs_of_two_files_that_overlap_tell_of_a_call_once(name, requests, tmp_path):
    rows = talk("a", 4)
    for at, row in enumerate(rows):
        row["response"] = row["response"] | {"id": name.format(at=at)}
    for file, some in (("1.jsonl", rows[:3]), ("2.jsonl", rows[1:])):
        (tmp_path / file).write_bytes(source_of(some).data)
    trace = load_trace(tmp_path)
    assert trace.requests == requests
    assert ("2 calls stand in an earlier file" in notes(trace)) == (requests == 4)


def test_what_only_looks_repeated_is_kept_and_told():
    trace = trace_of([ONE, ONE, ONE | {"id": "a"}, ONE | {"id": "a", "timestamp": NOW + 1}])
    assert trace.requests == 4
    assert "1 rows equal an earlier one and have no id: all are kept" in notes(trace)
    assert "1 requests have the id of an earlier one and differ: all are kept" in notes(trace)


# Rows that failed, and responses that are empty


@pytest.mark.parametrize(
    "failed",
    [
        ONE | {"response": {"error": {"message": "overloaded"}}},
        ONE | {"response": None, "status": 429},
        FLAT | {"messages": HI, "error": "overloaded"},
        FLAT | {"prompt": "Hi", "status_code": 500},
    ],
)
def test_a_log_whose_first_row_failed_is_known(failed, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(source_of([failed, ONE]).data)
    trace = load_trace(path)
    assert (trace.meta.format, trace.requests, len(trace.rejected)) == ("openai", 1, 1)


@pytest.mark.parametrize("empty", [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize("exact", [False, True])
def test_empty_responses_anywhere_are_as_long_as_was_counted(empty, exact, tmp_path):
    options = {}
    if exact:
        tokenizers = pytest.importorskip("tokenizers")
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
        made.save(str(tmp_path / "tokenizer.json"))
        options = {"tokenizer": tmp_path / "tokenizer.json"}
    rows = [counted("" if at in empty else "Hello", 7) for at in range(3)]
    trace = trace_of(rows, **options)
    lengths = [7 if at in empty else 1 for at in range(3)]
    assert column(trace, "output_tokens") == lengths
    if len(empty) < 3:
        known = [None if at in empty else 1 for at in range(3)]
        found = column(trace, "response_tokens")
        assert [one and len(one) for one in found] == known


# What a request hands to its template


@pytest.mark.parametrize(
    "request_",
    [
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"chat_template_kwargs": '{"enable_thinking": false}'},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
        {"enable_thinking": False},
    ],
)
def test_settings_of_a_request_reach_its_template(request_, tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text("{% if enable_thinking is defined and not enable_thinking %}off{% endif %}.")
    trace = trace_of([logged(HI, **request_), logged(HI)], chat_template=path)
    assert prompts(trace) == [ids("off."), ids(".")]


@pytest.mark.parametrize("effort", [{"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}])
def test_the_effort_of_reasoning_reaches_the_template(effort, tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text("{{ reasoning_effort }}")
    assert prompts(trace_of([logged(HI, **effort)], chat_template=path)) == [ids("low")]


def test_settings_that_are_none_are_refused():
    with pytest.raises(TraceError, match=r"log\.jsonl:1: chat_template_kwargs must be an object"):
        trace_of([logged(HI, chat_template_kwargs=5)])


def test_the_day_of_a_prompt_is_that_of_its_request(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text("{{ strftime_now('%d %b %Y') }}")
    trace = trace_of([logged(HI), logged(HI, at=31 * 86_400)], chat_template=path)
    assert prompts(trace) == [ids("01 Jan 2025"), ids("01 Feb 2025")]
    assert "asks for the day" not in notes(trace)
    undated = {key: value for key, value in ONE.items() if key != "timestamp"}
    trace = trace_of([undated | {"timestamp_ms": 5}], chat_template=path)
    assert prompts(trace) == [ids("01 Jan 2025")]
    assert "does not tell; assumed: 2025-01-01" in notes(trace)


def test_keys_of_tools_and_of_arguments_stand_in_the_order_sent(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text(
        "{{ tools | tojson }}<|x|>{{ messages[-1].tool_calls[0].function.arguments | tojson }}"
    )

    def row(names, at):
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
        tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
        arguments = json.dumps(dict.fromkeys(names, 1))
        call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return logged([*HI, message], tools=[tool], at=at)

    for options in ({}, {"chat_template": path}):
        trace = trace_of([row("ba", 0), row("ab", 1), row("ba", 2)], **options)
        first, other, again = prompts(trace)
        assert first == again != other
    assert ids('{"b": 1, "a": 1}') == first[-len(ids('{"b": 1, "a": 1}')) :]


# Anything else


def replaced(draw, value):
    """The value with one of the values in it replaced by any other, or a text in it cut off."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: replaced(draw, value[key])}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], replaced(draw, value[place]), *value[place + 1 :]]
    if isinstance(value, str) and len(value) > 2 and draw(st.booleans()):
        return value[: draw(st.integers(0, len(value)))]
    return draw(any_json)


ROWS = [
    *IN_TEXT.values(),
    *(ONE | {"response": events} for events in (CHUNKS, BLOCKS, EVENTS, sent(BLOCKS))),
    *(counted(begun("Yes") | more, 20) for more in [*REASONING.values(), *SEALED.values()]),
    anthropic([*HI, begun("{")], "1"),
    *talk("a", 2, user="x", tools=[{"name": "t"}], chat_template_kwargs={"a": 1}),
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_row_gives_a_trace_or_an_error_that_names_its_place(data):
    rows = [data.draw(st.sampled_from(ROWS)) for _ in range(2)]
    rows[0] = replaced(data.draw, rows[0])
    text = "\n".join(map(json.dumps, rows)).encode()
    looks_like_openai(text)
    assert told_or_read(text)
