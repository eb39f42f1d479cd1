"""What rows of a log of API calls asked and what was answered, as requests to replay.

Chat completions, completions, the Responses API and Anthropic messages are told apart by their
keys. What an API keeps between calls is remembered: a response that a later request goes on from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from replay.trace.chat import Chat
from replay.trace.problems import shown
from replay.trace.readers.api_rows import ANSWERS, PROMPTS, WRAPPINGS, ApiRow
from replay.trace.readers.api_usage import tokens_in
from replay.trace.readers.chat_messages import (
    Message,
    RowError,
    hides_reasoning,
    joined,
    messages_of,
    shows_reasoning,
    spoken_text,
    tools_of,
)
from replay.trace.readers.checked_row import LARGEST_TOKENS
from replay.trace.readers.json_text import messages_in, object_in
from replay.trace.readers.log_keys import LoggedRow
from replay.trace.readers.logged_requests import LoggedRequest
from replay.trace.readers.logged_values import logged_values

_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_NOT_KEPT = frozenset((*PROMPTS, *ANSWERS, *WRAPPINGS, "system", "instructions", "usage", "tools"))
_GOES_ON = ("prefix", "partial")  # of a last message: Mistral and DeepSeek; Moonshot and Qwen
_TEMPLATE_KEYS = (
    "documents", "enable_thinking", "reasoning_effort", "continue_final_message",
    "add_generation_prompt",
)  # fmt: skip
_BESIDE = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "tool_calls")
_LOST = (
    "requests go on from a response or conversation that the provider kept and the log does not "
    "hold: their prompts lack what came before"
)


@dataclass(slots=True)
class ApiChats:
    """Turns the rows of one log into requests, in order."""

    lost: int = 0
    choices: int = 0
    _said: dict[str, list[Message]] = field(default_factory=dict)

    def request(self, line: int, parts: ApiRow) -> LoggedRow:
        """Return the request in a row; raises RowError for what breaks the format."""
        request = parts.request
        answer = {"completion": parts.answer} if isinstance(parts.answer, str) else parts.answer
        answer = answer or {}
        replies = self._replies(answer)
        usage = parts.usage()
        if shows_reasoning(replies):
            usage = replace(usage, hidden_tokens=0)
        elif hides_reasoning(replies):
            usage = replace(usage, hidden_tokens=max(1, usage.hidden_tokens))
        limits = [tokens for name in _LIMITS if (tokens := tokens_in(request, name))]
        if limits and parts.answer is None and limits[0] > LARGEST_TOKENS:  # may be its length
            raise RowError(f"a response may have {LARGEST_TOKENS} tokens at most (got {limits[0]})")
        asked = self._asked(request, answer, replies)
        logged = LoggedRequest(
            line=line,
            arrival_ns=0,
            prompt=asked if isinstance(asked, str) else None,
            response=spoken_text(replies),
            chat=asked if isinstance(asked, Chat) else None,
            usage=usage,
            wanted_tokens=limits[0] if limits else None,
            other=logged_values(parts.row, request, answer, left_out=_NOT_KEPT),
        )
        return LoggedRow(logged, (parts.row, request, answer))

    def notes(self) -> list[str]:
        """Return what is to be known of the prompts and responses read so far."""
        found = []
        if self.lost:
            found.append(f"{self.lost:,} {_LOST}")
        if self.choices:
            found.append(f"{self.choices:,} responses have several choices; the first is kept")
        return found

    def _asked(
        self, request: Mapping[str, Any], answer: Mapping[str, Any], replies: list[Message]
    ) -> Chat | str | None:
        messages = _messages_key(request, "messages")
        prompt = _messages_key(request, "prompt")
        if messages is not None:
            asked = _system(request, "system") + messages_of(messages, "messages")
        elif prompt is not None and not _is_chat(prompt):
            return _plain(request["prompt"])
        elif prompt is not None:
            asked = messages_of(prompt, "prompt")
        elif (given := _messages_key(request, "input")) is not None:
            asked = self._history(request) + messages_of(given, "input")
            if isinstance(answer.get("id"), str):
                self._said[answer["id"]] = asked + replies
            asked = _system(request, "instructions") + joined(asked)
        else:
            return None
        if not asked:
            raise RowError("there are no messages")
        settings = settings_of(request)
        goes_on = _goes_on(request, answer, asked, settings)
        asked = joined(asked) if goes_on else asked
        tools = tools_of(object_in(request.get("tools"), "tools"))
        return Chat(asked, replies, tools, settings, goes_on)

    def _history(self, request: Mapping[str, Any]) -> list[Message]:
        """Return what came before, where the provider keeps it and a request does not repeat it."""
        before = request.get("previous_response_id")
        if isinstance(before, str) and before in self._said:
            return self._said[before]
        self.lost += bool(before or request.get("conversation"))
        return []

    def _replies(self, answer: Mapping[str, Any]) -> list[Message]:
        if answer.get("choices") is not None:
            return self._choice(object_in(answer["choices"], "choices"))
        for name in ("output", "content", "completion"):
            said = answer.get(name)
            if isinstance(said, list) and name == "output":
                return joined(messages_of(said, name))
            if isinstance(said, Mapping):
                return messages_of([{"role": "assistant", **said}], name)
            if said is not None:
                beside = {key: answer[key] for key in _BESIDE if key in answer}
                return messages_of([{"role": "assistant", "content": said, **beside}], name)
        return []

    def _choice(self, choices: object) -> list[Message]:
        if not isinstance(choices, list) or not all(isinstance(one, Mapping) for one in choices):
            raise RowError(f"choices must be a list of objects (got {shown(choices)})")
        self.choices += len(choices) > 1
        if not choices:
            return []
        message = choices[0].get("message", {"content": choices[0].get("text")})
        if not isinstance(message, Mapping):
            raise RowError(f"message must be an object (got {shown(message)})")
        return messages_of([{"role": "assistant", **message}], "choices")


def settings_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request hands to the chat template beside its messages and tools.

    It stands in `chat_template_kwargs`, also within `extra_body`, and in keys of the request that
    servers hand on (`enable_thinking`, `reasoning_effort` and the like).
    """
    found: dict[str, Any] = {}
    extra = object_in(request.get("extra_body"), "extra_body")
    for place in (request, extra if isinstance(extra, Mapping) else {}):
        found |= {key: place[key] for key in _TEMPLATE_KEYS if place.get(key) is not None}
        reasoning = place.get("reasoning")
        if isinstance(reasoning, Mapping) and reasoning.get("effort") is not None:
            found.setdefault("reasoning_effort", reasoning["effort"])
        given = object_in(place.get("chat_template_kwargs"), "chat_template_kwargs")
        if given is not None and not isinstance(given, Mapping):
            raise RowError(f"chat_template_kwargs must be an object (got {shown(given)})")
        found |= given or {}
    return found


