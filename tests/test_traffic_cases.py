"""Cases made after public failure reports, on which one character is one token."""

import pytest

from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from tests.shared_data import SHARED, needs

CASES = SHARED / "cases" / "traffic"
TOKENIZER = CASES / "char_tokenizer.json"
BLOCK = 16

pytestmark = needs(TOKENIZER)


def trace_of(name, **options):
    pytest.importorskip("tokenizers")
    pytest.importorskip("jinja2")
    return load_trace(CASES / name, options=ReadOptions(tokenizer=TOKENIZER, **options))


def hit_tokens(trace, block=BLOCK):
    """What each prompt finds in whole blocks of an unbounded cache that keeps responses."""
    frame = trace.frame
    prompts = frame["tokens"].to_list()
    replies = frame["response_tokens"].to_list() if "response_tokens" in frame.columns else []
    replies = replies or [None] * len(prompts)
    known, found = set(), []
    for prompt, reply in zip(prompts, replies, strict=True):
        stops = range(0, len(prompt), block)  # one token at least is computed
        found.append(max(stop for stop in stops if not stop or tuple(prompt[:stop]) in known))
        whole = prompt + (reply or [])[:-1]
        known.update(tuple(whole[:stop]) for stop in range(block, len(whole) + 1, block))
    return found


def rate(trace, block=BLOCK):
    return round(100 * sum(hit_tokens(trace, block)) / trace.frame["input_tokens"].sum(), 1)


@pytest.mark.parametrize(
    ("name", "template", "wanted"),
    [
        ("tool_key_order", "tool_key_order.jinja", 54.9),
        ("tool_key_order_control", "tool_key_order.jinja", 74.3),
        ("call_argument_order", "tool_key_order.jinja", 4.9),
        ("tool_key_order", None, 55.1),
        ("tool_key_order_control", None, 74.5),
        # 208 tokens are hit in both; 10 more of 405 are the words put into the assistant's mouth.
        ("assistant_prefill", None, 51.4),
        ("assistant_prefill_control", None, 52.7),
    ],
)
def test_a_prompt_hits_what_the_engine_would_find(name, template, wanted):
    chosen = None if template is None else CASES / template
    assert rate(trace_of(f"{name}.jsonl", chat_template=chosen)) == wanted


def test_words_put_into_the_assistants_mouth_hit_as_much_as_words_of_its_own():
    one, other = (trace_of(f"assistant_prefill{end}.jsonl") for end in ("", "_control"))
    assert hit_tokens(one) == hit_tokens(other) == [0, 208]


@pytest.mark.parametrize(("name", "tokens"), [("image_base64", 765), ("pdf_base64", 1500)])
def test_media_have_a_length_of_their_own(name, tokens):
    trace = trace_of(f"{name}.jsonl")
    recorded = trace.frame["recorded_input_tokens"].to_list()
    for length, told in zip(trace.frame["input_tokens"].to_list(), recorded, strict=True):
        assert tokens < length < told + 100


@pytest.mark.parametrize(
    ("name", "column", "values", "options"),
    [
        ("thinking_summary", "output_tokens", [900, 900], {}),
        ("kwargs", "input_tokens", [184, 184], {"chat_template": CASES / "t3.jinja"}),
        ("empty_first_response", "output_tokens", [200, 200], {}),
        ("first_row_failed", "output_tokens", [2], {}),
        ("stream", "output_tokens", [5, 5], {}),
        ("usage_anthropic", "recorded_input_tokens", [1053, 3, 1003], {}),
        ("usage_litellm", "recorded_hit_tokens", [1000, 1000], {}),
    ],
)
def test_lengths_are_what_was_told(name, column, values, options):
    assert trace_of(f"{name}.jsonl", **options).frame[column].to_list() == values


def test_rows_that_failed_are_put_aside_wherever_they_stand():
    assert len(trace_of("first_row_failed.jsonl").rejected) == 2


def test_a_user_of_two_conversations_has_the_sessions_that_a_session_id_names():
    frames = [
        trace_of(f"user_two_conversations{end}.jsonl").frame.select("session_id", "turn").rows()
        for end in ("", "_control")
    ]
    assert frames[0] == frames[1] == [(at % 2, at // 2) for at in range(8)]


def test_a_changed_token_ends_the_hit():
    """An address that differs, white space cut off, a number in the first line."""
    images = trace_of("image2.jsonl").frame["tokens"].to_list()
    shared = [a == b for a, b in zip(images[0], images[1], strict=True)].index(False)
    assert shared == len("<") + len("user\n") + len("what is it") * 10
    assert hit_tokens(trace_of("strip.jsonl"), 1)[1] == 149
    assert hit_tokens(trace_of("billing.jsonl"))[1:] == [16, 16]
    assert sum(hit_tokens(trace_of("respapi.jsonl"), 1)) == 504
