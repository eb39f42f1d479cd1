"""The reader of vLLM's logs of requests: prompts, token ids and responses among other lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.vllm_log import looks_like_vllm_log, read_vllm_log
from tests.reader_fuzz import mutated, reading, requests_or_refusal

trace_of = reading(read_vllm_log, "a.log")


def received(
    name="cmpl-1-0", time="07-25 02:41:21", prompt="Hi there", ids=None, most=7, lora=None
):
    adapter = f"LoRARequest(lora_name={lora!r}, lora_int_id=1)" if lora else None
    return (
        f"INFO {time} [logger.py:43] Received request {name}: prompt: {prompt!r}, params: "
        f"SamplingParams(n=1, stop=[], max_tokens={most}, min_tokens=0), prompt_token_ids: {ids}, "
        f"prompt_embeds shape: None, lora_request: {adapter}."
    )


def responded(name="cmpl-1-0", output=" Hello you", ids=None, how=""):
    return (
        f"INFO 07-25 02:41:23 [logger.py:60] Generated response {name}{how}: output: {output!r}, "
        f"output_token_ids: {ids}, finish_reason: stop"
    )


def log(*lines):
    noise = 'INFO:     127.0.0.1:5000 - "POST /v1/completions HTTP/1.1" 200 OK'
    return "\n".join([noise, *lines, noise])


def test_requests_and_their_responses_are_found_by_name():
    trace = trace_of(
        log(
            received(),
            received("cmpl-2-0", "07-25 02:41:24", "It's, params: x", lora="a"),
            responded("cmpl-2-0", " Yes"),
            responded(how=" (streaming complete)"),
            responded(output="!", how=" (streaming delta)"),
        )
    )
    assert trace.frame["arrival_ns"].to_list() == [0, 3_000_000_000]
    assert trace.frame["input_tokens"].to_list() == [2, 7]
    assert trace.frame["output_tokens"].to_list() == [2, 1]
    assert trace.frame["adapter"].to_list() == [None, "a"]
    assert "prompt_logprobs" not in trace.frame.columns
    assert trace.frame["finish_reason"].to_list() == ["stop", "stop"]
    assert trace.frame["source_request_id"].to_list() == ["cmpl-1-0", "cmpl-2-0"]


def test_requests_for_log_probabilities_of_their_prompt_say_so():
    asked = received().replace("stop=[]", "stop=[], prompt_logprobs=1")
    trace = trace_of(log(asked, received("b").replace("stop=[]", "prompt_logprobs=None")))
    assert trace.frame["prompt_logprobs"].to_list() == [1, None]


def test_token_ids_count_where_all_have_them():
    trace = trace_of(log(received(ids=[1, 2, 3]), responded(ids=[5, 6])))
    assert trace.frame["tokens"].to_list() == [[1, 2, 3]]
    assert trace.frame["response_tokens"].to_list() == [[5, 6]]
    mixed = trace_of(log(received(ids=[1, 2, 3]), received("b"), responded(ids=[5, 6, 7])))
    assert mixed.frame["input_tokens"].to_list() == [2, 2]
    assert mixed.frame["output_tokens"].to_list() == [3, 7]


def test_prompts_on_a_line_of_their_own_belong_to_their_request():
    line = "INFO 07-25 02:41:21 [logger.py:43] Received request r: params: S(max_tokens=5)."
    details = (
        "DEBUG 07-25 02:41:21 [logger.py:40] Request r details: prompt: 'Hi', prompt_token_ids: "
        "[4, 5], prompt_embeds shape: None."
    )
    trace = trace_of(log(line, details))
    assert trace.frame["tokens"].to_list() == [[4, 5]]
    with pytest.raises(TraceError, match="neither the text of the prompt") as caught:
        trace_of(log(line))
    assert "VLLM_LOGGING_LEVEL=DEBUG" in caught.value.hint


def test_responses_that_were_not_logged_are_assumed():
    trace = trace_of(log(received(most=9), received("b", most=4)))
    assert trace.frame["output_tokens"].to_list() == [9, 4]
    assert any(note.startswith("responses were not logged (") for note in trace.meta.notes)
    partly = trace_of(log(received(most=9), received("b", most=4), responded("b", " a b c")))
    assert partly.frame["output_tokens"].to_list() == [9, 3]
    assert any(note.startswith("1 responses were not logged") for note in partly.meta.notes)


def test_an_empty_response_is_put_aside():
    trace = trace_of(log(received(), received("b"), responded("b", ""), responded()))
    assert [row.line for row in trace.rejected] == [3]


def test_a_new_year_goes_on():
    trace = trace_of(log(received(time="12-31 23:59:59"), received("b", "01-01 00:00:01")))
    assert trace.frame["arrival_ns"].to_list() == [0, 2_000_000_000]


def test_prompts_that_were_cut_off_are_suspected():
    prompts = [received(str(at), prompt=f"{at} " + "a" * 98) for at in range(3)]
    trace = trace_of(log(received("x", prompt="short"), *prompts))
    assert any(note.startswith("3 prompts of exactly 100 characters") for note in trace.meta.notes)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (received().replace("07-25 02:41:21", "now"), "a.log:2: has no time before it"),
        (received(time="13-45 02:41:21"), "a.log:2: no such date"),
        (received(prompt=None), "a.log:2: neither the text of the prompt nor its token ids"),
    ],
)
def test_faults_are_told_with_their_line(line, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(log(line))
    assert trace_of(log(line, received("b")), max_rejected=0.5).requests == 1


def test_the_format_is_known_by_its_lines(tmp_path):
    assert looks_like_vllm_log(log(received()).encode())
    assert not looks_like_vllm_log(b"INFO 07-25 02:41:21 Received request from 127.0.0.1")
    (tmp_path / "server.log").write_text(log(received(), responded()))
    assert load_trace(tmp_path / "server.log").meta.format == "vllm-log"


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        mutated(log(received(), responded(), received("b", ids=[1, 2]), responded("b", ids=[3]))),
        st.text().map(lambda text: log(f"Received request {text}: prompt: {text!r}")),
    )
)
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
