"""Logs of OpenAI and Anthropic APIs: JSON lines, a request and its response on each.

    {"timestamp": 1735689600.25, "request": {"model": "m", "messages": [{"role": "user",
     "content": "Hi"}]}, "response": {"choices": [{"message": {"content": "Hello"}}],
     "usage": {"prompt_tokens": 9, "completion_tokens": 1}}}

Read are chat completions, completions, the Responses and the Batch API
(https://platform.openai.com/docs/api-reference) and Anthropic messages, as `request` and `response`
or all in one object. A prompt is its messages as a chat template writes them; what the provider
counted is kept beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from replay.errors import InputError
from replay.trace.chat_template import ChatTemplate
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_rows import ANSWERS, PROMPTS, ApiRow, split_row
from replay.trace.readers.api_usage import tokens_in
from replay.trace.readers.chat_messages import (
    Message,
    RowError,
    joined,
    messages_of,
    shows_reasoning,
    spoken_text,
    tools_of,
)
from replay.trace.readers.first_object import first_object
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.log_keys import LoggedRow, placed
from replay.trace.readers.logged_requests import LoggedRequest, logged_trace
from replay.trace.readers.logged_values import logged_values
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import template_of

_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_TEXT_KEYS = frozenset((*PROMPTS, *ANSWERS, "response", "system", "instructions", "usage"))
_LOST = (
    "requests go on from a response or conversation that the provider kept and the log does not "
    "hold: their prompts lack what came before"
)


def looks_like_openai(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a log of requests and responses."""
    row = first_object(head)
    if row is None:
        return False
    try:
        parts = split_row(row)
    except RowError:
        return False
    if parts.answer is None:  # the input of a batch
        return parts.has_prompt and "custom_id" in row
    if isinstance(parts.answer, str):
        return parts.has_prompt and ("model" in parts.request or parts.has_counts)
    answered = any(name in parts.answer for name in ANSWERS)
    if parts.has_counts:
        return answered or parts.has_prompt or isinstance(row.get("usage"), Mapping)
    return answered and parts.has_prompt and ("model" in parts.request or parts.answer is not row)


def read_openai(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a log of requests and responses: by their text, or lengths alone.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    parser = _Parser(template_of(options))
    rows: list[LoggedRow] = []
    read = told = 0
    for line, row in walk_objects(source.data, problems):
        read += 1
        found, fault = parser.tried(line, row)
        if fault is not None:
            problems.add(fault, line=line)
            told += 1
        elif isinstance(found, str):
            problems.leave_out(line, found)
        elif found is not None:
            rows.append(found)
    read += problems.total - told
    requests, notes, clock_start_ns = placed(rows, problems)
    return logged_trace(
        requests,
        source,
        options,
        problems,
        format_name="openai",
        read=read,
        template=parser.template if parser.templated else None,
        notes=notes + parser.notes(),
        clock_start_ns=clock_start_ns,
    )


@dataclass(slots=True)
class _Parser:
    """Turns rows into requests, and remembers responses that later ones go on from."""

    template: ChatTemplate
    templated: bool = False
    lost: int = 0
    choices: int = 0
    _said: dict[str, list[Message]] = field(default_factory=dict)

    def tried(self, line: int, row: Mapping[str, Any]) -> tuple[LoggedRow | str | None, str | None]:
        """Return the request in a row, or why there is none to replay; or what is wrong with it."""
        try:
            parts = split_row(row)
            return parts.failure() or self._request(line, parts), None
        except RowError as error:
            return None, str(error)
        except InputError as error:  # the template refuses these messages
            return None, error.message
        except RecursionError:
            return None, "nested too deeply"

    def notes(self) -> list[str]:
        """Return what is to be known of the prompts and responses read so far."""
        found = []
        if self.lost:
            found.append(f"{self.lost:,} {_LOST}")
        if self.choices:
            found.append(f"{self.choices:,} responses have several choices; the first is kept")
        return found

    def _request(self, line: int, parts: ApiRow) -> LoggedRow:
        request = parts.request
        answer = {"completion": parts.answer} if isinstance(parts.answer, str) else parts.answer
        answer = answer or {}
        replies = self._replies(answer)
        usage = parts.usage()
        if shows_reasoning(replies):
            usage = replace(usage, hidden_tokens=0)
        limits = [tokens for name in _LIMITS if (tokens := tokens_in(request, name))]
        logged = LoggedRequest(
            line=line,
            arrival_ns=0,
            prompt=self._prompt(request, answer, replies),
            response=spoken_text(replies),
            usage=usage,
            wanted_tokens=limits[0] if limits else None,
            other=logged_values(parts.row, request, answer, left_out=_TEXT_KEYS),
        )
        return LoggedRow(logged, (parts.row, request, answer))

    def _prompt(
        self, request: Mapping[str, Any], answer: Mapping[str, Any], replies: list[Message]
    ) -> str | None:
        if request.get("messages") is not None:
            messages = _system(request, "system") + messages_of(request["messages"], "messages")
        elif request.get("prompt") is not None:
            return _plain(request["prompt"])
        elif request.get("input") is not None:
            messages = self._history(request) + messages_of(request["input"], "input")
            if isinstance(answer.get("id"), str):
                self._said[answer["id"]] = messages + replies
            messages = _system(request, "instructions") + joined(messages)
        else:
            return None
        if not messages:
            raise RowError("there are no messages")
        self.templated = True
        return self.template.render(messages, tools_of(request.get("tools")))

    def _history(self, request: Mapping[str, Any]) -> list[Message]:
        """Return what came before, where the provider keeps it and a request does not repeat it."""
        before = request.get("previous_response_id")
        if isinstance(before, str) and before in self._said:
            return self._said[before]
        self.lost += bool(before or request.get("conversation"))
        return []

    def _replies(self, answer: Mapping[str, Any]) -> list[Message]:
        if answer.get("choices") is not None:
            return self._choice(answer["choices"])
        if answer.get("output") is not None:
            output = answer["output"]
            if isinstance(output, str):
                return [{"role": "assistant", "content": output}]
            return joined(messages_of(output, "output"))
        for name in ("content", "completion"):
            said = answer.get(name)
            if isinstance(said, Mapping):
                return messages_of([{"role": "assistant", **said}], name)
            if said is not None:
                return messages_of([{"role": "assistant", "content": said}], name)
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


def _system(request: Mapping[str, Any], name: str) -> list[Message]:
    told = request.get(name)
    return [] if told is None else messages_of([{"role": "system", "content": told}], name)


def _plain(prompt: object) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise RowError(f"prompt must be one text, no list and no token ids (got {shown(prompt)})")
    return prompt


OPENAI = Reader(
    name="openai",
    suffixes=(".jsonl", ".ndjson", ".json"),
    meaning="JSON lines: requests and responses of OpenAI or Anthropic APIs, or of the Batch API",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="session_id, conversation, user or the like, in the row or its metadata",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_openai,
    read=read_openai,
    takes=("tokenizer", "chat_template"),
)
