"""Gemini CLI chats: a JSON document of messages, or JSON lines that tell them one by one.

    {"sessionId": "s", "projectHash": "ab12", "startTime": "2026-01-01T00:00:00.000Z", "messages": [
     {"id": "1", "timestamp": "2026-01-01T00:00:01.000Z", "type": "user", "content": "Fix it"},
     {"id": "2", "timestamp": "2026-01-01T00:00:04.000Z", "type": "gemini", "content": "Done",
      "model": "m", "tokens": {"input": 9000, "output": 40, "cached": 5000, "thoughts": 60,
      "tool": 0, "total": 9100}}]}

They lie in `~/.gemini/tmp/PROJECT/chats`. A message of type gemini is a call of the model. In
lines, one with the id of an earlier one takes its place, and `{"$rewindTo": id}` takes back that
one and all behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.agent_prompts import CALL, AgentCall, agent_trace, time_of
from replay.trace.readers.api_usage import Usage, checked, tokens_in
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import ANYTHING, TEXT, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import writable

_SHAPES = (
    RowShape(
        (
            key("sessionId", kind=TEXT),
            key("startTime", kind=TEXT),
            key("projectHash", "kind", "messages", kind=ANYTHING),
        )
    ),
)
_ANSWER = "gemini"
_REWIND = "$rewindTo"
_ASIDE = ("info", "error", "warning")


def looks_like_gemini_cli(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a chat of Gemini CLI."""
    return fits_any(head, _SHAPES)


