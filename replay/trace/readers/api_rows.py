"""One row of a log of API calls taken apart: the request, the response, and whether it failed.

Either stands in a key of its own, or both lie in the row itself. The Batch APIs wrap them once
more: `body` within `request` and `response` (OpenAI), `params` and `result` (Anthropic).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.api_usage import Usage, usage_of
from replay.trace.readers.chat_messages import RowError

PROMPTS = ("messages", "prompt", "input")
ANSWERS = ("choices", "output", "content", "completion")
_REQUESTS = ("request", "body", "params")
_FAILED = frozenset(("failed", "cancelled", "canceled", "expired", "errored"))


def split_row(
    row: Mapping[str, Any],
) -> tuple[Mapping[str, Any], Mapping[str, Any] | str | None, Mapping[str, Any]]:
    """Return the request, the response, and what stands around the response."""
    request = row.get("request", row.get("body"))
    request = row if request is None else _object(request, "request")
    if request.get("body") is not None:
        request = _object(request["body"], "body")
    if row.get("response") is None:
        own = any(row.get(name) is not None for name in (*ANSWERS, "usage"))
        return request, row if own or has_usage(row, row) else None, {}
    answer = row["response"]
    if isinstance(answer, str):
        return request, answer, {}
    answer = _object(answer, "response")
    if answer.get("body") is not None:
        return request, _object(answer["body"], "body"), answer
    return request, answer, answer


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RowError(f"{name} must be an object (got {shown(value)})")
    return value


def failure_of(
    row: Mapping[str, Any], answer: Mapping[str, Any] | str | None, envelope: Mapping[str, Any]
) -> str | None:
    """Return why a row is no request to replay, None where it is one."""
    within = answer if isinstance(answer, Mapping) else {}
    for error in (row.get("error"), within.get("error")):
        if error:
            return f"a failed request: {shown(error)}"
    for place in (row, envelope):
        for name in ("status_code", "status"):
            if isinstance(place.get(name), int) and place[name] >= 400:
                return f"a failed request: {name} {place[name]}"
    if within.get("status") in _FAILED:
        return f"a failed request: status {within['status']}"
    if answer is None and "response" in row:
        return "no response: a failed request"
    if within.get("object") == "list":
        return "embeddings: nothing is generated"
    return None


def has_usage(row: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    return any(
        isinstance(place.get("usage"), Mapping) or "prompt_tokens" in place
        for place in (answer, row)
    )


def recorded_usage(row: Mapping[str, Any], answer: Mapping[str, Any]) -> Usage:
    for place in (answer, row):
        if place.get("usage") is not None:
            return usage_of(_object(place["usage"], "usage"))
    return usage_of(row)
