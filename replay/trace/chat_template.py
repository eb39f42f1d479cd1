"""Messages to the text that a model is given: by the model's own chat template, or a plain one.

A template is Jinja, as https://huggingface.co/docs/transformers/chat_templating has it: a file of
its own, or the key `chat_template` of the tokenizer_config.json beside a tokenizer.json. It runs in
Jinja's sandbox, which keeps it from all but its arguments, though not from using time and memory.
Without one, messages are written as ChatML (https://github.com/openai/openai-python, chatml.md):
`<|im_start|>role`, the content, `<|im_end|>`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.errors import InputError

if TYPE_CHECKING:
    from jinja2.nodes import Node
    from jinja2.parser import Parser
    from jinja2.sandbox import SandboxedEnvironment

Message = Mapping[str, Any]
_CONFIG = "tokenizer_config.json"
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """How messages become one text; `name` says by what, for people."""

    name: str
    _render: Callable[[Sequence[Message], Any], str]

    def render(self, messages: Sequence[Message], tools: Any = None) -> str:
        """Return the prompt that asks for the next message of the assistant.

        Raises InputError where the template refuses these messages.
        """
        return self._render(messages, tools)


def load_template(template: Path | None, tokenizer: Path | None) -> ChatTemplate:
    """Return the template named, else the one beside the tokenizer, else ChatML.

    Raises InputError for a file that cannot be read or is no template.
    """
    if template is not None:
        return _of_file(template)
    if tokenizer is not None:
        for name in (*_TEMPLATES, _CONFIG):
            beside = Path(tokenizer).with_name(name)
            if beside.is_file() and (found := _of_file_or_none(beside)):
                return found
    return CHATML


def content_text(content: object) -> str:
    """Return what a message says as text: parts one after another, others than text as JSON.

    An image or a tool call thus stands for itself: equal ones are equal text.
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
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def _chatml(messages: Sequence[Message], tools: Any) -> str:
    parts = []
    if tools:
        parts.append(f"<|im_start|>tools\n{content_text(tools)}<|im_end|>\n")
    for message in messages:
        text = content_text(message.get("content"))
        if message.get("tool_calls"):
            text += content_text(message["tool_calls"])
        parts.append(f"<|im_start|>{message.get('role', 'user')}\n{text}<|im_end|>\n")
    return "".join(parts) + "<|im_start|>assistant\n"


def _of_file(path: Path) -> ChatTemplate:
    found = _of_file_or_none(path)
    if found is None:
        raise InputError(f"{path} has no chat template", hint=f"give a Jinja file or a {_CONFIG}")
    return found


@lru_cache(maxsize=4)
def _of_file_or_none(path: Path) -> ChatTemplate | None:
    text = _text_of(path)
    facts = _facts_in(text, path) if path.suffix == ".json" else {}
    if path.suffix == ".json":
        source = _template_in(facts)
        if not source:
            return None
        text = source
    config = path.with_name(_CONFIG)
    if path.name in _TEMPLATES and config.is_file():  # it names the special tokens for both
        facts = _facts_in(_text_of(config), config)
    return ChatTemplate(f"the chat template in {path.name}", _compiled(text, path, facts))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the chat template {path}: {error}") from error


def _facts_in(text: str, path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    return facts if isinstance(facts, dict) else {}


def _template_in(facts: Mapping[str, Any]) -> str | None:
    """Return the template of a tokenizer_config.json: one text, or that named default."""
    found = facts.get("chat_template")
    if isinstance(found, list):
        named = [entry for entry in found if isinstance(entry, Mapping)]
        found = next((one.get("template") for one in named if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _compiled(
    text: str, path: Path, facts: Mapping[str, Any]
) -> Callable[[Sequence[Message], Any], str]:
    try:
        from jinja2 import TemplateError
    except ModuleNotFoundError as error:
        raise InputError(
            "chat templates need the package jinja2", hint="pip install 'kvreplay[text]'"
        ) from error

    try:
        template = _environment().from_string(text)
    except (TemplateError, SyntaxError, RecursionError) as error:
        raise InputError(f"{path} is no chat template: {error}") from error
    tokens = {name: _token(facts.get(name)) for name in _SPECIAL_TOKENS}

    def render(messages: Sequence[Message], tools: Any) -> str:
        try:
            return template.render(
                messages=messages, tools=tools, add_generation_prompt=True, **tokens
            )
        except (
            TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
            ValueError,
        ) as error:  # fmt: skip
            raise InputError(f"the chat template in {path.name} fails: {error}") from error

    return render


def _environment() -> SandboxedEnvironment:
    """Return a sandbox with what templates of models expect, as transformers gives it to them."""
    from jinja2 import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The tag `generation`, which marks what the assistant says and changes no text."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def dumps(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = dumps
    environment.globals["raise_exception"] = refuse
    return environment


def _token(value: object) -> str:
    """Return a special token as text; configs give it so, or as an object with its content."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""


CHATML = ChatTemplate("ChatML, for want of the model's own template", _chatml)
