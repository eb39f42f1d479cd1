"""What AIPerf is given to ask: conversations, conversations that branch, and their payloads.

    {"session_id": "plan", "turns": [{"messages": [{"role": "user", "content": "Plan it"}],
     "max_tokens": 15, "forks": ["side"]}, {"messages": [{"role": "user", "content": "Go on"}],
     "max_tokens": 15, "delay": 2000}]}
    {"session_id": "side", "turns": [{"messages": [...], "max_tokens": 15}]}

(https://docs.nvidia.com/aiperf: multi-turn, DAG and inputs.json). A turn adds messages, or `text`,
to all that was said before it; a session that a turn forks starts with all of that turn, its
response included, one that it spawns with nothing. Responses are not in the file: each is as long
as its turn allows, unknown, and held by the prompts that follow. Delays are milliseconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.errors import InputError
from replay.trace.chat import Chat, prompt_text
from replay.trace.chat_template import ChatTemplate
from replay.trace.frame import Trace
from replay.trace.media import RESPONSE, media_of
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_logs import count_in, duration_in, first
from replay.trace.readers.chat_messages import Message, RowError, messages_of, tools_of
from replay.trace.readers.head import head_rows
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import OBJECTS, TEXT, RowShape, key
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import (
    START_GAP_NS,
    TURN_GAP_NS,
    TextRequest,
    template_of,
)
from replay.trace.readers.text_trace import text_trace
from replay.units import NS_PER_MS

_TURNS, _SESSION, _PAYLOADS = "turns", "session_id", "payloads"
_FORKS, _SPAWNS = "forks", "spawns"
_TEXTS = ("text", "texts")
_LIMITS = ("max_tokens", "max_completion_tokens", "output_length", "min_tokens")
_SHAPES = (
    RowShape((key(_TURNS, kind=OBJECTS),), never=frozenset(("requests", "hash_ids"))),
    RowShape((key(_SESSION, kind=TEXT), key(_PAYLOADS, kind=OBJECTS))),
)
_MOST_TOKENS = 999_999
_DEEPEST = 200
_MOST_REQUESTS = 1_000_000
_ASSUMED = (
    "the source has no responses: each is taken to be as long as its turn allows, one token where "
    "it sets no limit, and what follows holds it"
)
_PACE = (
    "turns have no times; assumed: a session starts each second, or 30 s after the turn that "
    "branches into it, and a turn follows 30 s, or its delay, after the one before it"
)


def looks_like_aiperf_inputs(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of conversations for AIPerf."""
    for row in head_rows(head):
        inner = row.get("data")
        rows = inner[:1] if isinstance(inner, list) else [row]
        if any(isinstance(one, Mapping) and _is_session(one) for one in rows):
            return True
    return False


def _is_session(row: Mapping[str, object]) -> bool:
    if not any(shape.has(row) for shape in _SHAPES):
        return False
    turns = row.get(_TURNS) or row.get(_PAYLOADS)
    first_turn = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first_turn, Mapping) and not first_turn.keys().isdisjoint(
        ("messages", *_TEXTS, "prompt")
    )


