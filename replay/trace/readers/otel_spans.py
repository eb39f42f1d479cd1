"""Spans in the JSON that exporters write: OTLP, Jaeger, documents of a trace, or a span alone.

OTLP/JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding) writes 64-bit integers
as text and attributes as a list of keys and typed values. Jaeger's export and the answers of its
API (https://www.jaegertracing.io/docs/latest/apis) hold traces under `data`, times in microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.openinference import in_gen_ai_names

_INTEGER = re.compile(r"-?\d{1,20}")
_GROUPS = ("resourceSpans", "batches")
_SCOPES = ("scopeSpans", "instrumentationLibrarySpans")
_STARTS = ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
_ENDS = ("endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
_PARENTS = ("parent_span_id", "parentSpanId", "parent_id", "parentId")
_JAEGER_SPAN = "spanID"
_ERRORS = (2, "STATUS_CODE_ERROR", "ERROR", "StatusCode.ERROR")


@dataclass(frozen=True, slots=True)
class Span:
    """One span; `start` and `end` are as the source writes them, under `start_key` and its like.

    `line` counts the spans of a file from 1; `failure` says why it failed, None where it did not;
    `parent_id` is the span of the same trace that it lies in.
    """

    raw: Mapping[str, Any]
    trace_id: str | None
    span_id: str | None
    start_key: str
    start: object
    end: object
    attributes: Mapping[str, Any]
    failure: str | None
    parent_id: str | None = None
    line: int = 0


def spans_in(document: Mapping[str, Any]) -> Iterator[Span]:
    """Yield the spans in a document; raises RowError where it is none that holds spans."""
    for name in _GROUPS:
        if name in document:
            for group in _objects(document[name], name):
                for scopes in _SCOPES:
                    for scope in _objects(group.get(scopes, []), scopes):
                        for span in _objects(scope.get("spans", []), "spans"):
                            yield _span(span, None)
            return
    if isinstance(document.get("data"), list):  # of Jaeger's traces, or of spans alone
        for one in _objects(document["data"], "data"):
            yield from spans_in(one)
    elif "spans" in document:
        trace_id = document.get("trace_id", document.get("traceId"))
        for span in _objects(document["spans"], "spans"):
            yield _jaeger_span(span) if _JAEGER_SPAN in span else _span(span, trace_id)
    elif "attributes" in document and any(name in document for name in _STARTS):
        yield _span(document, None)
    else:
        got = ", ".join(map(shown, document)) or "no keys"
        raise RowError(f"holds no spans (got {got})")


def _span(span: Mapping[str, Any], trace_id: object) -> Span:
    context = span.get("context")
    inner = context if isinstance(context, Mapping) else {}
    names = [span.get(key) for key in ("trace_id", "traceId")] + [inner.get("trace_id"), trace_id]
    numbers = [span.get(key) for key in ("span_id", "spanId")] + [inner.get("span_id")]
    start_key = next((key for key in _STARTS if span.get(key) is not None), _STARTS[0])
    attributes = _attributes(span.get("attributes"))
    for event in _objects(span.get("events") or [], "events"):
        told = _attributes(event.get("attributes"))
        attributes = {key: told[key] for key in told if key.startswith("gen_ai.")} | attributes
    return Span(
        raw=span,
        trace_id=_text(names),
        span_id=_text(numbers),
        start_key=start_key,
        start=_time(start_key, span.get(start_key)),
        end=next((_time(key, span[key]) for key in _ENDS if span.get(key) is not None), None),
        attributes=in_gen_ai_names(attributes),
        failure=_failure(span.get("status", span.get("status_code")), attributes),
        parent_id=_text([span.get(key) for key in _PARENTS]),
    )


def _jaeger_span(span: Mapping[str, Any]) -> Span:
    attributes = _tags(span.get("tags"))
    for log in _objects(span.get("logs") or [], "logs"):
        told = _tags(log.get("fields"))
        attributes = {key: told[key] for key in told if key.startswith("gen_ai.")} | attributes
    start, duration = span.get("startTime"), span.get("duration")
    parents = [
        one.get("spanID")
        for one in _objects(span.get("references") or [], "references")
        if one.get("refType") == "CHILD_OF"
    ]
    failed = attributes.get("error") is True or attributes.get("otel.status_code") == "ERROR"
    reason = attributes.get("otel.status_description") or "error"
    return Span(
        raw=span,
        trace_id=_text([span.get("traceID")]),
        span_id=_text([span.get(_JAEGER_SPAN)]),
        start_key="startTime",
        start=start,
        end=start + duration if type(start) is int and type(duration) is int else None,
        attributes=in_gen_ai_names(attributes),
        failure=shown(reason) if failed else _failure(None, attributes),
        parent_id=_text([*parents, span.get("parentSpanID")]),
    )


def _tags(tags: object) -> dict[str, Any]:
    """Return the tags of a span of Jaeger, each a key with its type and value."""
    return {
        key: tag.get("value")
        for tag in _objects(tags or [], "tags")
        if isinstance(key := tag.get("key"), str)
    }


def _failure(status: object, attributes: Mapping[str, Any]) -> str | None:
    if isinstance(status, str) and status in _ERRORS:  # Phoenix has it beside its message
        return shown(status)
    if isinstance(status, Mapping):
        code = status.get("code", status.get("status_code"))
        if code in _ERRORS:
            return shown(status.get("message", status.get("description")) or code)
    error = attributes.get("error.type")
    return None if error is None else shown(error)


def _attributes(attributes: object) -> dict[str, Any]:
    if attributes is None:
        return {}
    if isinstance(attributes, Mapping):
        return dict(attributes)
    return {
        key: _value(entry.get("value"))
        for entry in _objects(attributes, "attributes")
        if isinstance(key := entry.get("key"), str)
    }


def _value(value: object) -> Any:
    """Return the value of an attribute as OTLP/JSON writes it, with its type as the key."""
    if not isinstance(value, Mapping):
        raise RowError(f"the value of an attribute must be an object (got {shown(value)})")
    if "intValue" in value:
        found = _integer(value["intValue"])
        if type(found) is not int:
            raise RowError(f"intValue must be an integer (got {shown(found)})")
        return found
    if "arrayValue" in value:
        return [_value(inner) for inner in _inside(value["arrayValue"])]
    if "kvlistValue" in value:
        return _attributes(_inside(value["kvlistValue"]))
    for name in ("stringValue", "doubleValue", "boolValue"):
        if name in value:
            return value[name]
    return None


def _inside(value: object) -> list[Mapping[str, Any]]:
    return _objects(value.get("values", []), "values") if isinstance(value, Mapping) else []


def _time(key: str, value: object) -> object:
    return _integer(value) if key.lower().endswith("nano") else value


def _integer(value: object) -> object:
    """Return an integer that stands as text as one; anything else as it is."""
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value


def _objects(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise RowError(f"{name} must be a list of objects (got {shown(value)})")
    return value


def _text(values: list[Any]) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)
