"""What a provider counted for a request: prompt, cached and output tokens.

OpenAI counts all of a prompt in `prompt_tokens` (Responses API: `input_tokens`) and the cached part
of it in `prompt_tokens_details.cached_tokens`. Anthropic's `input_tokens` leaves out what was read
from the cache or written to it: a prompt is the sum of the three
(https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.checked_row import LARGEST_TOKENS

_TOKENS = range(2**31)
_READ, _WRITTEN = "cache_read_input_tokens", "cache_creation_input_tokens"
_WRITTEN_PART = "cache_write_tokens"  # OpenRouter, among the details of a prompt


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them, None where it did not.

    `hit_tokens` of the prompt came from its cache, `written_tokens` of it were written there;
    `hidden_tokens` of the output are reasoning that a response may not show.
    """

    input_tokens: int | None = None
    hit_tokens: int | None = None
    output_tokens: int | None = None
    hidden_tokens: int = 0
    written_tokens: int | None = None

    def columns(self) -> dict[str, object]:
        """Return what is known by the names of columns."""
        named = {
            "recorded_input_tokens": self.input_tokens,
            "recorded_hit_tokens": self.hit_tokens,
            "recorded_cache_write_tokens": self.written_tokens,
            "recorded_output_tokens": self.output_tokens,
        }
        return {name: value for name, value in named.items() if value is not None}


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Return the usage object of an API as tokens; raises RowError for what is no count."""
    details = _details(usage, "prompt_tokens_details", "input_tokens_details")
    written = _details(usage, "completion_tokens_details", "output_tokens_details")
    prompt = tokens_in(usage, "prompt_tokens")
    cached = tokens_in(details, "cached_tokens")
    read, stored = tokens_in(usage, _READ), tokens_in(usage, _WRITTEN)
    if prompt is None and (prompt := tokens_in(usage, "input_tokens")) is not None and not details:
        prompt += (read or 0) + (stored or 0)
    for other in (read, tokens_in(usage, "prompt_cache_hit_tokens")):
        cached = other if cached is None else cached
    output = tokens_in(usage, "completion_tokens")
    return checked(
        Usage(
            prompt,
            cached,
            tokens_in(usage, "output_tokens") if output is None else output,
            tokens_in(written, "reasoning_tokens") or 0,
            tokens_in(details, _WRITTEN_PART) if stored is None else stored,
        )
    )


def checked(usage: Usage) -> Usage:
    """Return the usage; raises RowError for lengths no trace has, and more cached than there is."""
    if usage.output_tokens is not None and usage.output_tokens > LARGEST_TOKENS:
        raise RowError(
            f"output tokens must be at most {LARGEST_TOKENS} (got {usage.output_tokens})"
        )
    if usage.input_tokens is None:
        return usage
    if not 0 <= usage.input_tokens <= LARGEST_TOKENS:
        raise RowError(
            f"input tokens must be between 0 and {LARGEST_TOKENS} (got {usage.input_tokens})"
        )
    if usage.hit_tokens is not None and usage.hit_tokens > usage.input_tokens:
        raise RowError(
            f"cached tokens are more than the prompt has (got {usage.hit_tokens} "
            f"of {usage.input_tokens})"
        )
    return usage


def tokens_in(values: Mapping[str, Any], name: str) -> int | None:
    """Return a count of tokens by its name, None where it is missing or null.

    Raises RowError for what is no integer from 0 to 2^31 - 1.
    """
    value = values.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise RowError(f"{name} must be an integer (got {shown(value)})")
    if value not in _TOKENS:
        raise RowError(f"{name} must be between 0 and 2147483647 (got {shown(value)})")
    return value


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        value = usage.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise RowError(f"{name} must be an object (got {shown(value)})")
        if value:
            return value
    return {}
