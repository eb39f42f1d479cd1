"""What the attributes of a span say of a request: its messages, its response, its counts.

Names are those of https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans, then older ones:
`gen_ai.prompt` and `gen_ai.completion` as text or JSON, or spread over `gen_ai.prompt.0.content`
and so on, and the counts as servers wrote them before they had a common name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.api_usage import Usage, checked, tokens_in
from replay.trace.readers.chat_messages import (
    Message,
    RowError,
    hides_reasoning,
    messages_of,
    shows_reasoning,
)
from replay.trace.readers.decimals import is_number
from replay.trace.readers.json_text import answer_in, messages_in, object_in
from replay.trace.readers.logged_values import named_attributes
from replay.trace.readers.otel_spread import spread_messages, spread_tools
from replay.units import NS_PER_S

Attributes = Mapping[str, Any]
_GENERATING = frozenset(("chat", "text_completion", "generate_content"))
_PROMPT = ("gen_ai.input.messages", "gen_ai.prompt")
_ANSWER = ("gen_ai.output.messages", "gen_ai.completion")
_TOOLS = "gen_ai.tool.definitions"
_INSTRUCTIONS = "gen_ai.system_instructions"
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_CACHED = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cached_tokens", "gen_ai.usage.prompt_tokens_details.cache_read",
)  # fmt: skip
_WRITTEN = (
    "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
)  # fmt: skip
_REASONING = ("gen_ai.usage.reasoning.output_tokens",)
_TTFT = "gen_ai.latency.time_to_first_token"  # vLLM, in seconds
_KEPT = {
    "model": ("gen_ai.request.model", "gen_ai.response.model"),
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "operation": ("gen_ai.operation.name",),
}


def is_request(values: Attributes) -> bool:
    """Return whether a span asked a model to generate: it says its input, or counts it."""
    operation = values.get("gen_ai.operation.name")
    if isinstance(operation, str) and operation not in _GENERATING:
        return False
    names = (*_PROMPT, f"{_PROMPT[1]}.0.content", f"{_PROMPT[1]}.0.role", *_INPUT)
    return any(values.get(name) not in (None, "", "[]", []) for name in names)


def prompt_of(values: Attributes) -> list[Message] | str | None:
    """Return the messages of a prompt, system instructions first; a text where it is but that.

    None where it is not there. Raises RowError for what are no messages.
    """
    found = _messages(values, *_PROMPT)
    told = json_in(values.get(_INSTRUCTIONS))
    if not told or not isinstance(found, list):
        return found
    return messages_of([{"role": "system", "content": told}], _INSTRUCTIONS) + found


def reply_of(values: Attributes) -> list[Message]:
    """Return the response, of the first choice if there are several; empty for none."""
    text = values.get("gen_ai.output.text")
    if isinstance(text, str):
        return [{"role": "assistant", "content": text}]
    found = _messages(values, *_ANSWER) or []
    return [{"role": "assistant", "content": found}] if isinstance(found, str) else found[:1]


def usage_in(values: Attributes) -> Usage:
    """Return what was counted; input tokens include those read from the cache."""
    reply, hidden = reply_of(values), _tokens(values, _REASONING) or 0
    if shows_reasoning(reply):
        hidden = 0
    elif hides_reasoning(reply):
        hidden = max(1, hidden)
    asked, cached, given = (_tokens(values, names) for names in (_INPUT, _CACHED, _OUTPUT))
    return checked(Usage(asked, cached, given, hidden, _tokens(values, _WRITTEN)))


def columns_of(values: Attributes) -> dict[str, object]:
    """Return what else is kept of a span, by the names of columns."""
    kept = {
        column: next((values[name] for name in names if name in values), None)
        for column, names in _KEPT.items()
    }
    found = {column: value for column, value in kept.items() if value is not None}
    found = named_attributes(values) | found
    return found | ({"recorded_ttft_ns": _seconds_ns(values, _TTFT)} if _TTFT in values else {})


def json_in(value: object) -> Any:
    """Return the list that a text holds as JSON; the text, or anything else, as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value
    if isinstance(found, str):  # written as text twice over
        found = json_in(found)
    return found if isinstance(found, list) else value


def tools_in(values: Attributes) -> Any:
    """Return the tools that a span offers, as they stand there; None where it has none."""
    return json_in(values.get(_TOOLS)) or spread_tools(values) or None


def _messages(values: Attributes, name: str, older: str) -> list[Message] | str | None:
    for key in (name, older):
        value = values.get(key)
        if isinstance(value, str):
            value = _whole_in(value, key) if key == older else object_in(value, key)
        if value in (None, "", []):
            continue
        if isinstance(value, str) and key == older:
            return value
        if not isinstance(value, list):
            raise RowError(f"{key} must be a list of messages (got {shown(value)})")
        return messages_of(value, key)
    return messages_of(spread_messages(values, older), older) or None


def _whole_in(value: str, key: str) -> Any:
    """Return the messages of a request, or of a response's first choice, that a text holds.

    The text where it is what was said.
    """
    start = "".join(value[:80].split())
    if start.startswith(('{"messages":', '{"role":', '{"model":')):
        whole = object_in(value, key)
        return whole.get("messages", [whole] if "role" in whole else value)
    found = messages_in(value, key)
    if isinstance(found, list):
        return found
    answer = answer_in(value, key)
    if isinstance(answer, Mapping) and isinstance(answer.get("choices"), list):
        messages = [one.get("message") for one in answer["choices"] if isinstance(one, Mapping)]
        return [one for one in messages[:1] if isinstance(one, Mapping)] or value
    return value if isinstance(answer, Mapping) else answer


def _tokens(values: Attributes, names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := tokens_in(values, name)) is not None), None)


def _seconds_ns(values: Attributes, name: str) -> int:
    value = values[name]
    if not is_number(value) or not 0 <= value < NS_PER_S:
        raise RowError(f"{name} must be seconds from 0 on (got {shown(value)})")
    return int(Decimal(repr(value)) * NS_PER_S)
