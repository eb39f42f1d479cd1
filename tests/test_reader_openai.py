"""Logs of OpenAI and Anthropic APIs: every shape they come in, times, sessions, recorded counts."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.frame import SESSIONS_INFERRED, Trace
from replay.trace.readers import load_trace
from replay.trace.readers.lmcache import looks_like_lmcache
from replay.trace.readers.openai import looks_like_openai, read_openai
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.text import APPROXIMATE

NOW = 1_735_689_600  # 2025-01-01 in seconds
HI = [{"role": "user", "content": "Hi there"}]
CHATML = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"


NUMBERS = itertools.count()


def chat(text="Hello", **usage):
    return {
        "id": f"c{next(NUMBERS)}",
        "object": "chat.completion",
        "created": NOW,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
        **({"usage": usage} if usage else {}),
    }


def row(timestamp=NOW, messages=HI, response=None, **more):
    request = {"model": "m", "messages": messages}
    return {"timestamp": timestamp, "request": request, "response": response or chat(), **more}


def text_of(rows):
    return "\n".join(map(json.dumps, rows))


def trace_of(rows, **options) -> Trace:
    text = rows if isinstance(rows, bytes) else text_of(rows).encode()
    return read_openai(Source("log.jsonl", "log.jsonl", text, "0" * 64), ReadOptions(**options))


def ids(text):
    return APPROXIMATE.split([text])[0].tolist()


def prompts(trace):
    return trace.frame["tokens"].to_list()


def refusal(rows):
    with pytest.raises(TraceError) as caught:
        trace_of(rows)
    return str(caught.value)


USAGE = {
    "prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4},
}  # fmt: skip
RESPONSES_USAGE = {
    "input_tokens": 9, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4},
}  # fmt: skip
ANTHROPIC_USAGE = {
    "input_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3,
    "output_tokens": 3,
}  # fmt: skip
OUTPUT = [{"type": "message", "role": "assistant", "content": [
    {"type": "output_text", "text": "Hello"}]}]  # fmt: skip
SHAPES = {
    "request and response": row(response=chat(**USAGE)),
    "flattened": {"ts": NOW, "model": "m", "messages": HI, "response": "Hello", "usage": USAGE},
    "flattened choices": {"model": "m", "messages": HI, **chat(**USAGE)},
    "flattened completion": {
        "time": NOW, "model": "m", "messages": HI, "completion": "Hello", "usage": USAGE,
    },
    "counts in the row": {
        "startTime": NOW, "model": "m", "messages": HI, "response": chat(), "prompt_tokens": 9,
        "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4},
    },
    "responses": {
        "request": {"model": "m", "input": "Hi there"},
        "response": {"created_at": NOW, "output": OUTPUT, "usage": RESPONSES_USAGE},
    },
    "responses items": {
        "created_at": NOW, "model": "m", "usage": RESPONSES_USAGE, "output": OUTPUT,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi there"}]}],
    },
    "batch": {
        "custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "error": None,
        "body": {"model": "m", "messages": HI},
        "response": {"status_code": 200, "request_id": "r", "body": chat(**USAGE)},
    },
    "anthropic": row(
        response={
            "type": "message", "role": "assistant", "usage": ANTHROPIC_USAGE,
            "content": [{"type": "text", "text": "Hello"}],
        },
    ),
    "anthropic batch": {
        "timestamp": NOW, "custom_id": "1", "params": {"model": "m", "messages": HI},
        "result": {"type": "succeeded", "message": {
            "type": "message", "usage": ANTHROPIC_USAGE, "content": "Hello"}},
    },
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_request(shape):
    trace = trace_of([SHAPES[shape]])
    assert prompts(trace) == [ids(CHATML)]
    assert trace.frame["response_tokens"].to_list() == [ids("Hello")]
    assert trace.frame["model"].to_list() == ["m"]
    assert trace.frame["recorded_input_tokens"].to_list() == [9]
    assert trace.frame["recorded_hit_tokens"].to_list() == [4]
    assert trace.frame["recorded_output_tokens"].to_list() == [3]
    assert trace.meta.clock_start_ns == NOW * 10**9


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_recognised(shape):
    head = json.dumps(SHAPES[shape]).encode()
    assert looks_like_openai(head + b'\n{"cut')
    assert looks_like_openai(b"[\n " + head + b', {"cut')
    assert not looks_like_lmcache(head)


@pytest.mark.parametrize(
    "other",
    [
        {"timestamp": 0, "input_length": 5, "output_length": 3, "hash_ids": [0]},
        {"id": "1", "conversations": [{"from": "human", "value": "Hi"}]},
        {"id": "1", "messages": HI},
        {"messages": HI, "timestamp": 0, "session_id": "a"},
        {"timestamp": NOW * 10**6, "input": "Hi", "output": "Hello", "session_id": "a"},
        {"trace_id": "a", "spans": []},
        {"session_id": "a", "requests": []},
    ],
)
def test_other_formats_are_not_recognised(other):
    assert not looks_like_openai(json.dumps(other).encode())


def test_a_completion_is_given_as_it_is_without_a_template():
    reply = {"created": NOW, "choices": [{"text": " world"}]}
    trace = trace_of([{"request": {"model": "m", "prompt": "Hello"}, "response": reply}])
    assert prompts(trace) == [ids("Hello")]
    assert trace.frame["response_tokens"].to_list() == [ids(" world")]
    assert not any("prompts are written by" in note for note in trace.meta.notes)


def test_the_ratio_of_counted_to_recorded_tokens_is_noted():
    tokens = len(ids(CHATML))
    rows = [row(response=chat(prompt_tokens=tokens * 2, completion_tokens=1)), row()]
    assert (
        f"prompts have 0.500 times the tokens that the provider counted "
        f"({tokens:,} for {tokens * 2:,}, in 1 of 2 requests)"
    ) in trace_of(rows).meta.notes


def test_a_template_and_tools_make_the_prompt(tmp_path):
    pytest.importorskip("jinja2")
    template = tmp_path / "t.jinja"
    template.write_text(
        "{% for t in tools %}{{ t.function.name }} {% endfor %}"
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    )
    tools = [{"name": "look", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]
    one = row()
    one["request"] |= {"system": [{"type": "text", "text": "Be kind."}], "tools": tools}
    trace = trace_of([one], chat_template=template)
    assert prompts(trace) == [ids("look [system]Be kind.[user]Hi there")]
    assert "prompts are written by the chat template in t.jinja" in trace.meta.notes


def test_a_template_that_refuses_a_row_is_a_fault_of_that_row(tmp_path):
    pytest.importorskip("jinja2")
    template = tmp_path / "t.jinja"
    template.write_text("{% if messages|length > 1 %}{{ raise_exception('one') }}{% endif %}x")
    rows = [row(), row(messages=HI + HI)]
    with pytest.raises(TraceError, match=r"log.jsonl:2: the chat template in t.jinja fails: one"):
        trace_of(rows, chat_template=template)


CALL = {"id": "t1", "name": "look", "arguments": '{"at": "x"}'}


def conversation(api):
    """The two requests of a conversation with a tool, as an API logs them."""
    if api == "chat":
        said = {"role": "assistant", "content": "Wait.", "tool_calls": [
            {"id": "t1", "type": "function", "function": {
                "name": "look", "arguments": '{"at": "x"}'}}]}  # fmt: skip
        result = {"role": "tool", "tool_call_id": "t1", "content": "found"}
        first = row(response={"choices": [{"message": said}]})
        return first, row(NOW + 1, [*HI, said, result])
    if api == "responses":
        output = [
            {"type": "reasoning", "id": "rs", "summary": []},
            {"type": "message", "id": "m", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "Wait.", "annotations": []}]},
            {"type": "function_call", "id": "f", "call_id": "t1", "name": "look",
             "arguments": '{"at": "x"}', "status": "completed"},
        ]  # fmt: skip
        result = {"type": "function_call_output", "call_id": "t1", "output": "found"}
        first = row(response={"id": "r1", "output": output})
        first["request"] = {"model": "m", "input": "Hi there"}
        second = row(NOW + 1)
        second["request"] = {"model": "m", "input": [HI[0], *output, result]}
        return first, second
    blocks = [
        {"type": "text", "text": "Wait."},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "x"}},
    ]
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [
        {"type": "text", "text": "found"}], "cache_control": {"type": "ephemeral"}}  # fmt: skip
    first = row(response={"content": blocks})
    turns = [*HI, {"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
    return first, row(NOW + 1, turns)


@pytest.mark.parametrize("api", ["chat", "responses", "anthropic"])
def test_a_later_prompt_starts_with_the_earlier_prompt_and_its_response(api):
    trace = trace_of(conversation(api))
    first, second = prompts(trace)
    said = trace.frame["response_tokens"].to_list()[0]
    assert second[: len(first) + len(said)] == first + said
    reference = prompts(trace_of(conversation("chat")))
    assert [first, second] == reference


def test_a_call_is_reused_as_the_models_own_template_writes_it(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
        "{% for c in m.tool_calls or [] %}<|call|>{{ c.function.name }} "
        "{{ c.function.arguments | tojson }}{% endfor %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    for api in ("chat", "responses", "anthropic"):
        trace = trace_of(conversation(api), chat_template=path)
        first, second = prompts(trace)
        said = trace.frame["response_tokens"].to_list()[0]
        assert said == ids('Wait.<|call|>look {"at": "x"}')
        assert second[: len(first) + len(said)] == first + said


def test_a_moving_cache_breakpoint_does_not_change_a_prompt():
    def marked(place):
        parts = [{"type": "text", "text": "a"}, {"type": "image", "source": {"data": "AA=="}}]
        parts[place] = {**parts[place], "cache_control": {"type": "ephemeral"}}
        return row(messages=[{"role": "user", "content": parts}])

    first, second = prompts(trace_of([marked(0), marked(1)]))
    assert first == second


def test_a_response_gone_on_from_is_part_of_the_next_prompt():
    first, second = conversation("responses")
    whole = prompts(trace_of([first, second]))
    second["request"] = {
        "model": "m", "previous_response_id": "r1", "input": second["request"]["input"][-1:],
    }  # fmt: skip
    assert prompts(trace_of([first, second])) == whole
    (note,) = [note for note in trace_of([second]).meta.notes if "go on from" in note]
    assert note.startswith("1 requests go on from a response or conversation")


def test_hidden_reasoning_is_counted_though_its_text_is_missing():
    hidden = chat(completion_tokens=50, completion_tokens_details={"reasoning_tokens": 40})
    trace = trace_of([row(response=hidden)])
    assert trace.frame["output_tokens"].to_list() == [50]
    assert "response_tokens" not in trace.frame.columns


def test_reasoning_that_is_shown_is_part_of_the_response():
    shown = chat(completion_tokens=5, completion_tokens_details={"reasoning_tokens": 4})
    shown["choices"][0]["message"]["reasoning_content"] = "Think."
    trace = trace_of([row(response=shown)])
    assert trace.frame["response_tokens"].to_list() == [ids("Think.Hello")]


@pytest.mark.parametrize(
    "failed",
    [
        row(error={"message": "rate limit"}),
        row(response={"error": {"code": 500}}),
        row(response={"status_code": 429, "body": {"message": "no"}}),
        row(response={"status": "failed", "output": []}),
        {**row(), "response": None},
        row(response={"object": "list", "data": []}),
        row(response={"choices": []}),
    ],
)
def test_a_failed_request_is_put_aside_without_a_fault(failed):
    trace = trace_of([failed, row()])
    assert trace.requests == 1
    assert [aside.line for aside in trace.rejected] == [1]


LENGTHS = [
    {"timestamp": NOW, "user": "u", "usage": USAGE, "model": "m"},
    {"timestamp": NOW - 5, "user": "v", "usage": USAGE | {"completion_tokens": 0}},
    {"timestamp": NOW - 9, "user": "u", "usage": USAGE | {"prompt_tokens": 20}},
]


@pytest.mark.parametrize("request_", [{"model": "m"}, {"model": "m", "messages": None}])
@pytest.mark.parametrize("keys", [("request", "response"), ("request_body", "response_body")])
@pytest.mark.parametrize("usage", [USAGE, ANTHROPIC_USAGE])
def test_a_request_and_a_response_of_counts_alone_are_recognised(request_, keys, usage):
    one = {"timestamp": NOW} | dict(zip(keys, (request_, {"id": "x", "usage": usage}), strict=True))
    assert looks_like_openai(text_of([one]).encode())
    assert trace_of([one]).frame["input_tokens"].to_list() == [9]


@pytest.mark.parametrize("answer", [{"id": "x"}, {"id": "x", "usage": None}, {"usage": 5}])
def test_a_request_and_a_response_without_counts_are_not_recognised(answer):
    one = {"timestamp": NOW, "request": {"model": "m"}, "response": answer}
    assert not looks_like_openai(text_of([one]).encode())


def test_rows_without_text_give_lengths_and_recorded_hits():
    trace = trace_of(LENGTHS)
    assert looks_like_openai(text_of(LENGTHS).encode())
    assert not trace.has_content
    assert trace.meta.content.startswith("unknown: lengths only")
    assert trace.frame["arrival_ns"].to_list() == [0, 9 * 10**9]
    assert trace.frame["input_tokens"].to_list() == [20, 9]
    assert trace.frame["output_tokens"].to_list() == [3, 3]
    assert trace.frame["recorded_hit_tokens"].to_list() == [4, 4]
    assert not trace.has_sessions  # the second prompt of u is shorter than the first
    assert [aside.line for aside in trace.rejected] == [2]


def test_the_output_of_a_batch_alone_has_lengths_only():
    rows = [{"custom_id": str(n), "response": {"status_code": 200, "body": chat(**USAGE)}}
            for n in range(2)]  # fmt: skip
    trace = trace_of(rows)
    assert trace.frame["input_tokens"].to_list() == [9, 9]
    assert trace.frame["custom_id"].to_list() == ["0", "1"]


def test_the_input_of_a_batch_alone_assumes_times_and_responses():
    rows = [
        {"custom_id": "a", "url": "/v1/chat/completions", "body": {"messages": HI, **limit}}
        for limit in ({"max_tokens": 7}, {})
    ]
    trace = trace_of(rows)
    assert trace.frame["output_tokens"].to_list() == [7, 1]
    assert trace.frame["arrival_ns"].to_list() == [0, 10**9]
    assert "assumed: each is as long as the request allows" in "\n".join(trace.meta.notes)
    assert "the source has no times" in "\n".join(trace.meta.notes)


def test_text_in_some_rows_only_is_a_fault():
    mixed = [row(), LENGTHS[0] | {"user": None}]
    assert refusal(mixed) == "log.jsonl:2: has no text of its prompt, which other rows have"


@pytest.mark.parametrize(
    ("key", "values", "gap_ns", "starts"),
    [
        ("timestamp", (NOW, NOW + 1.5), 1_500_000_000, True),
        ("ts", (NOW * 1000, NOW * 1000 + 7), 7_000_000, True),
        ("time", (NOW * 10**6, NOW * 10**6 + 7), 7_000, True),
        ("created", (NOW * 10**9, NOW * 10**9 + 7), 7, True),
        ("timestamp", ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00.000000007Z"), 7, True),
        ("startTime", ("2025-01-01 00:00:00", "2025-01-01T02:00:00.5+02:00"), 500_000_000, True),
        ("timestamp_ms", (0, 12.5), 12_500_000, False),
        ("requestTimeUs", (3, 5), 2_000, False),
        ("start_time_unix_nano", (NOW * 10**9, NOW * 10**9 + 7), 7, True),
        ("created_at", (f"{NOW}", ""), None, False),
    ],
)
def test_times_are_read_by_key_and_size(key, values, gap_ns, starts):
    rows = [row(None, response=chat() | {"created": None}) | {key: value} for value in values]
    if gap_ns is None:
        assert f"{key} must be a date" in refusal(rows)
        return
    trace = trace_of(rows)
    assert trace.frame["arrival_ns"].to_list() == [0, gap_ns]
    assert trace.meta.clock_start_ns == (NOW * 10**9 if starts else None)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((12.5, 13.0), "timestamp does not tell its unit (got 12.5)"),
        (("", 12.5, 13.0), "timestamp does not tell its unit (got 12.5)"),
        ((0, NOW), "timestamp does not tell its unit (got 0)"),
        ((True, True), "timestamp does not tell its unit (got True)"),
        ((NOW, NOW * 1000), "2: timestamp must be a time since 1970 in s, as in other rows"),
        ((NOW, "2025-01-01T00:00:00Z"), "2: timestamp must be a number, as in other rows"),
        (("2025-01-01T00:00:00Z", NOW), "2: timestamp must be a date"),
        (("2025-01-01T00:00:00Z", "yesterday"), "2: timestamp must be a date"),
        (("2025-01-01T00:00:00Z", "1969-01-01T00:00:00Z"), "2: timestamp must be a date"),
        (("2025-01-01T00:00:00Z", "2262-04-12T00:00:00Z"), "from 1970 to 2262-04-11 in"),
        (("2025-01-01T00:00:00Z", "2016-12-31T23:59:60Z"), "without leap seconds"),
        (("2025-01-01T00:00:00Z", "20250101T000001Z"), "in extended ISO 8601"),
        ((NOW, None), "2: lacks timestamp, which other rows have"),
    ],
)
def test_a_time_that_cannot_be_told_is_refused(times, message):
    assert message in refusal([row(time) for time in times])


@pytest.mark.parametrize("good", [NOW, NOW * 1000, "2025-01-01T00:00:00Z"])
@pytest.mark.parametrize("bad", [0, -1, 12.5, True, "", "soon", [], 10**30])
def test_a_first_time_that_is_none_is_a_fault_of_its_row_alone(bad, good):
    rows = [row(bad), *(row(good) for _ in range(9))]
    text = refusal(rows)
    assert text.startswith("log.jsonl:1: timestamp must be ")
    assert "log.jsonl:2" not in text
    trace = trace_of(rows, max_rejected=0.5)
    assert (trace.requests, [one.line for one in trace.rejected]) == (9, [1])
    assert trace.meta.clock_start_ns == NOW * 10**9


def test_numbers_from_the_start_of_a_file_are_not_taken_for_seconds_where_they_grow():
    rows = [row(time) for time in (0, 10**6, 10**8, 10**9, 2 * 10**9, 3 * 10**9)]
    with pytest.raises(TraceError, match=r"timestamp does not tell its unit \(got 0\)"):
        trace_of(rows, max_rejected=0.5)


def test_what_to_do_about_a_unit_is_hinted_at():
    with pytest.raises(TraceError) as caught:
        trace_of([row(12.5)])
    assert "timestamp_s, timestamp_ms, timestamp_us or timestamp_ns" in caught.value.hint


def test_a_key_in_the_row_stands_before_the_time_of_the_response():
    trace = trace_of([row(NOW + 5)])
    assert trace.meta.clock_start_ns == (NOW + 5) * 10**9


@pytest.mark.parametrize(
    ("keys", "names", "key"),
    [
        ([{"session_id": "a"}, {"session_id": "b"}], ["a", "b"], "session_id"),
        ([{"user": "a", "session_id": 7}, {"user": "a"}], ["7", None], "session_id"),
        ([{"user": "a", "session_id": 7}, {"user": "b"}], ["a", "b"], "user"),
        ([{"threadId": "a"}, {"threadId": "b"}], ["a", "b"], "threadId"),
        ([{"metadata": '{"session_id": "a"}'}], ["a"], "metadata.session_id"),
        ([{"session_id": "a", "user": "x"}, {"session_id": "b", "user": "x"}], ["a", "b"],
         "session_id"),
        ([{"metadata": {"session_id": "a"}}, {}], ["a", None], "metadata.session_id"),
        ([{"conversation": {"id": "a"}}, {"conversation": "a"}], ["a", "a"], "conversation"),
        ([{"user": 5}, {"user": 6}], ["5", "6"], "user"),
    ],
)  # fmt: skip
def test_sessions_are_named_by_one_key_for_the_whole_file(keys, names, key):
    trace = trace_of([row(**more) for more in keys])
    assert trace.frame["source_session_id"].to_list() == names
    assert f"sessions are named by {key}" in trace.meta.notes


def test_a_user_in_the_request_names_a_session_too():
    one = row()
    one["request"]["user"] = "u"
    assert trace_of([one]).frame["source_session_id"].to_list() == ["u"]


def test_without_a_name_sessions_are_inferred():
    trace = trace_of([row()])
    assert trace.meta.sessions == SESSIONS_INFERRED
    assert "source_session_id" not in trace.frame.columns


def test_single_values_of_a_row_are_kept():
    frame = trace_of([row(latency_ms=12.5, region="eu", tags=["x"]), row(latency_ms=1)]).frame
    assert frame["latency_ms"].to_list() == [12.5, 1.0]
    assert frame["region"].to_list() == ["eu", None]
    assert "tags" not in frame.columns


def test_a_file_is_found_by_its_content(tmp_path):
    path = tmp_path / "log.json"
    path.write_text(json.dumps([row(), row(NOW + 1)], indent=1))
    trace = load_trace(path)
    assert (trace.requests, trace.meta.format) == (2, "openai")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(messages={"role": "user"}), "messages must be a list of messages"),
        (row(messages=["x"]), "messages[0] must be a message (got 'x')"),
        (row(messages=[{"content": "x"}]), "messages[0] must have a role (got None)"),
        (row(messages=[{"role": "user", "content": 5}]), "content must be text or a list of parts"),
        (row(messages=[{"role": "user", "tool_calls": 5}]), "tool_calls must be a list (got 5)"),
        (row(messages=[{"role": "user", "tool_calls": [5]}]), "must be an object (got 5)"),
        (row(messages=[]), "there are no messages"),
        (row(messages=[{"type": ["x"], "role": None}]), "messages[0] must have a role (got None)"),
        ({**row(), "request": "Hi"}, "request must be an object (got 'Hi')"),
        ({**row(), "request": {"prompt": [1, 2]}}, "prompt must be one text"),
        ({**row(), "request": {"prompt": ["a", "b"]}}, "prompt must be one text"),
        ({**row(), "request": {"messages": HI, "tools": {}}, "tools": 1}, None),
        ({**row(), "request": {"messages": HI, "tools": "x"}}, "tools must be a list (got 'x')"),
        (row(response=[1]), "response must be an object or text (got [1])"),
        (row(response={"choices": "x"}), "choices must be a list of objects (got 'x')"),
        (row(response={"choices": [{"message": 5}]}), "message must be an object (got 5)"),
        (row(response=chat() | {"usage": 5}), "usage must be an object (got 5)"),
        (row(response=chat(prompt_tokens="9")), "prompt_tokens must be an integer (got '9')"),
        (row(response=chat(prompt_tokens=3.7)), "prompt_tokens must be an integer (got 3.7)"),
        (row(response=chat(prompt_tokens=2**31)), "prompt_tokens must be between 0 and 2147483647"),
        (row(response=chat(prompt_tokens=2**24 + 1)), "input tokens must be between 0 and"),
        (row(response=chat(completion_tokens=2**30)), "output tokens must be at most 16777216"),
        (row(response=chat(completion_tokens=-1)), "completion_tokens must be between 0 and"),
        (row(response=chat(prompt_tokens=1, prompt_tokens_details={"cached_tokens": 2})),
         "cached tokens are more than the prompt has (got 2 of 1)"),
        (row(response=chat(prompt_tokens_details=7)), "prompt_tokens_details must be an object"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_its_place(bad, message):
    rows = [row(), bad, row()]
    if message is None:
        assert trace_of(rows).requests == 3
        return
    text = refusal(rows)
    assert text.startswith("log.jsonl:2: ")
    assert message in text


@pytest.mark.parametrize("line", ["{", "[1]", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": "\\ud800'])
def test_a_line_that_is_no_object_is_refused_with_its_place(line):
    with pytest.raises(TraceError, match=r"log\.jsonl:2:"):
        trace_of(f"{json.dumps(row())}\n{line}\n{json.dumps(row())}".encode())


def test_faulty_rows_may_be_put_aside():
    rows = [row(), row(messages=5), row("x"), row()]
    trace = trace_of(rows, max_rejected=0.5)
    assert (trace.requests, [one.line for one in trace.rejected]) == (2, [2, 3])


@pytest.mark.parametrize("count", ["prompt_tokens", "completion_tokens"])
def test_a_length_that_no_trace_has_is_a_fault_of_its_row(count):
    most = {"timestamp": NOW, "usage": USAGE | {count: 2**24}}
    beyond = {"timestamp": NOW, "usage": USAGE | {count: 2**24 + 1}}
    assert "log.jsonl:2: " in refusal([most, beyond, most])
    trace = trace_of([most, beyond, most], max_rejected=0.5)
    assert (trace.requests, [one.line for one in trace.rejected]) == (2, [2])


def test_a_limit_that_no_response_reaches_is_a_fault_only_where_it_would_be_the_length():
    batch = [
        {"custom_id": str(limit), "body": {"model": "m", "messages": HI, "max_tokens": limit}}
        for limit in (5, 2**24 + 1)
    ]
    assert "log.jsonl:2: a response may have 16777216 tokens at most" in refusal(batch)
    answered = row()
    answered["request"]["max_tokens"] = 2**24 + 1
    assert trace_of([answered]).requests == 1


def test_nested_too_deeply_is_a_fault():
    deep = json.dumps(row()).replace('"Hi there"', "[" * 50_000 + '"x"' + "]" * 50_000)
    with pytest.raises(TraceError, match=r"log\.jsonl:1: nested too deeply"):
        trace_of(deep.encode())


SAMPLE = text_of([*SHAPES.values()]).encode()
WITHIN = [
    "role", "content", "type", "text", "id", "choices", "usage", "input", "summary", "function",
    "tool_calls", "arguments", "tool_use", "tool_result", "reasoning", "message", "assistant",
    "function_call", "function_call_output", "output", "prompt_tokens", "body", "status",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WITHIN),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WITHIN),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
KEYS = [
    "messages", "prompt", "input", "choices", "output", "content", "completion", "usage",
    "timestamp", "created", "model", "user", "metadata", "request", "response", "error", "tools",
]  # fmt: skip


def told_or_read(text):
    """Whether there is a trace, or an error that names the file; anything else is raised."""
    try:
        return trace_of(text, max_rejected=0.4).requests > 0
    except ReplayError as error:
        return "log.jsonl" in str(error)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_give_a_trace_or_an_error_of_replay(data):
    sample = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 5))):
        sample[data.draw(st.integers(0, len(sample) - 1))] = data.draw(st.integers(0, 255))
    looks_like_openai(bytes(sample))
    assert told_or_read(bytes(sample))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), max_size=3))
def test_any_rows_give_a_trace_or_an_error_of_replay(rows):
    text = text_of([row(), *rows]).encode()
    assert told_or_read(text)
    assert told_or_read(text_of(rows).encode() or b"[]")
