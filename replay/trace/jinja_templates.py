"""Chat templates in Jinja, run as the transformers library runs them.

What it hands to a template, in its `utils/chat_template_utils.py`: `messages`, `tools`,
`documents`, `add_generation_prompt`, the special tokens by name, whatever else a request gives;
the functions `raise_exception` and `strftime_now`; a `tojson` that neither sorts nor escapes; the
tag `generation` and the controls of loops. A sandbox keeps a template from all but its arguments;
time and memory have limits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from replay.errors import InputError
from replay.trace.limits import limited

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.nodes import Node
    from jinja2.parser import Parser
    from jinja2.sandbox import SandboxedEnvironment

Message = Mapping[str, Any]
Render = Callable[[Sequence[Message], Any, Mapping[str, Any], bool, datetime], str]
SOLE = ""  # the name of a template that has none
_MOST_CPU_S = 5.0  # for one text; they take milliseconds
_MOST_BYTES = 2**29
_LONGEST_POWER_BITS = 2**16
_OWN = frozenset(("messages", "tools", "add_generation_prompt", "continue_final_message"))
_PROBE = "\ufdd2probe"


def jinja_template(sources: Mapping[str, str], path: str, tokens: Mapping[str, Any]) -> Render:
    """Return what renders messages by one of these templates, by name, with the special tokens.

    With tools it is that named `tool_use`, else `default`, as transformers chooses. Raises
    InputError for what is no template.
    """
    compiled = {name: _compiled(source, path) for name, source in sources.items()}
    return _Rendering(compiled, path.rpartition("/")[2], dict(tokens))


class _Rendering:
    """Renders by templates of one file; finds out once whether they want content in parts."""

    def __init__(
        self, templates: Mapping[str, Template], name: str, tokens: Mapping[str, Any]
    ) -> None:
        self._templates, self._name, self._tokens = templates, name, tokens
        self._in_parts: dict[str, bool] = {}

    def __call__(
        self,
        messages: Sequence[Message],
        tools: Any,
        settings: Mapping[str, Any],
        open_reply: bool,
        now: datetime,
    ) -> str:
        name = self._chosen(tools)
        if name not in self._in_parts:
            self._in_parts[name] = self._wants_parts(name, now)
        if self._in_parts[name]:
            messages = [_in_parts(message) for message in messages]
        return self._rendered(name, messages, tools, settings, open_reply, now)

    def _chosen(self, tools: Any) -> str:
        wanted = ("tool_use", "default", SOLE) if tools else ("default", SOLE)
        for name in wanted:
            if name in self._templates:
                return name
        known = ", ".join(self._templates)
        raise InputError(f"{self._name} has no template named default (got {known})")

    def _wants_parts(self, name: str, now: datetime) -> bool:
        """Return whether a template loses content that is text and writes the same in parts.

        Those of some vision models do: they walk through a list of parts and nothing else.
        """
        said = {"role": "user", "content": _PROBE}
        for messages, answer in (([said], False), ([_in_parts(said)], True)):
            try:
                if _PROBE in self._rendered(name, messages, None, {}, True, now):
                    return answer
            except InputError:
                continue
        return False

    def _rendered(
        self,
        name: str,
        messages: Sequence[Message],
        tools: Any,
        settings: Mapping[str, Any],
        open_reply: bool,
        now: datetime,
    ) -> str:
        from jinja2 import TemplateError

        given = {key: value for key, value in settings.items() if key not in _OWN}
        handed = {
            "documents": None,
            **self._tokens,
            **given,
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": open_reply,
            "strftime_now": now.strftime,
        }
        what = f"the chat template in {self._name}"
        try:
            with limited(what, cpu_s=_MOST_CPU_S, memory_bytes=_MOST_BYTES):
                return self._templates[name].render(handed)
        except (
            TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
            ValueError,
        ) as error:  # fmt: skip
            raise InputError(f"{what} fails: {error}") from error


def _in_parts(message: Message) -> Message:
    content = message.get("content")
    if not isinstance(content, str):
        return message
    return {**message, "content": [{"type": "text", "text": content}]}


def _compiled(source: str, path: str) -> Template:
    try:
        from jinja2 import TemplateError
    except ModuleNotFoundError as error:
        raise InputError(
            "chat templates need the package jinja2", hint="pip install 'kvreplay[text]'"
        ) from error
    try:
        with limited(f"{path}: the template", cpu_s=_MOST_CPU_S, memory_bytes=_MOST_BYTES):
            return _environment().from_string(source)
    except (TemplateError, SyntaxError, RecursionError) as error:
        raise InputError(f"{path} is no chat template: {error}") from error


@lru_cache(maxsize=1)
def _environment() -> SandboxedEnvironment:
    """Return a sandbox with what templates of models expect."""
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

    class Sandbox(ImmutableSandboxedEnvironment):
        """The sandbox of Jinja, where no power takes for ever."""

        intercepted_binops = frozenset(("**",))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if isinstance(left, int) and isinstance(right, int):
                bits = left.bit_length() * max(right, 0)
                if bits > _LONGEST_POWER_BITS:
                    raise TemplateError(f"a power of {bits:,} bits")
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = dumps
    environment.globals["raise_exception"] = refuse
    return environment
