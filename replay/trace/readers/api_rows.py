"""One row of a log of API calls taken apart: the request, the response, and whether it failed.

Either stands in a key of its own, or both lie in the row itself. The Batch APIs wrap them once
more: OpenAI in `body` and `response.body`, Anthropic in `params` and `result.message`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.api_usage import Usage, usage_of
from replay.trace.readers.chat_messages import RowError

PROMPTS = ("messages", "prompt", "input")
ANSWERS = ("choices", "output", "content", "completion")
_REQUESTS = ("request", "body", "params")
_RESPONSES = ("response", "result")
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
            isinstance(place.get("usage"), Mapping) or any(name in place for name in _COUNTS)
            for place in self._counting()
        )

    def usage(self) -> Usage:
        """Return what the provider counted; raises RowError for what is no count."""
        for place in self._counting():
            if place.get("usage") is not None:
                return usage_of(_object(place["usage"], "usage"))
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
    request = _first(row, _REQUESTS, "an object")
    if isinstance(request, str):
        raise RowError(f"request must be an object (got {shown(request)})")
    request = row if request is None else request
    if request.get("body") is not None and request is not row:
        request = _object(request["body"], "body")
    answer = _first(row, _RESPONSES, "an object or text")
    if answer is None:
        found = ApiRow(row, request, row, {})
        own = found.has_counts or any(row.get(name) is not None for name in ANSWERS)
        return found if own else ApiRow(row, request, None, {})
    if isinstance(answer, str):
        return ApiRow(row, request, answer, {})
    for name in ("body", "message"):
        if isinstance(answer.get(name), Mapping):
            return ApiRow(row, request, answer[name], answer)
    return ApiRow(row, request, answer, answer)


def _first(
    row: Mapping[str, Any], names: tuple[str, ...], wanted: str
) -> Mapping[str, Any] | str | None:
    for name in names:
        value = row.get(name)
        if value is not None:
            if not isinstance(value, Mapping | str):
                raise RowError(f"{name} must be {wanted} (got {shown(value)})")
            return value
    return None


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RowError(f"{name} must be an object (got {shown(value)})")
    return value
