"""Messages as chat APIs write them, in one form: a role, text, reasoning, and the calls of tools.

Read are OpenAI chat messages, items of its Responses API, Anthropic messages with their blocks
(https://docs.anthropic.com/en/api/messages) and OpenTelemetry messages with their parts
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-input-messages.json). What is no content
is left out, above all `cache_control`, which moves from request to request in equal conversations.

The form: `role`, `content` as text, in which media stand as marks (`replay.trace.media`), and where
they are there `reasoning_content`, `tool_calls` with arguments as the objects they are, `name` and
`tool_call_id`. All keys keep the order in which they were sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from replay.trace.chat import spoken_text
from replay.trace.chat_template import content_text
from replay.trace.problems import shown
from replay.trace.readers.media_parts import media_in_part, with_media_marked

__all__ = [
    "Message", "RowError", "hides_reasoning", "joined", "messages_of", "shows_reasoning",
    "spoken_text", "tools_of",
]  # fmt: skip
Message = dict[str, Any]
_NO_CONTENT = "cache_control"
_TEXT_KEYS = ("text", "content", "refusal")
_TEXT_TYPES = frozenset(("text", "input_text", "output_text", "summary_text", "refusal"))
_HIDDEN = "reasoning_hidden"  # set where reasoning is there, but not as the model wrote it
_THOUGHT_TYPES = frozenset(
    (
        "thinking", "redacted_thinking", "reasoning", "reasoning_text", "reasoning.text",
        "reasoning.summary", "reasoning.encrypted", "thought",
    )
)  # fmt: skip
_THOUGHT_KEYS = ("thinking", "reasoning", "text", "reasoning_text", "content")
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
_CALL_TYPES = frozenset(("tool_use", "tool_call", "function_call", "custom_tool_call"))
_RESULT_TYPES = frozenset(
    (
        "tool_result", "tool_call_response", "function_call_output", "custom_tool_call_output",
        "computer_call_output", "local_shell_call_output",
    )
)  # fmt: skip


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
            found[-1] = _two_joined(found[-1], message)
        else:
            found.append(message)
    return found


def _two_joined(first: Message, second: Message) -> Message:
    both = {**second, **first, "content": first["content"] + second["content"]}
    if "reasoning_content" in first and "reasoning_content" in second:
        both["reasoning_content"] = first["reasoning_content"] + second["reasoning_content"]
    calls = first.get("tool_calls", []) + second.get("tool_calls", [])
    return {**both, "tool_calls": calls} if calls else both


def shows_reasoning(messages: Sequence[Message]) -> bool:
    """Return whether the reasoning before an answer is part of these messages, whole."""
    return not hides_reasoning(messages) and any(
        message.get("reasoning_content") or "</think>" in message["content"] for message in messages
    )


def hides_reasoning(messages: Sequence[Message]) -> bool:
    """Return whether these messages tell of reasoning that they hold sealed or summed up alone."""
    return any(message.get(_HIDDEN) for message in messages)


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
    told = {
        "parameters" if key == "input_schema" else key: value
        for key, value in tool.items()
        if key != "type"
    }
    return {"type": "function", "function": told}


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
    for key in ("name", "tool_call_id"):
        if isinstance(entry.get(key), str):
            messages[-1][key] = entry[key]
    if role == "assistant":
        _add_reasoning(messages[-1], entry)
    return messages


def _add_reasoning(message: Message, entry: Mapping[str, Any]) -> None:
    """Add the reasoning that stands beside the content of a message, under any key in use."""
    told = [entry[key] for key in _REASONING if isinstance(entry.get(key), str) and entry[key]]
    details = entry.get("reasoning_details")
    parts = [_thought(part) for part in details] if isinstance(details, list) else []
    hidden = any(sealed for _, sealed in parts)
    if hidden:
        message[_HIDDEN] = True
    elif told or any(text for text, _ in parts):
        message["reasoning_content"] = told[0] if told else "".join(text for text, _ in parts)


def _of_parts(role: str, parts: Sequence[Any]) -> list[Message]:
    """Return the message of these parts, after one for each result of a tool among them."""
    found: list[Message] = []
    texts: list[str] = []
    calls = []
    thoughts: list[tuple[str, bool]] = []
    for part in parts:
        kind = _kind(part)
        if kind in _CALL_TYPES:
            calls.append(_call(part))
        elif kind in _RESULT_TYPES:
            found.append(_result(part))
        elif kind in _THOUGHT_TYPES or (isinstance(part, Mapping) and part.get("thought") is True):
            thoughts.append(_thought(part))
        else:
            texts.append(_part_text(part))
    if texts or calls or thoughts:
        message: Message = {"role": role, "content": "".join(texts)}
        if any(hidden for _, hidden in thoughts):
            message[_HIDDEN] = True
        elif reasoning := "".join(text for text, _ in thoughts):
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = calls
        found.append(message)
    return found


def _thought(part: object) -> tuple[str, bool]:
    """Return the reasoning in a part, and whether it is sealed or a summary: not what was said."""
    if not isinstance(part, Mapping):
        return "", False
    text = next((part[key] for key in _THOUGHT_KEYS if isinstance(part.get(key), str)), "")
    if isinstance(part.get("content"), list):
        text = "".join(map(_part_text, part["content"]))
    sealed = any(part.get(key) for key in ("encrypted_content", "summary")) or _kind(part) in (
        "redacted_thinking", "reasoning.summary", "reasoning.encrypted",
    )  # fmt: skip
    return ("", True) if sealed and not (text and _kind(part) == "reasoning") else (text, False)


def _kind(part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return with_media_marked(part)
    if not isinstance(part, Mapping):
        return content_text(part)
    kind = _kind(part)
    if kind in _TEXT_TYPES or kind in _THOUGHT_TYPES or (not kind and _is_text(part)):
        text = next((part[key] for key in _TEXT_KEYS if isinstance(part.get(key), str)), "")
        return with_media_marked(text)
    source = part.get("source")
    if kind == "document" and isinstance(source, Mapping):  # text that stands for a file
        if source.get("type") == "text" and isinstance(source.get("data"), str):
            return source["data"]
        if source.get("type") == "content":
            inner = source.get("content")
            return "".join(map(_part_text, inner if isinstance(inner, list) else [inner]))
    media = media_in_part(part)
    if media is not None:
        return media.mark()
    return with_media_marked(content_text(_stripped(part)))


def _is_text(part: Mapping[str, Any]) -> bool:
    """Return whether a part without a type is a text, as Gemini and Bedrock write it."""
    return isinstance(part.get("text"), str) and len(part) == 1


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
    text = "".join(map(_part_text, told if isinstance(told, list) else [told]))
    message: Message = {"role": "tool", "content": text}
    number = part.get("tool_use_id", part.get("call_id", part.get("id")))
    return message if number is None else {**message, "tool_call_id": number}


def _stripped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _stripped(inner) for key, inner in value.items() if key != _NO_CONTENT}
    if isinstance(value, list):
        return [_stripped(inner) for inner in value]
    return value
