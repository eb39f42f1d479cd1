"""Messages and tools that are spread over the attributes of a span, a value an attribute.

    {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Hi",
     "gen_ai.completion.0.tool_calls.0.name": "look",
     "gen_ai.completion.0.tool_calls.0.arguments": "{\\"at\\": \\"x\\"}",
     "llm.request.functions.0.name": "look", "llm.request.functions.0.parameters": "{}"}

So OpenLLMetry writes them (https://github.com/traceloop/openllmetry). Content in parts is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.trace.readers.json_text import object_in, parts_in

_FUNCTIONS = "llm.request.functions"
_KEPT = ("name", "tool_call_id", "reasoning", "reasoning_content")


def spread_messages(values: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the messages under a name, in order of their numbers, as chat APIs write them."""
    found = []
    for told in _entries(values, name):
        content = told.get("content")
        message: dict[str, Any] = {
            "role": told.get("role", "user"),
            "content": parts_in(content) if isinstance(content, str) else content,
        }
        message |= {key: told[key] for key in _KEPT if key in told}
        calls = _entries(told, "tool_calls")
        if calls:
            message["tool_calls"] = [_call(call) for call in calls]
        if calls or content is not None:
            found.append(message)
    return found


def spread_tools(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools that a span offers, as chat APIs write them."""
    return [
        {"type": "function", "function": _function(told)} for told in _entries(values, _FUNCTIONS)
    ]


def _function(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: object_in(value, key) if key == "parameters" else value for key, value in told.items()
    }


def _call(told: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": told.get("name"), "arguments": told.get("arguments")}
    number = {"id": told["id"]} if "id" in told else {}
    return {**number, "type": "function", "function": function}


def _entries(values: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return what stands under name.0, name.1 and so on, each by the rest of its key."""
    start = f"{name}."
    found: dict[int, dict[str, Any]] = {}
    for key, value in values.items():
        if key.startswith(start):
            place, _, rest = key[len(start) :].partition(".")
            if rest and place.isdecimal() and len(place) < 8:
                found.setdefault(int(place), {})[rest] = value
    return [found[place] for place in sorted(found)]
