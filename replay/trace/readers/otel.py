"""OpenTelemetry spans of generative AI: JSON documents or lines, a request a span.

    {"trace_id": "t", "spans": [{"span_id": "a", "start_time": "2025-01-01T00:00:00.5Z",
     "end_time": "2025-01-01T00:00:02Z", "attributes": {"gen_ai.request.model": "m",
     "gen_ai.input.messages": "[{\"role\": \"user\", \"content\": \"Hi\"}]",
     "gen_ai.output.text": "Hello", "gen_ai.usage.input_tokens": 9}}]}

Read are such documents, spans one by one, OTLP/JSON (`resourceSpans`) and exports of Jaeger
(`data`); attributes are those of https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans,
of its older versions, and of OpenInference.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from replay.trace.chat import Chat, spoken_text
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.chat_messages import RowError, tools_of
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.logged_requests import LoggedRequest, logged_trace
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.otel_attributes import (
    columns_of,
    is_request,
    prompt_of,
    reply_of,
    tools_in,
    usage_in,
)
from replay.trace.readers.otel_calls import Call, Times, ancestors_of, calls_once
from replay.trace.readers.otel_spans import Span, spans_in
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.source_clock import arrivals_of

_SIGNS = (
    re.compile(rb'(?<!\\)"(?:span_id|spanId|spanID)"\s*:'),
    re.compile(rb'(?<!\\)"(?:gen_ai\.|openinference\.|llm\.|llm"|resourceSpans"|scopeSpans")'),
)
_COUNTED_AGAIN = (
    "spans count tokens and have no text, where others have it, and were passed over: those of a "
    "server, say, within those of its client"
)
_TOLD_AGAIN = (
    "spans lie around another that tells of the same call (a framework's around its client's), "
    "which was taken once"
)
_CONVERSATION = "gen_ai.conversation.id"


def looks_like_otel(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of spans of generative AI."""
    start = head.lstrip()
    return start.startswith((b"{", b"[")) and all(sign.search(start) for sign in _SIGNS)


