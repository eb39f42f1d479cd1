"""OpenCode sessions, as `opencode export` writes them: one JSON document.

    {"info": {"id": "ses_1", "directory": "/code", "version": "1.0.1"}, "messages": [
     {"info": {"id": "msg_1", "role": "user", "time": {"created": 1767225600000}},
      "parts": [{"type": "text", "text": "Fix it"}]},
     {"info": {"id": "msg_2", "role": "assistant", "modelID": "m", "time": {"created":
      1767225601000, "completed": 1767225609000}}, "parts": [{"type": "step-finish", "tokens":
      {"input": 4, "output": 30, "reasoning": 10, "cache": {"read": 15000, "write": 1000}}}]}]}

(https://opencode.ai). A message of the assistant holds one or more steps, each a call of the model,
which ends in a part step-finish; the counts are apart from each other. Times are milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.agent_prompts import CALL, AgentCall, agent_trace
from replay.trace.readers.api_logs import count_in, first, mapping_in, time_in
from replay.trace.readers.api_usage import Usage, checked, tokens_in
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.head import head_rows
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import OBJECT, OBJECTS, RowShape, key
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import writable

_SHAPE = RowShape((key("info", kind=OBJECT), key("messages", kind=OBJECTS)))


def looks_like_opencode(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an exported session."""
    for row in head_rows(head):
        messages = row.get("messages")
        if _SHAPE.has(row) and isinstance(messages, list) and messages:
            return "info" in messages[0] and "parts" in messages[0]
    return False


def read_opencode(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of exported sessions, a request for each step of the assistant.

    Raises TraceError that numbers each message that breaks the format, where more do than the
    options allow.
    """
    source, sessions = _messages_as_lines(source)
    problems = ProblemList(source.path, allowed=options.max_rejected)
    problems.hint("line numbers count the messages of the file")
    calls: list[AgentCall] = []
    for session in sessions:
        session.place = len(calls)
        for line, message in session.messages:
            try:
                session.take(line, message)
            except RowError as error:
                problems.add(str(error), line=line)
            except RecursionError:
                problems.add("nested too deeply", line=line)
        calls += session.calls
    read = len(calls) + problems.total
    return agent_trace(calls, source, options, problems, format_name="opencode", read=read)


def _messages_as_lines(source: Source) -> tuple[Source, list[_Session]]:
    """Return the sessions of a file, and a source of one message a line."""
    problems = ProblemList(source.path)
    source = as_lines(source, problems)
    lines: list[str] = []
    sessions: list[_Session] = []
    for line, document in walk_objects(source.data, problems):
        info, messages = document.get("info"), document.get("messages")
        if not isinstance(info, Mapping) or not isinstance(info.get("id"), str):
            problems.add(f"info must be of a session, with its id (got {shown(info)})", line=line)
        elif not isinstance(messages, list):
            problems.add(f"messages must be a list (got {shown(messages)})", line=line)
        else:
            numbered = list(enumerate(messages, start=len(lines) + 1))
            sessions.append(_Session(info, numbered))
            lines += [json.dumps(message) for message in messages]
    problems.raise_any()
    return replace(source, data="\n".join(lines).encode()), sessions


@dataclass(slots=True)
class _Session:
    """Goes through the messages of a session; `place` is that of its first call in the file."""

    info: Mapping[str, Any]
    messages: list[tuple[int, Any]]
    place: int = 0
    calls: list[AgentCall] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    asked_ns: int | None = None
    anew: bool = False

    def take(self, line: int, message: object) -> None:
        """Take one message; raises RowError for what is wrong with it."""
        if not isinstance(message, Mapping):
            raise RowError(f"a message must be an object (got {shown(message)})")
        info, parts = mapping_in(message, "info"), message.get("parts")
        if not isinstance(parts, list) or not all(isinstance(one, Mapping) for one in parts):
            raise RowError(f"parts must be a list of objects (got {shown(parts)})")
        created_ns = time_in(mapping_in(info, "time"), "created", needed=True)
        if info.get("role") != "assistant":
            self.anew |= any(part.get("type") == "compaction" for part in parts)
            self.said += [_text(part) for part in parts]
            self.asked_ns = created_ns
            return
        if self.asked_ns is None:
            self.asked_ns = created_ns
        for place, part in enumerate(parts):
            kind = part.get("type")
            if kind == "step-finish":
                self._step(line, info, part, place)
            elif kind == "tool":
                state = mapping_in(part, "state")
                self.said.append(_text({"text": first(state, "output", "error")}))
                ended = time_in(mapping_in(state, "time"), "end")
                self.asked_ns = max(self.asked_ns or 0, ended or 0)
        self.anew |= info.get("summary") is True

    def _step(
        self, line: int, info: Mapping[str, Any], part: Mapping[str, Any], place: int
    ) -> None:
        number = len(self.calls)
        kept = {
            "model": info.get("modelID"),
            "agent_version": self.info.get("version"),
            "folder": self.info.get("directory"),
            "agent": info.get("mode", info.get("agent")),
        }
        named = {name: writable(one) for name, one in kept.items() if isinstance(one, str)}
        session = str(writable(self.info["id"]))
        call = AgentCall(
            line=line,
            arrival_ns=self.asked_ns or 0,
            session=session,
            name=f"{session}:{info.get('id')}:{place}",
            start=tuple(named.get(name) or "" for name in kept),
            usage=_usage(mapping_in(part, "tokens")),
            added="\n".join(self.said).strip(),
            other=dict(named),
        )
        if number:
            call = replace(call, after=self.place + number - 1, goes_on=not self.anew)
        self.calls.append(call)
        self.said, self.anew = [], False


def _text(part: Mapping[str, Any]) -> str:
    return part["text"] if isinstance(part.get("text"), str) else ""


def _usage(tokens: Mapping[str, Any]) -> Usage:
    cache = mapping_in(tokens, "cache")
    counts = {
        **{name: count_in(tokens, name) for name in ("input", "output", "reasoning")},
        **{f"cache.{name}": count_in(cache, name) for name in ("read", "write")},
    }
    asked, given, thoughts, read, written = (tokens_in(counts, name) for name in counts)
    if asked is not None:
        asked += (read or 0) + (written or 0)
    if given is not None:
        given += thoughts or 0
    return checked(Usage(asked, read, given, written_tokens=written))


OPENCODE = Reader(
    name="opencode",
    suffixes=(".json",),
    meaning="JSON: a session that OpenCode exports, with the tokens counted for each step",
    content="messages of the session, in lengths that the provider counted; the start is assumed",
    sessions="the session",
    assumes="sessions of one version, model, agent and folder start alike, as far as reads show",
    sniff=looks_like_opencode,
    read=read_opencode,
    takes=("tokenizer",),
    shapes=(_SHAPE,),
    call_column=CALL,
)
