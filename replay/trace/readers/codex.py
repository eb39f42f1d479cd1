"""Codex rollouts: JSON lines of what a session of the agent said, did and was counted.

    {"timestamp": "2026-01-01T00:00:00.000Z", "type": "session_meta", "payload": {"id": "s",
     "cwd": "/code", "cli_version": "0.98.0"}}
    {"timestamp": "2026-01-01T00:00:01.000Z", "type": "response_item", "payload":
     {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it"}]}}
    {"timestamp": "2026-01-01T00:00:04.000Z", "type": "event_msg", "payload": {"type":
     "token_count", "info": {"total_token_usage": {...}, "last_token_usage": {"input_tokens": 9000,
     "cached_input_tokens": 5000, "output_tokens": 100}}}}

They lie in `~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl`. A `token_count` ends each call of the
model; one that repeats the total before it tells of limits alone and is no call. What stands
between two of them is what was sent, then what was answered; `compacted` starts the prompt anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.agent_prompts import CALL, AgentCall, agent_trace, time_of
from replay.trace.readers.api_usage import Usage, checked, tokens_in
from replay.trace.readers.chat_messages import RowError, messages_of, spoken_text
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import OBJECT, RowShape, fits_any, key, one_of
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import writable

_KINDS = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
_SHAPES = (RowShape((key("type", kind=one_of(*_KINDS)), key("payload", kind=OBJECT))),)
_TOTAL, _LAST = "total_token_usage", "last_token_usage"
_COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens")
_WRITTEN = "cache_write_input_tokens"
# What the model says; all other items go into the next prompt.
_ANSWERS = (
    "reasoning", "function_call", "custom_tool_call", "local_shell_call", "web_search_call"
)  # fmt: skip
_ROLLED_BACK = "thread_rolled_back"


def looks_like_codex(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a Codex rollout."""
    return fits_any(head, _SHAPES)


