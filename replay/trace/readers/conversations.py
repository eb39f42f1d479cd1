"""Conversations made into requests: one for each answer, its prompt all that was said before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from replay.errors import InputError
from replay.trace.chat import Chat, prompt_text, response_text
from replay.trace.chat_template import ChatTemplate
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.chat_messages import RowError, messages_of, tools_of
from replay.trace.readers.json_lines import walk_objects
from replay.trace.readers.json_text import object_in
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import (
    ASSUMED_PACE,
    ASSUMED_TIMES,
    NO_RESPONSE,
    UNDATED_NOTE,
    TextRequest,
    assumed_arrival_ns,
    date_of,
    template_of,
)
from replay.trace.readers.text_trace import text_trace

ASSISTANT = "assistant"
_CONTEXT = (ASSISTANT, "system")
ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": ASSISTANT, "gpt": ASSISTANT, "chatgpt": ASSISTANT, "bing": ASSISTANT,
    "bard": ASSISTANT, "claude": ASSISTANT, "function_call": ASSISTANT,
    "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
_SYSTEM, _TOOLS = ("system", "system_prompt"), "tools"
_READ_BESIDE = (*_SYSTEM, _TOOLS)
_MORE = frozenset(("tool_calls", "function_call", "reasoning_content", "tool_call_id"))
_BESIDE = "conversations have a system prompt in a key of its own, which stands first"
NO_MESSAGES = "a conversation without messages"
NO_ANSWER = "no answer to anything that was asked"
TIMES_OF_ANSWERS = "arrivals are the times when answers were complete: the source has no others"


@dataclass(frozen=True, slots=True)
class Said:
    """One message: who said what, on which line, and when it was complete, where that is known.

    `more` is what else the message has for a template: `tool_calls`, `reasoning_content`, `name`.
    `place` is where it stands in the conversation of its row, -1 for one that stands beside it.
    """

    role: str
    content: str
    line: int
    time_ns: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    place: int = 0

    def message(self) -> dict[str, Any]:
        """Return the message as a template takes it."""
        return {"role": self.role, "content": self.content, **self.more}


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order, under a name, empty where there is none.

    `other` are values of the source for each request, `tools` those that the model may call.
    """

    name: str
    messages: Sequence[Said]
    other: Mapping[str, object] = field(default_factory=dict)
    tools: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Requests:
    """What conversations became: requests, notes on them, and whether their times are real."""

    requests: list[TextRequest]
    notes: list[str]
    timed: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """An answer and what was said before it; `asked_ns` is when the last of that was said."""

    number: int
    turn: int
    conversation: Conversation
    asked_ns: int | None
    answer: Said
    before: Sequence[Said]


@dataclass(frozen=True, slots=True)
class Talk:
    """What one row of a file says, before it has a name."""

    row: dict[str, object]
    said: list[Said]
    tools: list[Any] | None = None


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
            system = next((row[name] for name in _SYSTEM if isinstance(row.get(name), str)), "")
            if system and said[0].role != "system":
                said = [Said("system", str(system), line, place=-1), *said]
            talks.append(Talk(row, said, _tools_beside(row)))
    return talks, rows + problems.total - told


