"""Messages to the text that a model is given: by the model's own chat template, or a plain one.

A template is Jinja, as https://huggingface.co/docs/transformers/chat_templating has it: a file of
its own, or the key `chat_template` of the tokenizer_config.json beside a tokenizer.json, which also
names the special tokens. Without one, messages are written as ChatML
(https://github.com/openai/openai-python, chatml.md): `<|im_start|>role`, the content, `<|im_end|>`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from replay.errors import InputError
from replay.reading import read_whole
from replay.trace.jinja_templates import SOLE, Message, Render, jinja_template

__all__ = [
    "CHATML", "UNDATED", "ChatTemplate", "Message", "chatml_content", "content_text",
    "load_template",
]  # fmt: skip
UNDATED = datetime(2025, 1, 1, tzinfo=UTC)  # what is now, where nobody knows
_CONFIG, _TOKENS = "tokenizer_config.json", "special_tokens_map.json"
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_MOST_BYTES = 2**24
_NAMED = "additional_chat_templates"
_USUAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True, slots=True, eq=False)
class ChatTemplate:
    """How messages become one text; `name` says by what, for people.

    `asks_date` says whether the text depends on the day. `closings` is for `replay.trace.chat`.
    """

    name: str
    _render: Render
    asks_date: bool = False
    closings: dict[str, str] = field(default_factory=dict)

    def render(
        self,
        messages: Sequence[Message],
        tools: Any = None,
        *,
        settings: Mapping[str, Any] | None = None,
        open_reply: bool = True,
        now: datetime = UNDATED,
    ) -> str:
        """Return these messages as text, up to where the assistant begins its next one.

        Without `open_reply` it ends behind the last message. `settings` are what a request hands
        to the template beside (`chat_template_kwargs`, `documents`), `now` is when it was made.
        Raises InputError where the template refuses these messages.
        """
        return self._render(messages, tools, settings or {}, open_reply, now)


def load_template(template: Path | None, tokenizer: Path | None) -> ChatTemplate:
    """Return the template named, else the one beside the tokenizer, else ChatML.

    Special tokens are those of the configuration beside the template, else beside the tokenizer.
    Raises InputError for a file that cannot be read or is no template.
    """
    if template is not None:
        found = _of_file(Path(template), None if tokenizer is None else Path(tokenizer))
        if found is None:
            raise InputError(
                f"{template} has no chat template", hint=f"give a Jinja file or a {_CONFIG}"
            )
        return found
    if tokenizer is not None:
        for name in (*_TEMPLATES, _CONFIG):
            beside = Path(tokenizer).with_name(name)
            if beside.is_file() and (found := _of_file(beside, Path(tokenizer))):
                return found
    return CHATML


def content_text(content: object) -> str:
    """Return what a message says as text: parts one after another, others than text as JSON.

    Keys stand in the order in which they were sent, as an engine writes them.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"]
            if isinstance(part, Mapping) and isinstance(part.get("text"), str)
            else content_text(part)
            for part in content
        )
    return json.dumps(content, ensure_ascii=False)


def chatml_content(message: Message) -> str:
    """Return what stands between the ends of a message in ChatML.

    ChatML has no place of its own for reasoning and calls of tools: one stands before what is
    said, the other behind it, as JSON.
    """
    reasoning = message.get("reasoning_content")
    text = reasoning if isinstance(reasoning, str) else ""
    return text + content_text(message.get("content")) + content_text(message.get("tool_calls"))


def _chatml(
    messages: Sequence[Message],
    tools: Any,
    settings: Mapping[str, Any],
    open_reply: bool,
    now: datetime,
) -> str:
    parts = []
    if tools:
        parts.append(f"<|im_start|>tools\n{content_text(tools)}<|im_end|>\n")
    for message in messages:
        text = chatml_content(message)
        parts.append(f"<|im_start|>{message.get('role', 'user')}\n{text}<|im_end|>\n")
    return "".join(parts) + ("<|im_start|>assistant\n" if open_reply else "")


@lru_cache(maxsize=4)
def _of_file(path: Path, tokenizer: Path | None) -> ChatTemplate | None:
    text = _text_of(path)
    sources = _sources_in(_facts_in(text, path)) if path.suffix == ".json" else {SOLE: text}
    if not sources:
        return None
    if path.name in _TEMPLATES:
        folder = path.with_name(_NAMED)
        more = sorted(folder.glob("*.jinja")) if folder.is_dir() else []
        sources |= {other.stem: _text_of(other) for other in more}
    render = jinja_template(sources, str(path), _special_tokens(path, tokenizer))
    asks_date = any("strftime_now" in source for source in sources.values())
    return ChatTemplate(f"the chat template in {path.name}", render, asks_date)


def _text_of(path: Path) -> str:
    try:
        return read_whole(path, most_bytes=_MOST_BYTES).decode()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the chat template {path}: {error}") from error


def _facts_in(text: str, path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    return facts if isinstance(facts, dict) else {}


def _sources_in(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the templates of a tokenizer_config.json by name: one text, or several named."""
    found = facts.get("chat_template")
    if isinstance(found, str):
        return {SOLE: found} if found else {}
    if isinstance(found, list):
        found = {one.get("name"): one.get("template") for one in found if isinstance(one, Mapping)}
    if not isinstance(found, Mapping):
        return {}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _special_tokens(path: Path, tokenizer: Path | None) -> dict[str, Any]:
    """Return the special tokens by name; where no file names any, the usual ones are empty."""
    folders = [path.parent] if tokenizer is None else [path.parent, tokenizer.parent]
    files = [path] if path.suffix == ".json" and path.name not in _TEMPLATES else []
    files += [folder / name for folder in folders for name in (_CONFIG, _TOKENS)]
    for file in files:
        if file.is_file():
            found = _tokens_in(_facts_in(_text_of(file), file))
            if found:
                return found
    return dict.fromkeys(_USUAL_TOKENS, "")


def _tokens_in(facts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    extra = facts.get("extra_special_tokens")
    for values in (extra if isinstance(extra, Mapping) else {}, facts):
        for name, value in values.items():
            token = value.get("content") if isinstance(value, Mapping) else value
            if name.endswith("_token") and isinstance(token, str):
                found[name] = token
    additional = facts.get("additional_special_tokens")
    if isinstance(additional, list):
        tokens = [one.get("content") if isinstance(one, Mapping) else one for one in additional]
        found["additional_special_tokens"] = [one for one in tokens if isinstance(one, str)]
    return found


CHATML = ChatTemplate("ChatML, for want of the model's own template", _chatml)
