"""Azure API Management's logs of calls to language models, exported as JSON lines, JSON or CSV.

    {"TimeGenerated": "2025-01-01T00:00:00.25Z", "CorrelationId": "c1", "SequenceNumber": 0,
     "ModelName": "gpt-4o", "PromptTokens": 20, "CompletionTokens": 10, "RequestMessages":
     "[{\"role\": \"user\", \"content\": \"Hi\"}]", "ResponseMessages": "[...]"}

Read are the table ApiManagementGatewayLlmLog
(https://learn.microsoft.com/azure/azure-monitor/reference/tables/apimanagementgatewayllmlog), whose
rows of one CorrelationId are parts of a call, and ApiManagementGatewayLogs with their bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.api_logs import (
    ARRIVAL,
    Reason,
    Row,
    api_log_trace,
    count_in,
    duration_in,
    first,
    rows_in,
    starts_with,
    time_in,
    told,
)
from replay.trace.readers.json_text import messages_in, object_in
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import ANYTHING, TEXT, HeaderShape, RowShape, key
from replay.trace.readers.source import Source
from replay.units import NS_PER_MS

_TIME, _CALL, _PLACE = "TimeGenerated", "CorrelationId", "SequenceNumber"
_ASKED, _SAID = "RequestMessages", "ResponseMessages"
_BODIES = ("BackendRequestBody", "RequestBody"), ("BackendResponseBody", "ResponseBody")
_SHAPES = (
    RowShape((key(_CALL, kind=TEXT), key(_TIME, kind=TEXT), key("PromptTokens", kind=ANYTHING))),
    RowShape((key(_CALL, kind=TEXT), key(_TIME, kind=TEXT), key(*_BODIES[0], kind=TEXT))),
    HeaderShape((_TIME, _CALL, "PromptTokens", "CompletionTokens")),
    HeaderShape((_TIME, _CALL, "BackendRequestBody")),
)
_PART = Reason("rows are later parts of a call and were joined to its first", is_other=True)
_NO_CALL = Reason("rows have no body of a call to a model and were passed over", is_other=True)


def looks_like_azure_apim(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of such logs."""
    return starts_with(head, _SHAPES)


def read_azure_apim(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of logged calls, by their messages, or lengths alone.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems)
    rows = _joined(rows)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="azure-apim")


def _joined(rows: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Return the rows with the parts of a call in its first; the others are left empty."""
    calls: dict[str, list[int]] = {}
    for place, (_, row) in enumerate(rows):
        if isinstance(row.get(_CALL), str) and (row.get(_ASKED) or row.get(_SAID)):
            calls.setdefault(row[_CALL], []).append(place)
    found = list(rows)
    for places in calls.values():
        if len(places) == 1:
            continue
        parts = sorted(places, key=lambda at: _place(rows[at][1]))
        first_at = min(places)
        whole = {name: value for at in parts for name, value in rows[at][1].items() if value}
        for name in (_ASKED, _SAID):
            texts = [rows[at][1].get(name) for at in parts]
            whole[name] = _one_of(texts)
        for at in places:
            found[at] = (rows[at][0], whole if at == first_at else {})
    return found


def _place(row: Row) -> int:
    place = count_in(row, _PLACE)
    return place if type(place) is int else 0


def _one_of(values: list[Any]) -> Any:
    """Return the parts of one value made one: texts that were cut, or lists of messages."""
    known = [value for value in values if value]
    if all(isinstance(value, str) for value in known):
        return "".join(known)
    return [entry for value in known if isinstance(value, list) for entry in value]


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    if not row:
        return _PART
    asked, said = (object_in(first(row, *names), names[0]) for names in _BODIES)
    if first(row, _ASKED, _SAID, "PromptTokens") is None and not isinstance(asked, Mapping):
        return _NO_CALL
    status = count_in(row, "BackendResponseCode", "ResponseCode")
    if type(status) is int and status >= 400:
        return Reason(f"a failed request: BackendResponseCode {status}")
    usage = told(
        prompt_tokens=count_in(row, "PromptTokens"),
        completion_tokens=count_in(row, "CompletionTokens"),
    )
    return told(
        request=dict(asked) if isinstance(asked, Mapping) else _request(row),
        response=said if said else _response(row),
        usage=usage or None,
        request_id=first(row, _CALL),
        model=first(row, "ModelName", "DeploymentName"),
        recorded_e2e_ns=duration_in(row, "BackendTime", unit_ns=NS_PER_MS),
        **{ARRIVAL: time_in(row, _TIME, needed=True)},
    )


def _request(row: Row) -> dict[str, Any] | None:
    asked = row.get(_ASKED)
    asked = messages_in(asked, _ASKED) if isinstance(asked, str) else asked
    return {"messages": asked} if asked else None


def _response(row: Row) -> Any:
    said = row.get(_SAID)
    said = object_in(said, _SAID) if isinstance(said, str) else said
    if isinstance(said, list) and said and all(isinstance(one, Mapping) for one in said):
        message = next((one for one in said if one.get("role") == "assistant"), said[0])
        return {"choices": [{"message": message}]}
    return said or None


AZURE_APIM = Reader(
    name="azure-apim",
    suffixes=(".jsonl", ".json", ".csv"),
    meaning="calls to language models that Azure API Management logs: JSON lines, JSON or CSV",
    content="text of prompts and responses, where it is logged; else lengths alone",
    sessions="inferred by what prompts repeat",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_azure_apim,
    read=read_azure_apim,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
    call_column="source_request_id",
)
