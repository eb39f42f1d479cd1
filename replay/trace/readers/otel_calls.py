"""Spans that tell of one call twice: a framework's around that of the client it calls.

Both say what was asked and counted. They are one call where one is an ancestor of the other within
its time and they agree: in the model, in tokens where both count them, in messages and reply where
they do not. The inner one is kept, which is nearest to the server, unless only the outer has text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from replay.trace.readers.continued import said_by
from replay.trace.readers.logged_requests import LoggedRequest
from replay.trace.readers.otel_spans import Span

Call = tuple[Span, LoggedRequest]
Times = Mapping[int, int | None]


def ancestors_of(span: Span, by_id: Mapping[tuple[str | None, str], Span]) -> Iterator[Span]:
    """Yield the span that a span lies in, the one which that lies in, and so on."""
    seen = {span.line}
    while span.parent_id is not None:
        found = by_id.get((span.trace_id, span.parent_id))
        if found is None or found.line in seen:
            return
        seen.add(found.line)
        span = found
        yield span


def calls_once(
    calls: Sequence[Call],
    by_id: Mapping[tuple[str | None, str], Span],
    starts: Times,
    ends: Times,
) -> list[Call]:
    """Return the calls, each once; `starts` and `ends` are ns by the line of a span."""
    of_line = {span.line: request for span, request in calls}
    dropped: set[int] = set()
    for span, request in calls:
        for outer in ancestors_of(span, by_id):
            around = of_line.get(outer.line)
            if around is None or not _within(span, outer, starts, ends):
                continue
            if _agree(request, around):
                inside_only = around.has_text and not request.has_text
                dropped.add(span.line if inside_only else outer.line)
    return [(span, request) for span, request in calls if span.line not in dropped]


def _within(inner: Span, outer: Span, starts: Times, ends: Times) -> bool:
    start, end = starts.get(inner.line), ends.get(inner.line)
    begun, ended = starts.get(outer.line), ends.get(outer.line)
    if start is None or begun is None or start < begun:
        return False
    return end is None or ended is None or end <= ended


def _agree(one: LoggedRequest, other: LoggedRequest) -> bool:
    models = [request.other.get("model") for request in (one, other)]
    if all(isinstance(model, str) for model in models):
        short, long = sorted((str(model).rpartition("/")[2] for model in models), key=len)
        if not long.startswith(short):
            return False
    counts = [(request.usage.input_tokens, request.usage.output_tokens) for request in (one, other)]
    if all(None not in count for count in counts):
        return counts[0] == counts[1]
    said = [said_by(request) for request in (one, other)]
    return None not in said and said[0] == said[1]
