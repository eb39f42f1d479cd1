"""A call of a chat model as text: the prompt, and the reply as the template writes it next."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError
from replay.trace.chat import Chat, prompt_text, response_text
from replay.trace.chat_template import CHATML, load_template

ASK = [{"role": "user", "content": "Hi"}]
CALL = {"type": "function", "function": {"name": "look", "arguments": {"b": 1, "a": "é"}}}
TURN = "<|im_start|>{{ m.role }}\n"
# As those of Qwen: reasoning is written of the last turn alone, calls as JSON in tags.
KEEPS_LAST = (
    "{% for m in messages %}" + TURN + "{% if m.reasoning_content and loop.last %}<think>\n"
    "{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}\n<tool_call>\n{{ c.function | tojson }}\n</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and not "
    "enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# As that of DeepSeek-R1: a reply is opened with <think>, which is never written again.
OPENS_THINKING = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{% endfor %}"
    "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
)
# As that of Llama 3: white space at the ends is cut off.
TRIMS = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def written(tmp_path):
    """A function from a template and a call to its prompt and its response."""
    pytest.importorskip("jinja2")

    def texts(source, chat, **more):
        path = tmp_path / f"{abs(hash(source))}.jinja"
        path.write_text(source)
        template = load_template(path, None)
        prompt = prompt_text(template, chat, **more)
        later = [*chat.messages, *chat.reply, {"role": "user", "content": "And?"}]
        after = template.render(later, chat.tools, settings=chat.settings)
        return prompt, response_text(template, chat, prompt, **more), after

    return texts


def said(content="Well.", **more):
    return {"role": "assistant", "content": content, **more}


@pytest.mark.parametrize("source", [KEEPS_LAST, OPENS_THINKING, TRIMS])
def test_a_plain_reply_is_its_content(source, written):
    prompt, response, after = written(source, Chat(ASK, [said()]))
    assert response == "Well."
    if source != OPENS_THINKING:
        assert after.startswith(prompt + response)


def test_a_call_of_a_tool_is_written_as_the_next_prompt_writes_it(written):
    prompt, response, after = written(KEEPS_LAST, Chat(ASK, [said("", tool_calls=[CALL])]))
    assert response == (
        '<tool_call>\n{"name": "look", "arguments": {"b": 1, "a": "é"}}\n</tool_call>'
    )
    assert after.startswith(prompt + response + "<|im_end|>\n")


def test_reasoning_is_generated_though_no_later_prompt_has_it(written):
    chat = Chat(ASK, [said(reasoning_content="Hmm.")])
    prompt, response, after = written(KEEPS_LAST, chat)
    assert response == "<think>\nHmm.\n</think>\n\nWell."
    assert after.startswith(prompt + "Well.<|im_end|>")


def test_reasoning_that_a_template_never_writes_stands_before_what_was_said(written):
    chat = Chat(ASK, [said(reasoning_content="Hmm.", tool_calls=[CALL])])
    prompt, response, after = written(OPENS_THINKING, chat)
    assert prompt == "[user]Hi[assistant]<think>\n"
    assert response == "Hmm.Well.<call>look</call>"
    assert after.startswith("[user]Hi[assistant]Well.")


def test_what_a_template_cuts_off_was_generated_still(written):
    prompt, response, after = written(TRIMS, Chat(ASK, [said("\n\nWell. \n")]))
    assert response == "\n\nWell. \n"
    assert after.startswith(prompt + "Well.<|eot_id|>")


def test_settings_of_a_request_reach_the_template(written):
    off = Chat(ASK, [said()], settings={"enable_thinking": False})
    prompt, response, _ = written(KEEPS_LAST, off)
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert response == "Well."


@pytest.mark.parametrize(
    ("source", "opened"),
    [(KEEPS_LAST, '<|im_start|>assistant\n{"a": '), (TRIMS, '<assistant>{"a":'), (None, None)],
)
def test_a_reply_goes_on_from_words_put_into_its_mouth(source, opened, written):
    chat = Chat([*ASK, said('{"a": ')], [said("1}", tool_calls=[CALL])], goes_on=True)
    if source is None:
        prompt = prompt_text(CHATML, chat)
        response = response_text(CHATML, chat, prompt)
        later = [*ASK, said('{"a": 1}', tool_calls=[CALL])]
        assert CHATML.render(later).startswith(prompt + response + "<|im_end|>")
        return
    prompt, response, _ = written(source, chat)
    assert prompt.endswith(opened)
    assert response.strip().startswith("1}")


def test_a_call_after_words_put_into_its_mouth_is_written_by_the_template(written):
    chat = Chat([*ASK, said("I will")], [said(" look.", tool_calls=[CALL])], goes_on=True)
    prompt, response, _ = written(KEEPS_LAST, chat)
    assert prompt.endswith("<|im_start|>assistant\nI will")
    assert response.startswith(' look.<tool_call>\n{"name": "look", ')


def test_a_template_that_alters_the_words_gone_on_from_is_refused(written):
    chat = Chat([*ASK, said("yes")], [said("!")], goes_on=True)
    with pytest.raises(InputError, match="does not write the words that the answer goes on from"):
        written("{% for m in messages %}{{ m.content | upper }}{% endfor %}", chat)


def test_a_template_that_writes_no_replies_leaves_what_was_said(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text(
        "{% for m in messages %}{% if m.role != 'user' %}{{ raise_exception('no') }}{% endif %}"
        "x{% endfor %}"
    )
    template, chat = load_template(path, None), Chat(ASK, [said(tool_calls=[CALL])])
    response = response_text(template, chat, prompt_text(template, chat))
    assert response == "Well." + json.dumps(CALL, ensure_ascii=False)


def test_no_reply_is_no_text():
    assert response_text(CHATML, Chat(ASK), "x") == ""
    assert response_text(CHATML, Chat(ASK, [said("")]), "x") == ""


def test_the_day_is_that_of_the_request(written):
    source = "{% macro day() %}{{ strftime_now('%d %b %Y') }}{% endmacro %}{{ day() }}"
    now = datetime(2024, 2, 29, 23, 59, tzinfo=UTC)
    assert written(source, Chat(ASK), now=now)[0] == "29 Feb 2024"


def test_documents_and_special_tokens_are_handed_on(tmp_path, written):
    config = {"bos_token": {"content": "<s>"}, "image_token": "<im>", "eos_token": None,
              "additional_special_tokens": [{"content": "<x>"}]}  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    source = (
        "{{ bos_token }}{{ image_token }}{{ eos_token is defined }}"
        "{{ additional_special_tokens[0] }}{{ documents[0].title }}{{ tools is none }}"
    )
    chat = Chat(ASK, settings={"documents": [{"title": "D"}], "messages": 5})
    assert written(source, chat)[0] == "<s><im>False<x>DTrue"


NAMED = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]


@pytest.mark.parametrize("beside", ["config", "folder"])
def test_of_named_templates_that_for_tools_is_taken_where_there_are_any(beside, tmp_path):
    pytest.importorskip("jinja2")
    config = {"chat_template": NAMED} if beside == "config" else {}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if beside == "folder":
        (tmp_path / "chat_template.jinja").write_text("plain")
        (tmp_path / "additional_chat_templates").mkdir()
        (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    found = load_template(None, tmp_path / "tokenizer.json")
    assert (found.render(ASK), found.render(ASK, [{"a": 1}])) == ("plain", "tools")


def test_a_file_of_named_templates_without_a_default_says_so(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"chat_template": [{"name": "rag", "template": "x"}]}))
    with pytest.raises(InputError, match=r"no template named default \(got rag\)"):
        load_template(path, None).render(ASK)


def test_a_template_that_walks_through_parts_gets_parts(written):
    source = (
        "{% for m in messages %}[{{ m.role }}]{% for p in m.content | selectattr('type', 'equalto',"
        " 'text') %}{{ p.text }}{% endfor %};{% endfor %}"
        "{% if add_generation_prompt %}[go]{% endif %}"
    )
    assert written(source, Chat(ASK, [said()]))[0] == "[user]Hi;[go]"


WORDS = st.text(alphabet="ab \n<>{}", max_size=6)
MESSAGES = st.lists(
    st.builds(said, WORDS, reasoning_content=WORDS)
    | st.builds(lambda text: {"role": "user", "content": text}, WORDS),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(MESSAGES, WORDS, WORDS)
def test_in_chatml_prompt_and_response_start_the_next_prompt(messages, words, reasoning):
    chat = Chat([*messages, *ASK], [said(words, reasoning_content=reasoning)])
    prompt = prompt_text(CHATML, chat)
    whole = prompt + response_text(CHATML, chat, prompt)
    assert CHATML.render([*chat.messages, *chat.reply, *ASK]).startswith(whole)