def read_aiperf_inputs(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of these conversations, a request for each turn.

    Raises TraceError that names the line of each session that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    plan = _Plan(source.sha256, problems)
    for line, row in walk_objects(source.data, problems):
        inner = row.get("data")
        for one in inner if isinstance(inner, list) else [row]:
            plan.take(line, one)
    template = template_of(options)
    requests = plan.requests(template)
    return text_trace(
        requests,
        source,
        options,
        problems,
        format_name="aiperf-inputs",
        read=len(plan.sessions) or problems.total,
        template=template,
        notes=[_ASSUMED, *([f"{plan.untimed:,} {_PACE}"] if plan.untimed else [])],
    )


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one turn adds, how long its response is, and when it is asked or follows."""

    messages: Sequence[Message]
    tokens: int
    time_ns: int | None
    delay_ns: int | None
    forks: Sequence[str]
    spawns: Sequence[str]
    tools: Any


@dataclass(frozen=True, slots=True)
class _Session:
    line: int
    name: str
    turns: Sequence[_Turn]
    whole: bool  # each turn has all of its prompt


@dataclass(slots=True)
class _Plan:
    """The sessions of a file, and which turn each starts from."""

    sha256: str
    problems: ProblemList
    sessions: list[_Session] = field(default_factory=list)
    untimed: int = 0
    _made: list[TextRequest] = field(default_factory=list)

    def take(self, line: int, row: object) -> None:
        """Add one session, or what is wrong with it."""
        try:
            self.sessions.append(_session(line, row))
        except RowError as error:
            self.problems.add(str(error), line=line)
        except RecursionError:
            self.problems.add("nested too deeply", line=line)

    def requests(self, template: ChatTemplate) -> list[TextRequest]:
        """Return the requests of all sessions; what a template refuses goes to the problems."""
        by_name = {session.name: session for session in self.sessions}
        branched = {
            name
            for session in self.sessions
            for turn in session.turns
            for name in (*turn.forks, *turn.spawns)
        }
        roots = [session for session in self.sessions if session.name not in branched]
        for number, session in enumerate(roots):
            self._play(session, [], number * START_GAP_NS, by_name, template, 0)
        played = {request.line for request in self._made} | set(self.problems.put_aside)
        for session in self.sessions:
            if session.name in branched and session.line not in played:
                what = "branches from no session that starts, or from itself"
                self.problems.add(f"session {session.name} {what}", line=session.line)
        return self._made

    def _play(
        self,
        session: _Session,
        before: list[Message],
        start_ns: int,
        by_name: Mapping[str, _Session],
        template: ChatTemplate,
        depth: int,
    ) -> None:
        if depth > _DEEPEST or len(self._made) > _MOST_REQUESTS:
            what = f"branches more than {_DEEPEST} deep, in a circle, or into too many requests"
            self.problems.add(f"session {session.name} {what}", line=session.line)
            return
        said, arrival_ns = list(before), start_ns
        for place, turn in enumerate(session.turns):
            said = [*([] if session.whole else said), *turn.messages]
            if turn.time_ns is not None:
                arrival_ns = turn.time_ns
            else:
                self.untimed += 1
                gap_ns = TURN_GAP_NS if turn.delay_ns is None else turn.delay_ns
                arrival_ns += gap_ns if place else 0
            name = f"{self.sha256} {session.name} {place} {len(self._made)}"
            reply = {"role": "assistant", "content": media_of(RESPONSE, name, turn.tokens).mark()}
            try:
                prompt = prompt_text(template, Chat(said, [reply], turn.tools))
            except InputError as error:  # the template refuses these messages
                self.problems.add(error.message, line=session.line)
                return
            self._made.append(
                TextRequest(
                    line=session.line,
                    arrival_ns=arrival_ns,
                    prompt=prompt,
                    response=str(reply["content"]),
                    session=f"{session.name} {self.sha256[:8]}",
                )
            )
            said = [*said, reply]
            for names, history in ((turn.forks, said), (turn.spawns, [])):
                for other in names:
                    if other in by_name:
                        begin_ns = arrival_ns + TURN_GAP_NS
                        self._play(by_name[other], history, begin_ns, by_name, template, depth + 1)


def _session(line: int, row: object) -> _Session:
    if not isinstance(row, Mapping):
        raise RowError(f"must be an object (got {shown(row)})")
    turns, payloads = row.get(_TURNS), row.get(_PAYLOADS)
    given = payloads if turns is None else turns
    if not isinstance(given, list) or not given:
        raise RowError(f"{_TURNS} must be a list of turns (got {shown(given)})")
    name = row.get(_SESSION, f"line {line}")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise RowError(f"{_SESSION} must be text (got {shown(name)})")
    found = [_turn(turn, f"{_TURNS}[{place}]") for place, turn in enumerate(given)]
    whole = turns is None and all(
        list(after.messages[: len(one.messages)]) == list(one.messages)
        for one, after in itertools.pairwise(found)
    )
    return _Session(line, str(name), found, whole)


def _turn(turn: object, name: str) -> _Turn:
    if not isinstance(turn, Mapping):
        raise RowError(f"{name} must be an object (got {shown(turn)})")
    said = first(turn, "messages", *_TEXTS, "prompt")
    if isinstance(said, list) and said and all(isinstance(one, str) for one in said):
        said = said[0]  # the others are further members of a batch
    if said is None:
        raise RowError(f"{name} lacks messages (got {', '.join(map(shown, turn)) or 'no keys'})")
    messages = messages_of(said, f"{name}.messages")
    system = turn.get("system_message", turn.get("system"))
    if isinstance(system, str) and system:
        messages = [{"role": "system", "content": system}, *messages]
    tokens = count_in(turn, *_LIMITS, *(f"extra.{one}" for one in _LIMITS))
    tokens = 1 if tokens is None else tokens
    if type(tokens) is not int or not 1 <= tokens <= _MOST_TOKENS:
        raise RowError(f"{name}: max_tokens must be from 1 to {_MOST_TOKENS} (got {shown(tokens)})")
    return _Turn(
        messages=messages,
        tokens=tokens,
        time_ns=_milliseconds(turn, "timestamp", name),
        delay_ns=_milliseconds(turn, "delay", name),
        forks=_names(turn, _FORKS, name),
        spawns=_names(turn, _SPAWNS, name),
        tools=tools_of(turn.get("tools")),
    )


def _milliseconds(turn: Mapping[str, Any], key: str, name: str) -> int | None:
    if turn.get(key) is None:
        return None
    found = duration_in(turn, key, unit_ns=NS_PER_MS)
    if found is None:
        raise RowError(f"{name}.{key} must be milliseconds (got {shown(turn[key])})")
    return found


def _names(turn: Mapping[str, Any], kind: str, name: str) -> list[str]:
    """Return the sessions that a turn branches into, by their names, or objects that have one."""
    named = turn.get(kind) or []
    if not isinstance(named, list):
        raise RowError(f"{name}.{kind} must be a list of sessions (got {shown(named)})")
    found = []
    for one in named:
        given = first(one, "session_id", "child") if isinstance(one, Mapping) else one
        if not isinstance(given, str):
            raise RowError(f"{name}.{kind} must name sessions (got {shown(one)})")
        found.append(given)
    return found


AIPERF_INPUTS = Reader(
    name="aiperf-inputs",
    suffixes=(".jsonl", ".json"),
    meaning="conversations that AIPerf is given to ask: multi-turn, branching (DAG), inputs.json",
    content="token ids of prompts by a tokenizer or a splitter; responses stand for themselves",
    sessions="session_id",
    assumes="responses as long as turns allow; a turn follows 30 s, or its delay, after another",
    sniff=looks_like_aiperf_inputs,
    read=read_aiperf_inputs,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
)
