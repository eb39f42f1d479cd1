"""Task logs of Cline, Roo Code and Kilo Code: a JSON array of what their panel shows.

    [{"ts": 1767225600000, "type": "say", "say": "task", "text": "Fix it"},
     {"ts": 1767225601000, "type": "say", "say": "api_req_started", "text": "{\"request\": \"...\",
      \"tokensIn\": 1480, \"tokensOut\": 312, \"cacheWrites\": 11200, \"cacheReads\": 0}"}]

It is the file ui_messages.json of a task, times in milliseconds since 1970. Each api_req_started is
a call of the model; its counts are apart from each other, but for Roo's `"apiProtocol": "openai"`,
whose tokensIn hold what came from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.agent_prompts import CALL, AgentCall, agent_trace
from replay.trace.readers.api_logs import count_in, time_in
from replay.trace.readers.api_usage import Usage, checked, tokens_in
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.json_text import object_in
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import INTEGER, RowShape, fits_any, key, one_of
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import writable

_STARTED, _FINISHED = "api_req_started", "api_req_finished"
_CONDENSED = ("condense_context", "sliding_window_truncation")
_SHAPES = (
    RowShape((key("ts", kind=INTEGER), key("say", "ask", kind=one_of("task", _STARTED, "text")))),
)
_COUNTS = ("tokensIn", "tokensOut", "cacheReads", "cacheWrites")


def looks_like_cline(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a task log."""
    return fits_any(head, _SHAPES)


def read_cline(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a task, a request for each call of the model.

    Raises TraceError that names the entry of each message that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    task = _Task(_name(source))
    for line, row in walk_objects(source.data, problems):
        try:
            task.take(line, row)
        except RowError as error:
            problems.add(str(error), line=line)
        except RecursionError:
            problems.add("nested too deeply", line=line)
    read = len(task.calls) + problems.total
    return agent_trace(task.calls, source, options, problems, format_name="cline", read=read)


def _name(source: Source) -> str:
    """Return the task: the number of its folder, else one by the content of the file."""
    folder = Path(source.path).parent.name
    return folder if folder.isdecimal() else f"task {source.sha256[:12]}"


@dataclass(slots=True)
class _Task:
    """Goes through the messages of a task and makes a call of each that was sent."""

    session: str
    calls: list[AgentCall] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    anew: bool = False

    def take(self, line: int, row: Mapping[str, Any]) -> None:
        """Take one message; raises RowError for what is wrong with it."""
        kind, text = row.get("say"), row.get("text")
        if kind in _CONDENSED:
            self.anew = True
        elif kind == _STARTED:
            self._started(line, row, _told(text))
        elif kind == _FINISHED and self.calls:
            last = self.calls[-1]
            self.calls[-1] = replace(last, usage=_finished(last.usage, _told(text)))
        elif isinstance(text, str) and not row.get("partial"):
            self.said.append(text)

    def _started(self, line: int, row: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        usage, place = _usage(told), len(self.calls)
        asked = told.get("request")
        added = asked if isinstance(asked, str) and asked else "\n".join(self.said)
        model = told.get("modelId", told.get("model"))
        call = AgentCall(
            line=line,
            arrival_ns=time_in(row, "ts", needed=True) or 0,
            session=self.session,
            name=f"{self.session}:{row['ts']}",
            start=(model if isinstance(model, str) else "",),
            usage=usage,
            added=added.strip(),
            other={"model": writable(model)} if isinstance(model, str) else {},
        )
        if place:
            call = replace(call, after=place - 1, goes_on=not self.anew)
        self.calls.append(call)
        self.said, self.anew = [], False


def _told(text: object) -> Mapping[str, Any]:
    told = object_in(text, "text")
    if not isinstance(told, Mapping):
        raise RowError(f"text must be an object as JSON (got {shown(text)})")
    return told


def _usage(told: Mapping[str, Any]) -> Usage:
    counts = {name: count_in(told, name) for name in _COUNTS}
    asked, given, read, written = (tokens_in(counts, name) for name in _COUNTS)
    if asked is not None and told.get("apiProtocol") != "openai":
        asked += (read or 0) + (written or 0)
    return checked(Usage(asked, read, given, written_tokens=written))


def _finished(usage: Usage, told: Mapping[str, Any]) -> Usage:
    """Return the counts of a call that older versions told in two parts."""
    later = _usage({"tokensIn": 0, **told})
    asked = (usage.input_tokens or 0) + (later.input_tokens or 0)
    return checked(replace(later, input_tokens=asked))


CLINE = Reader(
    name="cline",
    suffixes=(".json",),
    meaning="JSON: ui_messages of a task of Cline, Roo Code or Kilo Code, with the tokens counted",
    content="messages of the task, in lengths that the provider counted; the start is assumed",
    sessions="the task",
    assumes="tasks of one model start alike, as far as cache reads show",
    sniff=looks_like_cline,
    read=read_cline,
    takes=("tokenizer",),
    shapes=_SHAPES,
    call_column=CALL,
)