def read_gemini_cli(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a chat, a request for each call of the model.

    Raises TraceError that numbers each message that breaks the format, where more do than the
    options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = _messages_as_lines(as_lines(source, problems), problems)
    chat = _Chat()
    for line, row in walk_objects(source.data, problems):
        try:
            chat.take(line, row)
        except RowError as error:
            problems.add(str(error), line=line)
        except RecursionError:
            problems.add("nested too deeply", line=line)
    return agent_trace(
        chat.calls,
        source,
        options,
        problems,
        format_name="gemini-cli",
        read=len(chat.calls) + problems.total,
        notes=chat.notes(),
    )


def _messages_as_lines(source: Source, problems: ProblemList) -> Source:
    """Return a source of one message a line, after what the document says of the session."""
    first = next(walk_objects(source.data.split(b"\n", 1)[0], ProblemList(source.path)), None)
    if first is None or "messages" not in first[1]:
        return source
    document = first[1]
    messages = document.pop("messages")
    if not isinstance(messages, list):
        problems.add(f"messages must be a list (got {shown(messages)})")
        problems.raise_any()
        return source
    problems.hint("line numbers count the messages of the document, after its own first line")
    text = "\n".join(json.dumps(one) for one in (document, *messages))
    return replace(source, data=text.encode())


@dataclass(slots=True)
class _Chat:
    """Goes through the messages of a chat and makes a call of each that the model answered."""

    calls: list[AgentCall] = field(default_factory=list)
    session: str = ""
    project: str = ""
    agent: str = "main"
    rewound: int = 0
    others: int = 0
    said: list[str] = field(default_factory=list)
    asked_ns: int | None = None
    _after: int | None = None
    _before: dict[str, tuple[int | None, list[str], int | None]] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)

    def take(self, line: int, row: Mapping[str, Any]) -> None:
        """Take one message; raises RowError for what is wrong with it."""
        if not self.session:
            self._start(row)
        elif _REWIND in row:
            self._rewind(row[_REWIND])
        elif row.get("type") == _ANSWER:
            self._answer(line, row)
        elif row.get("type") == "user":
            self._remember(row)
            self.said.append(_text_of(row.get("content")))
            self.asked_ns = time_of(row)
        elif row.get("tokens") is not None and self._is_known(row.get("id")):
            self._answer(line, row)  # an update of the counts alone
        else:
            self.others += "$set" not in row and row.get("type") not in _ASIDE

    def _is_known(self, name: object) -> bool:
        return isinstance(name, str) and name in self._places

    def notes(self) -> list[str]:
        """Return what is to be known of the calls."""
        found = []
        if self.rewound:
            found.append(f"chats were rewound {self.rewound:,} times, to go on from earlier calls")
        if self.others:
            found.append(f"{self.others:,} lines of kinds that are no messages were passed over")
        return found

    def _start(self, row: Mapping[str, Any]) -> None:
        session = row.get("sessionId")
        if not isinstance(session, str) or not session:
            raise RowError(f"sessionId must be text (got {shown(session)})")
        self.session = writable(session) or session
        project, kind = row.get("projectHash"), row.get("kind")
        self.project = writable(project) or "" if isinstance(project, str) else ""
        self.agent = writable(kind) or "main" if isinstance(kind, str) else "main"

    def _remember(self, row: Mapping[str, Any]) -> None:
        name = row.get("id")
        if isinstance(name, str):
            self._before.setdefault(name, (self._after, list(self.said), self.asked_ns))

    def _rewind(self, name: object) -> None:
        before = self._before.get(name) if isinstance(name, str) else None
        if before is None:
            raise RowError(f"{_REWIND} must be the id of an earlier message (got {shown(name)})")
        self._after, said, self.asked_ns = before
        self.said = list(said)
        self.rewound += 1

    def _answer(self, line: int, row: Mapping[str, Any]) -> None:
        tokens, name = row.get("tokens"), row.get("id")
        if tokens is not None and not isinstance(tokens, Mapping):
            raise RowError(f"tokens must be an object (got {shown(tokens)})")
        if not isinstance(name, str) or not name:
            raise RowError(f"id must be text (got {shown(name)})")
        if name in self._places and tokens is not None:
            place = self._places[name]
            self.calls[place] = replace(self.calls[place], usage=_usage(tokens))
            return
        time_ns = time_of(row)
        self._remember(row)
        if tokens is not None:  # else it is told again when it is complete
            usage, place = _usage(tokens), len(self.calls)
            self.calls.append(self._call(line, row, usage, time_ns, f"{self.session}:{name}"))
            self.said, self.asked_ns = [], None
            self._after = self._places[name] = place
        self._add_results(row, time_ns)

    def _call(
        self, line: int, row: Mapping[str, Any], usage: Usage, time_ns: int, name: str
    ) -> AgentCall:
        model = row.get("model")
        model = writable(model) or "" if isinstance(model, str) else ""
        arrival = time_ns if self.asked_ns is None else min(self.asked_ns, time_ns)
        return AgentCall(
            line=line,
            arrival_ns=arrival,
            session=self.session,
            name=writable(name) or name,
            start=(model, self.project, self.agent),
            usage=usage,
            added="\n".join(self.said).strip(),
            after=self._after,
            goes_on=self._after is not None,
            other={"model": model or None, "agent": self.agent, "folder": self.project or None},
        )

    def _add_results(self, row: Mapping[str, Any], time_ns: int) -> None:
        """Add what tools answered to a call, which the next prompt holds."""
        calls = row.get("toolCalls")
        if not isinstance(calls, list) or not calls:
            return
        self.said = []
        for call in calls:
            if isinstance(call, Mapping) and call.get("result") is not None:
                self.said.append(json.dumps(call["result"]))
        times = [
            time_of(call) for call in calls if isinstance(call, Mapping) and "timestamp" in call
        ]
        self.asked_ns = max([time_ns, *times])


def _usage(tokens: Mapping[str, Any]) -> Usage:
    """Return the counts of a message: what tools put into the prompt, and thoughts, come on top."""
    prompt, tool = tokens_in(tokens, "input"), tokens_in(tokens, "tool")
    answer, thoughts = tokens_in(tokens, "output"), tokens_in(tokens, "thoughts")
    return checked(
        Usage(
            input_tokens=None if prompt is None else prompt + (tool or 0),
            hit_tokens=tokens_in(tokens, "cached"),
            output_tokens=None if answer is None else answer + (thoughts or 0),
        )
    )


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise RowError(f"content must be text or a list of parts (got {shown(content)})")
    return "".join(
        part if isinstance(part, str) else str(part.get("text") or "")
        for part in content
        if isinstance(part, str | Mapping)
    )


GEMINI_CLI = Reader(
    name="gemini-cli",
    suffixes=(".json", ".jsonl"),
    meaning="JSON or JSON lines: a chat of Gemini CLI, with the tokens counted for each answer",
    content="messages of the chat, in lengths that the provider counted; the start is assumed",
    sessions="sessionId",
    assumes="sessions of one model and folder start alike, as far as cache reads show",
    sniff=looks_like_gemini_cli,
    read=read_gemini_cli,
    takes=("tokenizer",),
    shapes=_SHAPES,
    call_column=CALL,
)
