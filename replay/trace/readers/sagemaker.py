"""What SageMaker captures of an endpoint's calls: JSON lines, request and response as text.

    {"captureData": {"endpointInput": {"observedContentType": "application/json", "mode": "INPUT",
     "data": "{\"messages\": [...]}", "encoding": "JSON"}, "endpointOutput": {"mode": "OUTPUT",
     "data": "{\"choices\": [...], \"usage\": {...}}", "encoding": "JSON"}}, "eventMetadata":
     {"eventId": "e1", "inferenceTime": "2025-01-01T00:00:00Z"}, "eventVersion": "0"}

(https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html). The text is that
of whatever server runs behind the endpoint: OpenAI's API, or `inputs` and `generated_text`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_logs import (
    ARRIVAL,
    Reason,
    Row,
    api_log_trace,
    count_in,
    first,
    mapping_in,
    rows_in,
    time_in,
    told,
)
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.json_text import object_in
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import OBJECT, RowShape, fits_any, key
from replay.trace.readers.source import Source

_SHAPES = (RowShape((key("captureData", kind=OBJECT), key("eventMetadata", kind=OBJECT))),)
_LIMITS = ("max_new_tokens", "max_tokens")


def looks_like_sagemaker(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of captured calls of an endpoint."""
    return fits_any(head, _SHAPES)


def read_sagemaker(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of captured calls, by their text.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="sagemaker")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    captured, event = mapping_in(row, "captureData"), mapping_in(row, "eventMetadata")
    asked = _data(captured, "endpointInput")
    answer = _data(captured, "endpointOutput")
    if answer in (None, ""):
        return Reason("no response: a failed request, or its output was not captured")
    if not isinstance(asked, Mapping):
        raise RowError(f"captureData.endpointInput.data must be JSON (got {shown(asked)})")
    return told(
        request=_request(asked),
        response=_response(answer),
        request_id=first(event, "eventId", "inferenceId"),
        metadata=_custom(event) or None,
        **{ARRIVAL: time_in(event, "inferenceTime", needed=True)},
    )


def _data(captured: Row, name: str) -> Any:
    part = mapping_in(captured, name)
    data = part.get("data")
    if part.get("encoding") == "BASE64" and isinstance(data, str):
        try:
            data = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            raise RowError(f"captureData.{name}.data is no BASE64 of text ({error})") from error
    return object_in(data, f"captureData.{name}.data")


def _request(asked: Row) -> dict[str, Any]:
    if "inputs" not in asked:
        return dict(asked)
    limit = count_in(mapping_in(asked, "parameters"), *_LIMITS)
    said = asked["inputs"]
    name = (
        "messages" if isinstance(said, list) and said and isinstance(said[0], Mapping) else "prompt"
    )
    return told(max_tokens=limit, **{name: said})


def _response(answer: Any) -> Any:
    """Return a response as it is, or the text in it."""
    entry = answer[0] if isinstance(answer, list) and answer else answer
    if isinstance(entry, Mapping) and isinstance(entry.get("generated_text"), str):
        return entry["generated_text"]
    return answer


def _custom(event: Row) -> dict[str, str]:
    """Return the attributes that callers gave a call: `name=value` each, or one text."""
    given = event.get("customAttributes")
    entries = given if isinstance(given, list) else str(given or "").split(",")
    pairs = [entry.split("=", 1) for entry in entries if isinstance(entry, str) and "=" in entry]
    return {name.strip(): value.strip() for name, value in pairs}


SAGEMAKER = Reader(
    name="sagemaker",
    suffixes=(".jsonl",),
    meaning="JSON lines: calls of an endpoint as SageMaker captures them",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="inferred by what prompts repeat, unless customAttributes name them",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_sagemaker,
    read=read_sagemaker,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
    call_column="source_request_id",
)