def _tools_beside(row: Mapping[str, object]) -> list[Any] | None:
    """Return the tools that stand beside a conversation, JSON as text too; None for none."""
    try:
        told = object_in(row.get(_TOOLS), _TOOLS)
    except RowError:
        return None
    is_list = isinstance(told, list) and all(isinstance(one, Mapping) for one in told)
    return tools_of(told) if is_list else None


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

    Those without a name and those whose name another had before get one of their own. Raises what
    `text_trace` raises.
    """
    template = template_of(options)
    apart = list(_told_apart(conversations, source))
    beside = sum(one.messages[0].place < 0 for one in apart)
    if beside:
        notes = [*notes, f"{beside:,} {_BESIDE}"]
    made = requests_of(apart, template, problems)
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


def own_name(name: str, line: int, source: Source) -> str:
    """Return a name that no conversation on another line or in another file has."""
    return f"{name} {source.sha256[:8]}:{line}".strip()


def _told_apart(conversations: Iterable[Conversation], source: Source) -> Iterator[Conversation]:
    names: set[str] = set()
    for one in conversations:
        if not one.name or one.name in names:
            one = replace(one, name=own_name(one.name, one.messages[0].line, source))
        names.add(one.name)
        yield one


def plain_values(row: Mapping[str, object], *, but: Sequence[str]) -> dict[str, object]:
    """Return the values of a row that are text, numbers or truths, but those under these keys."""
    return {
        name: value
        for name, value in row.items()
        if name not in but and name not in _READ_BESIDE and isinstance(value, str | int | float)
    }


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
        role = ROLES[message[role_key].lower()]
        if isinstance(message.get(text_key), str) and not _MORE & message.keys():
            found.append(Said(role, message[text_key], line, place=place))
            continue
        try:
            given = messages_of([{**message, "role": role}], "messages")
        except RowError as error:
            problems.add(f"message {place}: {error}", line=line)
            return None
        found += [_said(one, line, place) for one in given]
    return found


def _said(message: Mapping[str, Any], line: int, place: int) -> Said:
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    role = ROLES.get(message["role"], message["role"])
    return Said(role, message["content"], line, more=more, place=place)


def _fault(message: object, role_key: str, text_key: str) -> str | None:
    if not isinstance(message, dict):
        return f"must be an object (got {shown(message)})"
    text = message.get(text_key)
    rich = role_key == "role" and (isinstance(text, list) or bool(_MORE & message.keys()))
    for key in (role_key, text_key):
        if not isinstance(message.get(key), str) and not (key == text_key and rich):
            return f"{key} must be text (got {shown(message.get(key))})"
    if message[role_key].lower() not in ROLES:
        return f"unknown speaker (got {shown(message[role_key])}); known: {', '.join(ROLES)}"
    return None


def requests_of(
    conversations: Iterable[Conversation], template: ChatTemplate, problems: ProblemList
) -> Requests:
    """Return a request for each answer; what a template refuses is added to `problems`.

    What the assistant says before anyone else is context and no answer, and what it says in a row
    is one answer. A last message without an answer is no request, nor is an answer without text; a
    conversation of nothing else is put aside. Times are those of the messages that are answered
    where all have one, else those of the answers where all have one, else assumed.
    """
    drafts: list[_Draft] = []
    unanswered = empty = number = 0
    for conversation in conversations:
        messages = _joined(conversation.messages)
        answers = _answers(messages)
        said = [place for place in answers if messages[place].content or messages[place].more]
        if not said:
            for line in sorted({one.line for one in messages}):
                problems.leave_out(line, NO_RESPONSE if answers else NO_ANSWER)
            continue
        unanswered += messages[-1].role not in _CONTEXT
        empty += len(answers) - len(said)
        for turn, place in enumerate(said):
            asked, answer = messages[place - 1], messages[place]
            before = messages[:place]
            drafts.append(_Draft(number, turn, conversation, asked.time_ns, answer, before))
        number += 1
    arrivals, timed, note = _arrivals(drafts)
    requests = []
    for draft, arrival_ns in zip(drafts, arrivals, strict=True):
        request = _written(draft, arrival_ns, template, problems, dated=timed)
        if request is not None:
            requests.append(request)
    notes = [note] if note else []
    if unanswered:
        notes.append(f"{unanswered:,} conversations end without an answer to their last message")
    if empty:
        notes.append(f"{empty:,} answers without text are no requests")
    if template.asks_date and not timed and drafts:
        notes.append(UNDATED_NOTE)
    return Requests(requests, notes, timed)


def _written(
    draft: _Draft, arrival_ns: int, template: ChatTemplate, problems: ProblemList, *, dated: bool
) -> TextRequest | None:
    """Return a draft as text; what a template refuses is added to `problems`."""
    said = [one.message() for one in draft.before]
    chat = Chat(said, [draft.answer.message()], draft.conversation.tools)
    now = date_of(arrival_ns, dated=dated)
    try:
        prompt = prompt_text(template, chat, now)
        response = response_text(template, chat, prompt, now)
    except InputError as error:
        problems.add(error.message, line=draft.answer.line)
        return None
    return TextRequest(
        line=draft.answer.line,
        arrival_ns=arrival_ns,
        prompt=prompt,
        response=response,
        session=draft.conversation.name,
        other=draft.conversation.other,
    )


def _answers(messages: Sequence[Said]) -> list[int]:
    """Return where the assistant answers: after anyone has said anything but context."""
    start = next((at for at, one in enumerate(messages) if one.role not in _CONTEXT), len(messages))
    return [at for at in range(start, len(messages)) if messages[at].role == ASSISTANT]


def _arrivals(drafts: Sequence[_Draft]) -> tuple[list[int], bool, str]:
    """Return when each arrives, whether these are times of the source, and the note on them."""
    asked = [draft.asked_ns for draft in drafts if draft.asked_ns is not None]
    answered = [draft.answer.time_ns for draft in drafts if draft.answer.time_ns is not None]
    if drafts and len(asked) == len(drafts):
        return asked, True, ""
    if drafts and len(answered) == len(drafts):
        return answered, True, TIMES_OF_ANSWERS
    assumed = [assumed_arrival_ns(draft.number, draft.turn) for draft in drafts]
    if not answered:
        return assumed, False, ASSUMED_TIMES
    missing = len(drafts) - len(answered)
    note = f"{missing:,} of {len(drafts):,} answers have no time; assumed for all: {ASSUMED_PACE}"
    return assumed, False, note


def _joined(messages: Sequence[Said]) -> list[Said]:
    """Return the messages with those that the assistant says in a row made one."""
    found: list[Said] = []
    for message in messages:
        if found and message.role == ASSISTANT == found[-1].role:
            last = found[-1]
            content = last.content + message.content
            calls = [*last.more.get("tool_calls", ()), *message.more.get("tool_calls", ())]
            more = {**message.more, **last.more, **({"tool_calls": calls} if calls else {})}
            found[-1] = Said(ASSISTANT, content, last.line, message.time_ns, more, last.place)
        else:
            found.append(message)
    return found