def read_otel(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a file of spans: by their text, or lengths alone where none has any.

    Raises TraceError that numbers each span that breaks the format, where more do than the options
    allow, and for any document that is no JSON or holds no spans.
    """
    spans, source = _spans_of(source)
    problems = ProblemList(source.path, allowed=options.max_rejected)
    problems.hint("line numbers count the spans of the file")
    parser = _Parser({(span.trace_id, span.span_id): span for span in spans if span.span_id})
    found: list[Call] = []
    for span in spans:
        request = parser.tried(span, problems)
        if request is not None:
            found.append((span, request))
    starts, ends, clock_start_ns = _times_of(found, problems)
    notes = parser.notes()
    once = calls_once(found, parser.by_id, starts, ends)
    if len(once) < len(found):
        notes.append(f"{len(found) - len(once):,} {_TOLD_AGAIN}")
    found = once
    if any(request.has_text for _, request in found):
        counted = len(found)
        found = [(span, request) for span, request in found if request.has_text]
        if len(found) < counted:
            notes.append(f"{counted - len(found):,} {_COUNTED_AGAIN}")
    return logged_trace(
        _timed(found, starts, ends, problems),
        source,
        options,
        problems,
        format_name="otel",
        read=len(spans) - parser.others,
        notes=notes,
        clock_start_ns=clock_start_ns,
    )


def _spans_of(source: Source) -> tuple[list[Span], Source]:
    """Return the spans, and a source of one span a line, by which they are counted."""
    problems = ProblemList(source.path)
    source = as_lines(source, problems)
    spans: list[Span] = []
    lines: list[str] = []
    for line, document in walk_objects(source.data, problems):
        try:
            for span in spans_in(document):
                lines.append(json.dumps(span.raw))
                spans.append(replace(span, line=len(lines)))
        except RowError as error:
            problems.add(str(error), line=line)
        except RecursionError:
            problems.add("nested too deeply", line=line)
    if not spans and not problems.total:
        problems.add("there are no spans")
    problems.raise_any()
    return spans, replace(source, data="\n".join(lines).encode())


def _times_of(found: list[Call], problems: ProblemList) -> tuple[Times, Times, int | None]:
    """Return start and end of spans by their line, and the clock's start."""
    for span, _ in found:
        if span.start is None:
            problems.add(f"span {span.span_id} lacks its start", line=span.line)
    started = [(span.line, span.start) for span, _ in found if span.start is not None]
    ended = [(span.line, span.end) for span, _ in found if span.end is not None]
    starts, clock_start_ns = _by_line("start", started, found, problems)
    ends, _ = _by_line("end", ended, found, problems)
    return starts, ends, clock_start_ns


def _timed(
    found: list[Call], starts: Times, ends: Times, problems: ProblemList
) -> list[LoggedRequest]:
    """Return the requests at their start, with how long they took."""
    requests = []
    for span, request in found:
        start, end = starts.get(span.line), ends.get(span.line)
        if start is None:
            continue
        if end is not None and end < start:
            problems.add(f"span {span.span_id} ends before it starts", line=span.line)
        lasted = {} if end is None else {"recorded_e2e_ns": end - start}
        requests.append(replace(request, arrival_ns=start, other={**request.other, **lasted}))
    return requests


def _by_line(
    name: str,
    times: list[tuple[int, object]],
    found: list[Call],
    problems: ProblemList,
) -> tuple[dict[int, int | None], int | None]:
    if not times:
        return {}, None
    nano = any("ano" in span.start_key for span, _ in found)
    key = f"{name}TimeUnixNano" if nano else f"{name}_time"
    known, clock_start_ns = arrivals_of(key, times, problems)
    return dict(zip((line for line, _ in times), known, strict=True)), clock_start_ns


@dataclass(slots=True)
class _Parser:
    """Turns spans into requests, and counts those that are none.

    `by_id` holds all spans by trace and number.
    """

    by_id: Mapping[tuple[str | None, str], Span]
    others: int = 0
    _seen: set[bytes] = field(default_factory=set)

    def tried(self, span: Span, problems: ProblemList) -> LoggedRequest | None:
        """Return the request that a span is, None where it is none; faults go to `problems`."""
        try:
            if not is_request(span.attributes):
                self.others += 1
                return None
            if span.failure:
                problems.leave_out(span.line, f"a failed request: {span.failure}")
                return None
            if self._is_repeated(span):
                problems.leave_out(span.line, "repeats an earlier span, times and all")
                return None
            return self._request(span)
        except RowError as error:
            problems.add(f"span {span.span_id}: {error}", line=span.line)
        except RecursionError:
            problems.add(f"span {span.span_id}: nested too deeply", line=span.line)
        return None

    def notes(self) -> list[str]:
        """Return what is to be known of the spans read so far."""
        if not self.others:
            return []
        return [f"{self.others:,} spans are no requests to a model and were passed over"]

    def _is_repeated(self, span: Span) -> bool:
        told = json.dumps([span.trace_id, span.start, span.end, span.attributes], sort_keys=True)
        digest = hashlib.blake2b(told.encode(), digest_size=16).digest()
        known = digest in self._seen
        self._seen.add(digest)
        return known

    def _request(self, span: Span) -> LoggedRequest:
        values = span.attributes
        named = {"span_id": span.span_id, "trace_id": span.trace_id}
        asked, reply = prompt_of(values), reply_of(values)
        tools = tools_of(tools_in(values))
        return LoggedRequest(
            line=span.line,
            arrival_ns=0,
            prompt=asked if isinstance(asked, str) else None,
            response=spoken_text(reply),
            chat=Chat(asked, reply, tools) if isinstance(asked, list) else None,
            usage=usage_in(values),
            session=self._conversation(span) or span.trace_id,
            other=columns_of(values) | {key: name for key, name in named.items() if name},
        )

    def _conversation(self, span: Span) -> str | None:
        """Return the conversation that a span or one around it names."""
        for one in (span, *ancestors_of(span, self.by_id)):
            name = one.attributes.get(_CONVERSATION)
            if isinstance(name, str) and name:
                return name
        return None


OTEL = Reader(
    name="otel",
    suffixes=(".json", ".jsonl"),
    meaning="OpenTelemetry or OpenInference spans of models: JSON, JSON lines, OTLP/JSON or Jaeger",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="gen_ai.conversation.id, of the span or one around it, else the trace",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_otel,
    read=read_otel,
    takes=("tokenizer", "chat_template"),
)