def _goes_on(
    request: Mapping[str, Any],
    answer: Mapping[str, Any],
    messages: Sequence[Message],
    settings: Mapping[str, Any],
) -> bool:
    """Return whether the assistant goes on from the last message instead of beginning one.

    So Anthropic's API does where that message is the assistant's own; elsewhere a request says so.
    """
    last = messages[-1]
    if last["role"] != "assistant" or not last["content"].strip():
        return False
    if settings.get("continue_final_message") is True:
        return True
    entries = object_in(request.get("messages"), "messages")
    final = entries[-1] if isinstance(entries, list) and entries else {}
    if any(isinstance(final, Mapping) and final.get(key) is True for key in _GOES_ON):
        return True
    return "choices" not in answer and (
        isinstance(answer.get("content"), list) or "anthropic_version" in request
    )


def _messages_key(request: Mapping[str, Any], name: str) -> Any:
    value = request.get(name)
    if not isinstance(value, str):
        return value
    return object_in(value, name) if name == "messages" else messages_in(value, name)


def _is_chat(prompt: object) -> bool:
    return (
        isinstance(prompt, list)
        and bool(prompt)
        and all(isinstance(one, Mapping) and "role" in one for one in prompt)
    )


def _system(request: Mapping[str, Any], name: str) -> list[Message]:
    told = request.get(name)
    return [] if told is None else messages_of([{"role": "system", "content": told}], name)


def _plain(prompt: object) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise RowError(f"prompt must be one text, no list and no token ids (got {shown(prompt)})")
    return prompt
