"""Claude Code session logs: JSON lines, one message or part of one each, with the usage counted.

    {"type": "user", "uuid": "u1", "parentUuid": null, "sessionId": "s1", "version": "2.0.1",
     "cwd": "/code", "timestamp": "2026-01-01T00:00:00.000Z",
     "message": {"role": "user", "content": "Fix it"}}
    {"type": "assistant", "uuid": "u2", "parentUuid": "u1", "sessionId": "s1", "requestId": "req_1",
     "timestamp": "2026-01-01T00:00:04.000Z", "message": {"id": "msg_1", "role": "assistant",
     "model": "m", "content": [{"type": "text", "text": "Ok"}], "usage": {"input_tokens": 4,
     "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 15000, "output_tokens": 33}}}

They lie in `~/.claude/projects/FOLDER/SESSION.jsonl`. One call of the model is written as a line a
block of its answer, all with one message id; the last line has the final usage. Lines are chained
by `parentUuid`: through it a call is known to go on from an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.agent_prompts import CALL, AgentCall, agent_trace, time_of
from replay.trace.readers.api_usage import Usage, usage_of
from replay.trace.readers.chat_messages import RowError, messages_of, spoken_text
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import OBJECT, TEXT, RowShape, fits_any, key, one_of
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import writable

_SYNTHETIC = "<synthetic>"
_SAYING = ("user", "attachment")
_BOUNDARY = "compact_boundary"
_CUT = "calls follow messages that the file does not hold; what they share with the call before"
_SHAPES = (
    RowShape(
        (
            key("type", kind=TEXT),
            key("uuid", kind=TEXT),
            key("sessionId", kind=TEXT),
            key("timestamp", kind=TEXT),
            key("message", kind=OBJECT, optional=True),
        )
    ),
    # Lines that are no messages; a log may have no others.
    RowShape((key("type", kind=one_of("summary")), key("leafUuid", kind=TEXT))),
    RowShape((key("type", kind=one_of("file-history-snapshot")), key("messageId", kind=TEXT))),
)


def looks_like_claude_code(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a Claude Code session log."""
    return fits_any(head, _SHAPES)


