"""One call of a chat model as text: what the engine is given, and what it generates.

A prompt is its messages as the template writes them, up to where the assistant begins to speak;
where it goes on from words put into its mouth, up to the end of these words.

A response is what the template makes of it in the next prompt: the text of messages and reply, less
the prompt, and less what closes a message. Calls of tools are thus written as the model writes
them. Two things are told apart, for the cache holds what was generated and not what is written
later: what a template leaves out or alters when it writes a reply again (reasoning, white space at
its ends) is kept here as it was logged, so that a later prompt, which the template writes without
it, parts from it there. That is what happens in an engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from replay.errors import InputError
from replay.trace.chat_template import UNDATED, ChatTemplate, Message, chatml_content

_PROBE = "\ufdd2probe"


@dataclass(frozen=True, slots=True)
class Chat:
    """One call: the messages asked, and those of the reply, none where it is not known.

    Messages have a role, their content as text, and `tool_calls` and `reasoning_content` where
    they have them (`readers.chat_messages` makes them so). `settings` are handed to the template.
    `goes_on` says that the assistant goes on from the last message, which is its own.
    """

    messages: Sequence[Message]
    reply: Sequence[Message] = ()
    tools: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    goes_on: bool = False


def prompt_text(template: ChatTemplate, chat: Chat, now: datetime = UNDATED) -> str:
    """Return what the model is given; raises InputError where the template refuses it."""
    if not chat.goes_on:
        opens = chat.settings.get("add_generation_prompt", True) is not False
        return _rendered(template, chat, chat.messages, now, open_reply=opens)
    said = chat.messages[-1]["content"]
    text = _rendered(template, chat, chat.messages, now)
    place = text.rfind(said.strip())
    if not said.strip() or place < 0:
        raise InputError(f"{template.name} does not write the words that the answer goes on from")
    lead = said.lstrip()
    whole = text.startswith(lead, place)  # else the template cuts the space behind them
    return text[: place + len(lead if whole else said.strip())]


def response_text(template: ChatTemplate, chat: Chat, prompt: str, now: datetime = UNDATED) -> str:
    """Return what the model generates after this prompt; '' where there is no reply."""
    if not any(map(chatml_content, chat.reply)):
        return ""
    spoken = spoken_text(chat.reply)
    before, reply = chat.messages, list(chat.reply)
    if chat.goes_on:
        reply[0] = _merged(before[-1], reply[0])
        before = before[:-1]
    try:
        text = _rendered(template, chat, [*before, *reply], now)
        written = _after(template, chat, prompt, text, now)
        closing = _closing(template, chat.settings)
    except InputError:  # it writes prompts, but no replies of this kind
        return spoken
    if written is None:
        return spoken
    return _as_generated(written.removesuffix(closing), chat.reply) or spoken


def spoken_text(messages: Sequence[Message]) -> str:
    """Return what was said in these messages as one text, as ChatML holds it."""
    return "".join(map(chatml_content, messages))


def _rendered(
    template: ChatTemplate,
    chat: Chat,
    messages: Sequence[Message],
    now: datetime,
    *,
    open_reply: bool = False,
) -> str:
    return template.render(
        messages, chat.tools, settings=chat.settings, open_reply=open_reply, now=now
    )


def _merged(begun: Message, said: Message) -> Message:
    return {**said, **begun, "content": begun["content"] + said.get("content", "")} | {
        key: said[key] for key in ("tool_calls",) if key in said
    }


def _after(template: ChatTemplate, chat: Chat, prompt: str, text: str, now: datetime) -> str | None:
    """Return what a text has after the prompt, None where it does not go on from it.

    It may lack the end of what opens a reply (`<think>`, say), which some templates write only
    there; then it is what follows what they have in common.
    """
    if text.startswith(prompt):
        return text[len(prompt) :]
    if chat.goes_on:
        return None
    asked = _rendered(template, chat, chat.messages, now)
    if not (prompt.startswith(asked) and text.startswith(asked)):
        return None
    opening, answer = prompt[len(asked) :], text[len(asked) :]
    common = 0
    while answer.startswith(opening[: common + 1]) and common < len(opening):
        common += 1
    return answer[common:]


def _as_generated(written: str, reply: Sequence[Message]) -> str:
    """Return the written reply with what the template left out or altered as it was logged.

    '' where what was said does not stand in it.
    """
    for message in reply:
        content = message.get("content", "")
        if content and content not in written:
            bare = content.strip()
            place = written.rfind(bare) if bare else -1
            if place < 0:
                return ""
            written = written[:place] + content + written[place + len(bare) :]
    lost = "".join(
        reasoning
        for message in reply
        if isinstance(reasoning := message.get("reasoning_content"), str)
        and reasoning.strip() not in written
    )
    return lost + written


def _closing(template: ChatTemplate, settings: Mapping[str, Any]) -> str:
    """Return what a template writes behind what the assistant says at the end of a conversation."""
    key = json.dumps(settings, sort_keys=True, default=str)
    if key not in template.closings:
        messages = [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": _PROBE}
        ]  # fmt: skip
        try:
            text = template.render(messages, settings=settings, open_reply=False)
        except InputError:
            text = ""
        template.closings[key] = text.rpartition(_PROBE)[2] if _PROBE in text else ""
    return template.closings[key]
