"""One row of a log of API calls taken apart: the request, the response, and whether it failed.

Either stands in a key of its own, or both lie in the row itself. The Batch APIs wrap them once
more: OpenAI in `body` and `response.body`, Anthropic in `params` and `result.message`. Any of these
may be JSON in a text, as the columns of gateways' databases are, and a response the parts of a
stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.api_streams import assembled, events_in, is_event_stream
from replay.trace.readers.api_usage import Usage, usage_of
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.json_text import answer_in, object_in

PROMPTS = ("messages", "prompt", "input")
ANSWERS = ("choices", "output", "content", "completion")
_REQUESTS = ("request", "request_body", "requestBody", "body", "params")
_RESPONSES = ("response", "response_body", "responseBody", "result")
WRAPPINGS = (*_REQUESTS, *_RESPONSES)
_COUNTS = ("prompt_tokens", "input_tokens")
_FAILED = frozenset(("failed", "cancelled", "canceled", "expired", "errored"))


@dataclass(frozen=True, slots=True)
class ApiRow:
    """A row and its parts: `answer` is None where it has no response, `around` is what wraps it."""

    row: Mapping[str, Any]
    request: Mapping[str, Any]
    answer: Mapping[str, Any] | str | None
    around: Mapping[str, Any]

    @property
    def has_prompt(self) -> bool:
        """Whether the request says its prompt."""
        return any(self.request.get(name) is not None for name in PROMPTS)

    @property
    def has_counts(self) -> bool:
        """Whether the provider's counts are there."""
        return any(
            isinstance(object_in(place.get("usage"), "usage"), Mapping)
            or any(name in place for name in _COUNTS)
            for place in self._counting()
        )

    def usage(self) -> Usage:
        """Return what the provider counted; raises RowError for what is no count."""
        for place in self._counting():
            if place.get("usage") is not None:
                return usage_of(_object(object_in(place["usage"], "usage"), "usage"))
        return usage_of(self.row)

    def failure(self) -> str | None:
        """Return why this is no request to replay, None where it is one."""
        answer = self.answer if isinstance(self.answer, Mapping) else {}
        for place in (self.row, self.around, answer):
            if place.get("error"):
                return f"a failed request: {shown(place['error'])}"
            for name in ("status_code", "status"):
                if isinstance(place.get(name), int) and place[name] >= 400:
                    return f"a failed request: {name} {place[name]}"
            for name in ("status", "type"):
                if isinstance(place.get(name), str) and place[name] in _FAILED:
                    return f"a failed request: {name} {place[name]}"
        if self.answer is None and any(name in self.row for name in _RESPONSES):
            return "no response: a failed request"
        if answer.get("object") == "list":
            return "embeddings: nothing is generated"
        return None

    def _counting(self) -> tuple[Mapping[str, Any], ...]:
        return (self.answer, self.row) if isinstance(self.answer, Mapping) else (self.row,)


def split_row(row: Mapping[str, Any]) -> ApiRow:
    """Return the parts of a row; raises RowError where one of them is of another type."""
    request = _request(row)
    name, answer = _first(row, _RESPONSES)
    answer = _answer(answer, name)
    if answer is None:
        answer = _whole_in_text(row)
    if answer is None:
        own = ApiRow(row, request, row, {})
        if own.has_counts or any(row.get(name) is not None for name in ANSWERS):
            return own
        return ApiRow(row, request, None, {})
    if isinstance(answer, str):
        return ApiRow(row, request, answer, {})
    for name in ("body", "message"):
        inner = answer.get(name)
        inner = _answer(inner, name) if isinstance(inner, str | list) else inner
        if isinstance(inner, Mapping):
            return ApiRow(row, request, inner, answer)
    return ApiRow(row, request, answer, answer)


def _whole_in_text(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the response that a key of a flat row holds as text, with more than what was said."""
    for name in ("completion", "output"):
        if isinstance(row.get(name), str):
            found = _answer(row[name], name)
            if isinstance(found, Mapping) and found.keys() & {"choices", "output", "content"}:
                return found
    return None


def _request(row: Mapping[str, Any]) -> Mapping[str, Any]:
    name, request = _first(row, _REQUESTS)
    if request is None:
        return row
    request = _object(object_in(request, name), name)
    if request.get("body") is not None:
        return _object(object_in(request["body"], "body"), "body")
    return request


def _answer(value: object, name: str) -> Mapping[str, Any] | str | None:
    if isinstance(value, str):
        value = events_in(value) if is_event_stream(value) else answer_in(value, name)
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        if all("role" in one and "content" in one for one in value):
            return {"output": value}
        return assembled(value)
    if value is not None and not isinstance(value, Mapping | str):
        raise RowError(f"{name} must be an object or text (got {shown(value)})")
    return value


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    name = next((name for name in names if row.get(name) is not None), names[0])
    return name, row.get(name)


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RowError(f"{name} must be an object (got {shown(value)})")
    return value
