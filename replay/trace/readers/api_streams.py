"""Responses that were streamed, put together from their parts as they were logged.

Parts are those of OpenAI chat completions and completions (`choices` with a `delta` or `text`), the
Responses API (`response.…` events) and Anthropic (`message_start` and so on), as objects in a list
or as server-sent events in one text (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.chat_messages import RowError

_DONE = "[DONE]"
_FIRST_EVENT = re.compile(r"\s*(?:(?:event|id|retry): ?[^\n]*\n)*data: ?\{")
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_DELTAS = {
    "text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json",
}  # fmt: skip


def is_event_stream(text: str) -> bool:
    """Return whether a text is one of server-sent events, each an object."""
    return bool(_FIRST_EVENT.match(text))


def events_in(text: str) -> list[Mapping[str, Any]]:
    """Return the objects in a text of server-sent events; raises RowError for what is none."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line[5:].strip() for line in block.split("\n") if line.startswith("data:")]
        data = "\n".join(lines)
        if not data or data == _DONE:
            continue
        try:
            event = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RowError(f"a part of the stream is not valid JSON (got {shown(data)})") from error
        if not isinstance(event, Mapping):
            raise RowError(f"a part of the stream must be an object (got {shown(event)})")
        found.append(event)
    return found


def assembled(parts: Sequence[Any]) -> Mapping[str, Any]:
    """Return the response that these parts of a stream make up.

    Raises RowError for parts of no known stream.
    """
    events = [part for part in parts if isinstance(part, Mapping)]
    events = [event.get("data", event) if "event" in event else event for event in events]
    if len(events) < len(parts) or not all(isinstance(event, Mapping) for event in events):
        raise RowError(
            f"response must be an object, text or parts of a stream (got {shown(parts)})"
        )
    for event in events:
        if event.get("error"):
            return event
    types = [event.get("type") for event in events]
    if any(isinstance(kind, str) and kind.startswith("response.") for kind in types):
        return _of_responses(events)
    if any(kind in ("message_start", "content_block_start") for kind in types):
        return _of_anthropic(events)
    if events and all("choices" in event or "usage" in event for event in events):
        return _of_chat(events)
    raise RowError(f"response is a list of no known stream's parts (got {shown(parts)})")


def _of_chat(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    answer: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        answer |= {key: event[key] for key in ("id", "model", "created", "usage") if event.get(key)}
        for choice in _objects(event.get("choices")):
            if _index(choice) != 0:
                continue
            delta = choice.get("delta", choice.get("message"))
            delta = delta if isinstance(delta, Mapping) else {"content": choice.get("text")}
            for key in _TEXTS:
                if isinstance(delta.get(key), str):
                    message[key] = message.get(key, "") + delta[key]
            for call in _objects(delta.get("tool_calls")):
                _add_call(calls.setdefault(_index(call), {}), call)
    if calls:
        message["tool_calls"] = list(calls.values())
    return {**answer, "choices": [{"index": 0, "message": message}]}


def _add_call(known: dict[str, Any], call: Mapping[str, Any]) -> None:
    told = call.get("function")
    function = known.setdefault("function", {"name": "", "arguments": ""})
    known |= {key: call[key] for key in ("id", "type") if call.get(key)}
    for key in ("name", "arguments"):
        if isinstance(told, Mapping) and isinstance(told.get(key), str):
            function[key] += told[key]


def _of_responses(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    whole: Mapping[str, Any] = {}
    items = []
    said = ""
    for event in events:
        if isinstance(event.get("response"), Mapping):
            whole = event["response"]
        if event.get("type") == "response.output_item.done":
            items.append(event.get("item"))
        if event.get("type") == "response.output_text.delta" and isinstance(
            event.get("delta"), str
        ):
            said += event["delta"]
    if whole.get("output"):
        return whole
    return {**whole, "output": items or said}


def _of_anthropic(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    answer: dict[str, Any] = {"type": "message", "role": "assistant"}
    usage: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        message = event.get("message")
        if isinstance(message, Mapping):
            answer |= {key: value for key, value in message.items() if key != "content"}
        for place in (message, event):
            if isinstance(place, Mapping) and isinstance(place.get("usage"), Mapping):
                usage |= {key: value for key, value in place["usage"].items() if value is not None}
        if isinstance(event.get("content_block"), Mapping):
            blocks[_index(event)] = dict(event["content_block"])
        delta = event.get("delta")
        if isinstance(delta, Mapping) and (kind := _DELTAS.get(str(delta.get("type")))):
            block = blocks.setdefault(_index(event), {"type": "text"})
            if isinstance(delta.get(kind), str):
                _add_text(block, kind, delta[kind])
    return {**answer, "usage": usage or None, "content": list(blocks.values())}


def _add_text(block: dict[str, Any], kind: str, text: str) -> None:
    if kind == "partial_json":  # it replaces the empty object that the block starts with
        kind = "input"
    before = block.get(kind)
    block[kind] = (before if isinstance(before, str) else "") + text


def _index(part: Mapping[str, Any]) -> int:
    """Return which choice, call or block a part belongs to; the first where it does not say."""
    index = part.get("index", 0)
    return index if type(index) is int else 0


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
