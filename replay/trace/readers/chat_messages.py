"""Messages as chat APIs write them, in one form: a role, text, and the calls of tools.

Read are OpenAI chat messages, items of its Responses API, Anthropic messages with their blocks
(https://docs.anthropic.com/en/api/messages) and OpenTelemetry messages with their parts
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-input-messages.json). What is no content
is left out, above all `cache_control`, which moves from request to request in equal conversations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from replay.trace.chat_template import content_text
from replay.trace.problems import shown

Message = dict[str, Any]
_NO_CONTENT = "cache_control"
_TEXT_KEYS = ("text", "content", "thinking", "refusal", "reasoning")
_TEXT_TYPES = frozenset(
    (
        "text", "input_text", "output_text", "summary_text", "reasoning_text", "thinking",
        "reasoning", "refusal",
    )
)  # fmt: skip
_THOUGHT = "shows_reasoning"
_THOUGHTS = frozenset(("thinking", "reasoning", "reasoning_text"))
_CALL_TYPES = frozenset(("tool_use", "tool_call", "function_call"))
_RESULT_TYPES = frozenset(("tool_result", "tool_call_response", "function_call_output"))


class RowError(ValueError):
    """Raised for a row that breaks its format; the message says what is wrong and what was got."""


def messages_of(value: object, name: str) -> list[Message]:
    """Return the messages in a list of them, or in a text, which a user said.

    A message with results of tools becomes one of role `tool` for each. Raises RowError for what
    is no message; `name` says where it stands.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise RowError(f"{name} must be a list of messages (got {shown(value)})")
    found: list[Message] = []
    for place, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise RowError(f"{name}[{place}] must be a message (got {shown(entry)})")
        found += _of_entry(entry, f"{name}[{place}]")
    return found


def joined(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with those that the assistant says in a row made one.

    The Responses API gives a turn as several items: its reasoning, its text, each call.
    """
    found: list[Message] = []
    for message in messages:
        if found and message["role"] == "assistant" == found[-1]["role"]:
            last = found[-1]
            calls = last.get("tool_calls", []) + message.get("tool_calls", [])
            content = last["content"] + message["content"]
            found[-1] = {**message, **last, "content": content}
            if calls:
                found[-1]["tool_calls"] = calls
        else:
            found.append(message)
    return found


def spoken_text(messages: Sequence[Message]) -> str:
    """Return what was said in these messages as one text, as prompts without a template hold it."""
    return "".join(
        message.get("reasoning_content", "")
        + message["content"]
        + content_text(message.get("tool_calls"))
        for message in messages
    )


def shows_reasoning(messages: Sequence[Message]) -> bool:
    """Return whether the reasoning before an answer is part of these messages."""
    return any(message.get("reasoning_content") or message.get(_THOUGHT) for message in messages)


def tools_of(value: object) -> list[Any] | None:
    """Return the tools of a request as OpenAI chat writes them, which is what templates expect."""
    if not value:
        return None
    if not isinstance(value, list):
        raise RowError(f"tools must be a list (got {shown(value)})")
    return [_tool(_stripped(tool)) for tool in value]


def _tool(tool: Any) -> Any:
    if not isinstance(tool, dict) or "function" in tool or "name" not in tool:
        return tool
    told = {key: tool[key] for key in ("name", "description") if key in tool}
    parameters = tool.get("parameters", tool.get("input_schema"))
    return {"type": "function", "function": {**told, "parameters": parameters}}


def _of_entry(entry: Mapping[str, Any], name: str) -> list[Message]:
    kind, role = _kind(entry), entry.get("role")
    if role is None and kind:  # an item of the Responses API
        return _of_parts("assistant", [entry])
    if not isinstance(role, str):
        raise RowError(f"{name} must have a role (got {shown(role)})")
    content = entry.get("content", entry.get("parts"))
    if content is not None and not isinstance(content, str | list):
        raise RowError(f"{name}: content must be text or a list of parts (got {shown(content)})")
    messages = _of_parts(role, [content] if isinstance(content, str) else content or [])
    calls = entry.get("tool_calls") or []
    if entry.get("function_call"):
        calls = [{"function": entry["function_call"]}]
    if not isinstance(calls, list):
        raise RowError(f"{name}: tool_calls must be a list (got {shown(calls)})")
    if not messages:
        messages = [{"role": role, "content": ""}]
    if calls:
        messages[-1].setdefault("tool_calls", []).extend(map(_call, calls))
    for key in ("name", "tool_call_id", "reasoning_content"):
        if isinstance(entry.get(key), str):
            messages[-1][key] = entry[key]
    return messages


def _of_parts(role: str, parts: Sequence[Any]) -> list[Message]:
    """Return the message of these parts, after one for each result of a tool among them."""
    found: list[Message] = []
    texts: list[str] = []
    calls = []
    thought = False
    for part in parts:
        kind = _kind(part)
        if kind in _CALL_TYPES:
            calls.append(_call(part))
        elif kind in _RESULT_TYPES:
            found.append(_result(part))
        else:
            texts.append(_part_text(part))
            thought |= kind in _THOUGHTS and bool(texts[-1]) and "summary" not in part
    if texts or calls:
        message: Message = {"role": role, "content": "".join(texts)}
        if calls:
            message["tool_calls"] = calls
        if thought:
            message[_THOUGHT] = True
        found.append(message)
    return found


def _kind(part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _part_text(part: object) -> str:
    if not isinstance(part, Mapping):
        return content_text(part)
    if _kind(part) in _TEXT_TYPES:
        for key in _TEXT_KEYS:
            if isinstance(part.get(key), str):
                return part[key]
        summary = part.get("summary")
        return "".join(map(_part_text, summary)) if isinstance(summary, list) else ""
    return content_text(_stripped(part))


def _call(call: Any) -> Any:
    """Return the call of a tool as OpenAI chat writes it, arguments as the object they are."""
    if not isinstance(call, Mapping):
        raise RowError(f"a call of a tool must be an object (got {shown(call)})")
    function = call.get("function", call)
    if not isinstance(function, Mapping):
        raise RowError(f"function must be an object (got {shown(function)})")
    arguments = function.get("arguments", function.get("input"))
    if isinstance(arguments, str):
        arguments = _parsed(arguments)
    number = call.get("call_id", call.get("id"))
    told = {"type": "function", "function": {"name": function.get("name"), "arguments": arguments}}
    return told if number is None else {"id": number, **told}


def _parsed(arguments: str) -> Any:
    """Return arguments as an object; those that the model wrote wrongly stay text."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _result(part: Mapping[str, Any]) -> Message:
    for key in ("content", "output", "response", "result"):
        if part.get(key) is not None:
            break
    told = part.get(key)
    text = "".join(map(_part_text, told)) if isinstance(told, list) else content_text(told)
    message: Message = {"role": "tool", "content": text}
    number = part.get("tool_use_id", part.get("call_id", part.get("id")))
    return message if number is None else {**message, "tool_call_id": number}


def _stripped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _stripped(inner) for key, inner in value.items() if key != _NO_CONTENT}
    if isinstance(value, list):
        return [_stripped(inner) for inner in value]
    return value