def read_claude_code(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a session log, a request for each call of the model.

    Raises TraceError that names the line of each call that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    log = _Log(problems)
    for line, row in walk_objects(source.data, problems):
        log.take(line, row)
    calls = log.calls()
    return agent_trace(
        calls,
        source,
        options,
        problems,
        format_name="claude-code",
        read=len(log.answers) + problems.total,
        notes=log.notes(),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """One line that others may follow: `says` is its text where it goes into a prompt."""

    parent: str | None
    kind: str
    time_ns: int | None
    says: str
    answer: int | None = None
    boundary: bool = False


@dataclass(slots=True)
class _Answer:
    """The lines of one call: the first one's parent is what it answers."""

    line: int
    uuid: str
    parent: str | None
    first_ns: int
    last_ns: int
    usage: Usage
    row: Mapping[str, Any]
    replied_ns: int = 0  # when the last direct reply to it was there


@dataclass(slots=True)
class _Log:
    """Gathers lines and answers; turns them into calls when all are there."""

    problems: ProblemList
    answers: list[_Answer] = field(default_factory=list)
    cut: int = 0
    sidechains: int = 0
    _lines: dict[str, _Line] = field(default_factory=dict)
    _by_name: dict[str, int] = field(default_factory=dict)
    _roots: dict[str, str] = field(default_factory=dict)

    def take(self, line: int, row: Mapping[str, Any]) -> None:
        """Add one line of the log; what is wrong with it goes to the problems."""
        try:
            self._take(line, row)
        except RowError as error:
            self.problems.add(str(error), line=line)
        except RecursionError:
            self.problems.add("nested too deeply", line=line)

    def _take(self, line: int, row: Mapping[str, Any]) -> None:
        uuid, kind = row.get("uuid"), row.get("type")
        if not isinstance(uuid, str):
            if kind == "assistant":
                raise RowError(f"uuid must be text (got {shown(uuid)})")
            return
        parent = row.get("parentUuid")
        if parent is not None and not isinstance(parent, str):
            raise RowError(f"parentUuid must be text or null (got {shown(parent)})")
        answer = self._answered(line, row, uuid, parent) if kind == "assistant" else None
        time_ns = time_of(row) if kind in (*_SAYING, "assistant") else None
        if kind == "user" and parent in self._lines:
            before = self._lines[parent].answer
            if before is not None and time_ns is not None:
                known = self.answers[before]
                known.replied_ns = max(known.replied_ns, time_ns)
        self._lines[uuid] = _Line(
            parent=parent,
            kind=kind if isinstance(kind, str) else "",
            time_ns=time_ns,
            says=_says(row) if kind in _SAYING else "",
            answer=answer,
            boundary=row.get("subtype") == _BOUNDARY,
        )

    def _answered(
        self, line: int, row: Mapping[str, Any], uuid: str, parent: str | None
    ) -> int | None:
        """Return the place of the call that this line is of, None for a message of no call."""
        message = row.get("message")
        if not isinstance(message, Mapping):
            raise RowError(f"message must be an object (got {shown(message)})")
        if row.get("isApiErrorMessage") or message.get("model") == _SYNTHETIC:
            self.problems.leave_out(line, "a failed request: the client answered for the model")
            return None
        session = row.get("sessionId")
        if not isinstance(session, str) or not session:
            raise RowError(f"sessionId must be text (got {shown(session)})")
        counted = message.get("usage")
        if not isinstance(counted, Mapping):
            raise RowError(f"message.usage must be an object (got {shown(counted)})")
        usage, time_ns = usage_of(counted), time_of(row)
        name = _call_name(message, row, uuid)
        place = self._by_name.get(name)
        if place is None:
            self._by_name[name] = len(self.answers)
            self.answers.append(_Answer(line, uuid, parent, time_ns, time_ns, usage, row))
            return len(self.answers) - 1
        known = self.answers[place]
        known.last_ns = max(known.last_ns, time_ns)
        if (usage.output_tokens or 0) >= (known.usage.output_tokens or 0):
            known.usage = usage
        return place

    def calls(self) -> list[AgentCall]:
        """Return the calls in order of their first lines."""
        found: list[AgentCall] = []
        last: dict[str, int] = {}
        for place, answer in enumerate(self.answers):
            session = self._session(answer)
            call = self._call(answer, session, last.get(session))
            if call.after is None and session in last:
                call = replace(call, after=last[session])
            last[session] = place
            found.append(call)
        return found

    def _call(self, answer: _Answer, session: str, before: int | None) -> AgentCall:
        said: list[str] = []
        after: int | None = None
        asked_ns: int | None = None
        at, seen = answer.parent, {answer.uuid}
        goes_on = False
        while at is not None and at not in seen:
            seen.add(at)
            line = self._lines.get(at)
            if line is None or line.boundary:
                self.cut += line is None and before is not None
                break
            if line.answer is not None and self.answers[line.answer].line < answer.line:
                after, goes_on = line.answer, True
                break
            if asked_ns is None:
                asked_ns = line.time_ns
            said.append(line.says)
            at = line.parent
        if after is not None:
            asked_ns = max(asked_ns or 0, self.answers[after].replied_ns)
        arrival = min(asked_ns or answer.first_ns, answer.first_ns)
        row, message = answer.row, answer.row["message"]
        kept = {
            "model": message.get("model"),
            "agent_version": row.get("version"),
            "folder": row.get("cwd"),
            "agent": "sidechain" if row.get("isSidechain") is True else "main",
        }
        named = {key: writable(name) for key, name in kept.items() if isinstance(name, str)}
        return AgentCall(
            line=answer.line,
            arrival_ns=arrival,
            session=session,
            name=_call_name(message, row, answer.uuid),
            start=tuple(named.get(key) or "" for key in kept),
            usage=answer.usage,
            added="\n".join(reversed(said)).strip(),
            after=after,
            goes_on=goes_on,
            other={**named, "recorded_e2e_ns": answer.last_ns - arrival},
        )

    def _session(self, answer: _Answer) -> str:
        """Return the session, with the sub-agent where it is one: its name, or its first line."""
        session = writable(answer.row["sessionId"]) or ""
        if answer.row.get("isSidechain") is not True:
            return session
        self.sidechains += 1
        agent = answer.row.get("agentId")
        agent = agent if isinstance(agent, str) else self._root(answer.uuid)
        return f"{session}/{writable(agent)}"

    def _root(self, uuid: str) -> str:
        """Return the first line of the chain that a line is in."""
        way: list[str] = []
        known: set[str] = set()
        at = uuid
        while at not in self._roots and at in self._lines and at not in known:
            way.append(at)
            known.add(at)
            parent = self._lines[at].parent
            if parent is None or parent not in self._lines:
                break
            at = parent
        root = self._roots.get(at, at)
        self._roots.update(dict.fromkeys(way, root))
        return root

    def notes(self) -> list[str]:
        """Return what is to be known of the calls."""
        found = []
        if self.sidechains:
            found.append(f"{self.sidechains:,} calls are of sub-agents, each a session of its own")
        if self.cut:
            found.append(f"{self.cut:,} {_CUT} is what the provider read from its cache")
        return found


def _call_name(message: Mapping[str, Any], row: Mapping[str, Any], uuid: str) -> str:
    for name in (message.get("id"), row.get("requestId")):
        if isinstance(name, str) and name:
            return writable(name) or uuid
    return uuid


def _says(row: Mapping[str, Any]) -> str:
    """Return the text that a line brings into the next prompt."""
    message = row.get("message")
    if isinstance(message, Mapping):
        return spoken_text(messages_of([{"role": "user", **message}], "message"))
    told = row.get("attachment")
    if isinstance(told, Mapping):
        told = told.get("content", told.get("prompt"))
    return told if isinstance(told, str) else ""


CLAUDE_CODE = Reader(
    name="claude-code",
    suffixes=(".jsonl",),
    meaning="JSON lines: a session of Claude Code as its client logs it, with the usage counted",
    content="messages of the log, in lengths that the provider counted; the start is assumed",
    sessions="sessionId; each sub-agent is one of its own",
    assumes="sessions of one version, model and folder start alike, as far as cache reads show",
    sniff=looks_like_claude_code,
    read=read_claude_code,
    takes=("tokenizer",),
    shapes=_SHAPES,
    call_column=CALL,
)