def read_codex(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a rollout, a request for each call of the model.

    Raises TraceError that names the line of each entry that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    log = _Rollout()
    for line, row in walk_objects(source.data, problems):
        try:
            log.take(line, row)
        except RowError as error:
            problems.add(str(error), line=line)
        except RecursionError:
            problems.add("nested too deeply", line=line)
    return agent_trace(
        log.calls,
        source,
        options,
        problems,
        format_name="codex",
        read=len(log.calls) + problems.total,
        notes=log.notes(),
    )


@dataclass(slots=True)
class _Rollout:
    """Goes through the lines of a session and makes a call of each that was counted."""

    calls: list[AgentCall] = field(default_factory=list)
    session: str = ""
    origin: str = ""  # the session that this one was forked from, whose calls it repeats
    agent: str = "main"
    version: str = ""
    folder: str = ""
    model: str = ""
    total: tuple[int, ...] = ()
    repeats: int = 0
    anew: bool = False
    asked_ns: int | None = None
    answered: bool = False
    said: list[str] = field(default_factory=list)
    next_said: list[str] = field(default_factory=list)
    next_ns: int | None = None

    def take(self, line: int, row: Mapping[str, Any]) -> None:
        """Take one line; raises RowError for what is wrong with it."""
        kind, payload = row.get("type"), row.get("payload")
        if not isinstance(kind, str) or (kind in _KINDS and not isinstance(payload, Mapping)):
            raise RowError(f"payload must be an object (got {shown(payload)})")
        if kind not in _KINDS:
            return
        assert isinstance(payload, Mapping)
        time_ns = time_of(row)
        if kind == "session_meta":
            self._session(payload)
        elif kind == "turn_context":
            self.model = _text(payload, "model") or self.model
            self.folder = _text(payload, "cwd") or self.folder
        elif kind == "compacted":
            self._start_anew([_text(payload, "message")], time_ns)
        elif kind == "response_item":
            self._item(payload, time_ns)
        elif payload.get("type") == _ROLLED_BACK:
            self.anew = True
        elif payload.get("type") == "token_count" and payload.get("info") is not None:
            self._counted(line, payload["info"], time_ns)

    def notes(self) -> list[str]:
        """Return what is to be known of the calls."""
        if not self.repeats:
            return []
        return [f"{self.repeats:,} token counts repeat the one before and are no calls"]

    def _session(self, payload: Mapping[str, Any]) -> None:
        name = _text(payload, "id") or _text(payload, "session_id")
        if not name:
            raise RowError(f"id must be text (got {shown(payload.get('id'))})")
        if self.session:  # a fork goes on with the lines of the session that it was made from
            self.origin = name
            return
        self.session = name
        self.origin = _text(payload, "forked_from_id") or name
        self.version = _text(payload, "cli_version")
        self.folder = _text(payload, "cwd")
        source = payload.get("source")
        if isinstance(source, Mapping) and "subagent" in source:
            self.agent = "subagent"

    def _start_anew(self, said: list[str], time_ns: int) -> None:
        self.anew = True
        self.said, self.next_said = said, []
        self.asked_ns, self.next_ns, self.answered = time_ns, None, False

    def _item(self, payload: Mapping[str, Any], time_ns: int) -> None:
        kind = payload.get("type")
        if kind in _ANSWERS or (kind == "message" and payload.get("role") == "assistant"):
            self.answered = True
        elif self.answered:  # results of tools that ran before the call was counted
            self.next_said.append(_said(payload))
            self.next_ns = time_ns
        else:
            self.said.append(_said(payload))
            self.asked_ns = time_ns

    def _counted(self, line: int, info: object, time_ns: int) -> None:
        if not isinstance(info, Mapping):
            raise RowError(f"info must be an object (got {shown(info)})")
        total, last = _object(info, _TOTAL), _object(info, _LAST)
        counts = tuple(tokens_in(total, name) or 0 for name in _COUNTS)
        if total and counts == self.total:
            self.repeats += 1
            return
        if not last:  # older rollouts have totals alone
            last = {
                name: now - before
                for name, now, before in zip(
                    _COUNTS, counts, self.total or (0,) * len(counts), strict=True
                )
            }
        self.total = counts
        usage = checked(
            Usage(
                input_tokens=tokens_in(last, "input_tokens"),
                hit_tokens=tokens_in(last, "cached_input_tokens"),
                output_tokens=tokens_in(last, "output_tokens"),
                written_tokens=tokens_in(last, _WRITTEN),
            )
        )
        self.calls.append(self._call(line, usage, time_ns))
        self.said, self.next_said = self.next_said, []
        self.asked_ns, self.next_ns = self.next_ns, None
        self.answered = self.anew = False

    def _call(self, line: int, usage: Usage, time_ns: int) -> AgentCall:
        if not self.session:
            raise RowError("no session_meta stands before it")
        arrival = time_ns if self.asked_ns is None else min(self.asked_ns, time_ns)
        place = len(self.calls)
        call = AgentCall(
            line=line,
            arrival_ns=arrival,
            session=self.session,
            name=self._name(usage),
            start=(self.version, self.model, self.folder, self.agent),
            usage=usage,
            added="\n".join(self.said).strip(),
            other={
                "model": self.model or None,
                "agent": self.agent,
                "agent_version": self.version or None,
                "folder": self.folder or None,
                "recorded_e2e_ns": time_ns - arrival,
            },
        )
        return call if not place else replace(call, after=place - 1, goes_on=not self.anew)

    def _name(self, usage: Usage) -> str:
        """Return a name that a call has in each fork: its place in the first, and its counts."""
        told = json.dumps([self.total, usage.input_tokens, usage.output_tokens])
        digest = hashlib.blake2b(told.encode(), digest_size=6).hexdigest()
        return f"{self.origin}:{len(self.calls)}:{digest}"


def _said(payload: Mapping[str, Any]) -> str:
    if payload.get("type") == "custom_tool_call_output":
        payload = {**payload, "type": "function_call_output"}
    return spoken_text(messages_of([payload], "payload"))


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return writable(value) or "" if isinstance(value, str) else ""


def _object(info: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = info.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise RowError(f"{name} must be an object (got {shown(value)})")
    return value or {}


CODEX = Reader(
    name="codex",
    suffixes=(".jsonl",),
    meaning="JSON lines: a rollout of Codex, with the tokens counted for each call of the model",
    content="items of the rollout, in lengths that the provider counted; the start is assumed",
    sessions="the id in session_meta; each sub-agent's rollout is one of its own",
    assumes="sessions of one version, model and folder start alike, as far as cache reads show",
    sniff=looks_like_codex,
    read=read_codex,
    takes=("tokenizer",),
    shapes=_SHAPES,
    call_column=CALL,
)
