"""Conversations made into requests: one for each answer, its prompt all that was said before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from replay.errors import InputError
from replay.trace.chat_template import ChatTemplate
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.json_lines import walk_objects
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import (
    ASSUMED_TIMES,
    TextRequest,
    assumed_arrival_ns,
    template_of,
    text_trace,
)

ASSISTANT = "assistant"
_CONTEXT = (ASSISTANT, "system")
ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": ASSISTANT, "gpt": ASSISTANT, "chatgpt": ASSISTANT, "bing": ASSISTANT,
    "bard": ASSISTANT, "claude": ASSISTANT, "function_call": ASSISTANT,
    "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
NO_MESSAGES = "a conversation without messages"
TIMES_OF_ANSWERS = "arrivals are the times when answers were complete: the source has no others"


@dataclass(frozen=True, slots=True)
class Said:
    """One message: who said what, on which line, and when it was complete, where that is known."""

    role: str
    content: str
    line: int
    time_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order, under a name; `other` are values of the source for each request."""

    name: str
    messages: Sequence[Said]
    other: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Requests:
    """What conversations became: requests, notes on them, and whether their times are real."""

    requests: list[TextRequest]
    notes: list[str]
    timed: bool


@dataclass(frozen=True, slots=True)
class Talk:
    """What one row of a file says, before it has a name."""

    row: dict[str, object]
    said: list[Said]


Find = Callable[[dict[str, object], int, ProblemList], "list[Said] | None"]


def talks_in(source: Source, problems: ProblemList, find: Find) -> tuple[list[Talk], int]:
    """Return the rows of JSON lines that hold messages, and how many rows there were.

    `find` returns the messages of a row on a line, None where it added a problem. A row without
    messages is put aside.
    """
    talks = []
    rows = told = 0
    for line, row in walk_objects(source.data, problems):
        rows += 1
        before = problems.total
        said = find(row, line, problems)
        told += problems.total - before
        if said == []:
            problems.leave_out(line, NO_MESSAGES)
        elif said is not None:
            talks.append(Talk(row, said))
    return talks, rows + problems.total - told


def conversation_trace(
    conversations: Iterable[Conversation],
    source: Source,
    options: ReadOptions,
    problems: ProblemList,
    *,
    format_name: str,
    read: int,
    notes: Sequence[str] = (),
) -> Trace:
    """Return the trace of these conversations, a request for each answer.

    Raises what `text_trace` raises.
    """
    template = template_of(options)
    made = requests_of(conversations, template, problems)
    return text_trace(
        made.requests,
        source,
        options,
        problems,
        format_name=format_name,
        read=read,
        template=template,
        notes=[*made.notes, *notes],
        clock_start_ns=0 if made.timed else None,
    )


def said_of(
    messages: object, line: int, *, keys: tuple[str, str], problems: ProblemList
) -> list[Said] | None:
    """Return the messages in a list of objects, None where one is faulty; `keys` are role, text.

    Speakers are told as ROLES has them, whatever the case.
    """
    role_key, text_key = keys
    if not isinstance(messages, list):
        problems.add(f"messages must be a list (got {shown(messages)})", line=line)
        return None
    found = []
    for place, message in enumerate(messages):
        fault = _fault(message, role_key, text_key)
        if fault:
            problems.add(f"message {place}: {fault}", line=line)
            return None
        found.append(Said(ROLES[message[role_key].lower()], message[text_key], line))
    return found


def _fault(message: object, role_key: str, text_key: str) -> str | None:
    if not isinstance(message, dict):
        return f"must be an object (got {shown(message)})"
    for key in (role_key, text_key):
        if not isinstance(message.get(key), str):
            return f"{key} must be text (got {shown(message.get(key))})"
    if message[role_key].lower() not in ROLES:
        return f"unknown speaker (got {shown(message[role_key])}); known: {', '.join(ROLES)}"
    return None


def requests_of(
    conversations: Iterable[Conversation], template: ChatTemplate, problems: ProblemList
) -> Requests:
    """Return a request for each answer; what a template refuses is added to `problems`.

    What the assistant says before anyone else is context and no answer, and what it says in a row
    is one answer. A last message without an answer is no request. Times are those of the answers
    where all have one, else assumed.
    """
    drafts: list[tuple[int, int, Conversation, Said, str]] = []
    unanswered = 0
    for number, conversation in enumerate(conversations):
        messages = _joined(conversation.messages)
        unanswered += bool(messages) and messages[-1].role not in _CONTEXT
        turn = 0
        for place, answer in enumerate(messages):
            before = messages[:place]
            if answer.role != ASSISTANT or all(one.role in _CONTEXT for one in before):
                continue
            try:
                prompt = template.render(
                    [{"role": one.role, "content": one.content} for one in before]
                )
            except InputError as error:
                problems.add(error.message, line=answer.line)
                break
            drafts.append((number, turn, conversation, answer, prompt))
            turn += 1
    timed = bool(drafts) and all(answer.time_ns is not None for _, _, _, answer, _ in drafts)
    requests = [
        TextRequest(
            line=answer.line,
            arrival_ns=_arrival_ns(answer, number, turn, timed=timed),
            prompt=prompt,
            response=answer.content,
            session=conversation.name,
            other=conversation.other,
        )
        for number, turn, conversation, answer, prompt in drafts
    ]
    notes = [TIMES_OF_ANSWERS if timed else ASSUMED_TIMES]
    if unanswered:
        notes.append(f"{unanswered:,} conversations end without an answer to their last message")
    return Requests(requests, notes, timed)


def _arrival_ns(answer: Said, number: int, turn: int, *, timed: bool) -> int:
    if timed and answer.time_ns is not None:
        return answer.time_ns
    return assumed_arrival_ns(number, turn)


def _joined(messages: Sequence[Said]) -> list[Said]:
    """Return the messages with those that the assistant says in a row made one."""
    found: list[Said] = []
    for message in messages:
        if found and message.role == ASSISTANT == found[-1].role:
            last = found[-1]
            content = last.content + message.content
            found[-1] = Said(ASSISTANT, content, last.line, message.time_ns)
        else:
            found.append(message)
    return found
