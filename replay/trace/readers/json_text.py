"""JSON that a log holds as text, once or several times over, as columns of databases have it.

What was said may be JSON too, so a text is taken for part of the log only where it is one: where
its key holds objects and nothing else, or where it reads as a response of an API does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.chat_messages import RowError

_DEPTH = 4
_BESIDE_OUTPUT = frozenset(("id", "object", "usage", "model", "status"))
_ITEMS = frozenset(
    (
        "message", "text", "output_text", "reasoning", "thinking", "redacted_thinking", "tool_use",
        "function_call", "message_start", "content_block_start",
    )
)  # fmt: skip
_STARTS = tuple(
    f'{{"{key}":'
    for key in ("id", "choices", "object", "created", "model", "output", "usage", "error")
)
_STARTS_OF_LISTS = ('[{"role":', '[{"type":', '[{"id":', '[{"content":', '[{"choices":')


def object_in(value: object, name: str) -> Any:
    """Return the object or list that a text holds as JSON; anything but text as it is.

    Text that starts as neither is returned as it is. Raises RowError for JSON that does not parse.
    """
    for _ in range(_DEPTH):
        if not isinstance(value, str):
            return value
        inner = _text_in_text(value)
        if inner is None:
            break
        value = inner
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    found, fault = _parsed(value)
    if fault:
        raise RowError(f"{name} is JSON as text that {fault}")
    return found


def answer_in(value: str, name: str) -> Any:
    """Return the response that a text holds as JSON; the text where it is what was said.

    Raises RowError for a response that does not parse: one cut off, say.
    """
    inner = _text_in_text(value)
    if inner is not None:
        said = answer_in(inner, name)
        return value if isinstance(said, str) else said
    start = "".join(value[:80].split())
    if not start.startswith(("{", "[")):
        return value
    found, fault = _parsed(value)
    if fault:
        if start.startswith((*_STARTS, *_STARTS_OF_LISTS)) and '"' in value[2:]:
            raise RowError(f"{name} is JSON as text that {fault}")
        return value
    if isinstance(found, list):
        told = all(isinstance(one, Mapping) for one in found) and any(map(_is_item, found[:1]))
        return found if told else value
    return found if _is_response(found) else value


def messages_in(value: str, name: str) -> Any:
    """Return the messages that a text holds as JSON; the text where it is what was said."""
    start = "".join(value[:80].split())
    inner = _text_in_text(value)
    if inner is not None:
        said = messages_in(inner, name)
        return value if isinstance(said, str) else said
    if not start.startswith("["):
        return value
    found, fault = _parsed(value)
    if fault and start.startswith(_STARTS_OF_LISTS[0]):
        raise RowError(f"{name} is JSON as text that {fault}")
    if not isinstance(found, list) or not found:
        return value
    told = all(isinstance(one, Mapping) and ("role" in one or _is_input(one)) for one in found)
    return found if told else value


def parts_in(value: str) -> Any:
    """Return the parts of a message that a text holds as JSON; any other text as it is."""
    if not value.lstrip().startswith("[") or '"type"' not in value:
        return value
    found, fault = _parsed(value)
    if fault or not isinstance(found, list) or not found:
        return value
    return found if all(isinstance(one, Mapping) and "type" in one for one in found) else value


def _is_response(value: Mapping[str, Any]) -> bool:
    """Return whether an object has what the responses of APIs have, one message or an error."""
    if isinstance(value.get("choices"), list):
        return True
    if "output" in value:
        return bool(_BESIDE_OUTPUT & value.keys())
    if "content" in value:
        return value.get("role") == "assistant" or "stop_reason" in value
    error = value.get("error")
    return isinstance(error, Mapping) and "message" in error


def _is_item(value: Mapping[str, Any]) -> bool:
    """Return whether an object starts a list of items, of blocks, or of a stream's parts."""
    kind = value.get("type")
    if isinstance(kind, str) and (kind in _ITEMS or kind.startswith("response.")):
        return True
    return isinstance(value.get("choices"), list) or (
        value.get("role") == "assistant" and "content" in value
    )


def _is_input(value: Mapping[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and (kind in _ITEMS or kind == "function_call_output")


def _text_in_text(value: str) -> str | None:
    """Return the text that a text holds as JSON, None where it holds none."""
    if not value.startswith('"') or not value.rstrip().endswith('"'):
        return None
    try:
        inner = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, str) else None


def _parsed(value: str) -> tuple[Any, str | None]:
    try:
        return json.loads(value), None
    except json.JSONDecodeError as error:
        around = value[error.pos : error.pos + 20] or "its end"
        return None, f"does not parse: {error.msg.lower()} (got {shown(around)})"
    except (ValueError, RecursionError):
        return None, "does not parse: nested too deeply, or an integer out of range"
