"""Request logs of SGLang: JSON lines or the lines of its log, one for each finished request.

    {"timestamp": "2026-11-30T10:00:00", "event": "request.finished", "rid": "r1", "obj":
     {"input_ids": [1, 2, 3], "sampling_params": {"max_new_tokens": 2}}, "out": {"text": "ab",
     "output_ids": [5, 6], "meta_info": {"prompt_tokens": 3, "completion_tokens": 2,
     "cached_tokens": 0, "request_received_ts": 1777312800.0, "e2e_latency": 0.1}}}
    [2026-11-30 10:00:00] Finish: obj=GenerateReqInput(rid='r1', text='Hi', ...), out={'text': 'ab',
     'meta_info': {'prompt_tokens': 3, 'completion_tokens': 2, ...}}

They come from `--log-requests` (https://docs.sglang.ai/advanced_features/server_arguments.html).
From level 2 on content is there, cut in the middle where it is long; level 3 cuts nothing. Files of
`--export-metrics-to-file` are read as well: `request_parameters` as JSON, the counts beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.checked_row import LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.json_lines import walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.python_literals import QUOTED, text_in, token_ids_in
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import INTEGER, TEXT, RowShape, fits_any, key, one_of
from replay.trace.readers.source import Source
from replay.trace.readers.source_clock import date_ns
from replay.trace.readers.text_requests import TextRequest, writable
from replay.trace.readers.text_trace import text_trace
from replay.units import NS_PER_S

_FINISHED = "request.finished"
_EVENTS = (_FINISHED, "request.received", "request.received.openai")
_SHAPES = (
    RowShape((key("event", kind=one_of(*_EVENTS)), key("rid", kind=TEXT))),
    RowShape((key("request_parameters", kind=TEXT), key("prompt_tokens", kind=INTEGER))),
)
_LINE = re.compile(rb"Finish: obj=\w*ReqInput\(")
_FINISH = "Finish: obj="
_DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z?")
_OUT = ", out={"
_RID = re.compile(rf"(?:^|, )rid=({QUOTED})")
_TEXT = re.compile(rf"(?:^|, )text=({QUOTED})(?:, |$)")
_IDS = re.compile(r"(?:^|, )input_ids=\[([0-9, ]*)\]")
_OUT_TEXT = re.compile(rf"^'text': ({QUOTED}), ")
_OUT_IDS = re.compile(r"'output_ids': \[([0-9, ]*)\]")
_NUMBER = re.compile(r"'(\w+)': (-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?=[,}])")
_REASON = re.compile(r"'finish_reason': \{'type': '(\w+)'")
_HALF = 1024  # characters that log level 2 keeps of either end of a long text
_CUT = " ... "
_HEALTH = "HEALTH_CHECK"
_HEALTH_CHECK = "a health check of the server, no request"
_ABORTED = "a failed request: it was aborted"
_LOST = (
    "content is cut or missing in {lost:,} of {all:,} requests (log level 3 keeps it): read are "
    "lengths alone"
)
_KEPT_NS = {
    "recorded_ttft_ns": "first_token_latency",
    "recorded_e2e_ns": "e2e_latency",
    "recorded_queue_ns": "queue_time",
}


def looks_like_sglang_log(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of SGLang's request log."""
    return bool(_LINE.search(head)) or fits_any(head, _SHAPES)


def read_sglang_log(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a request log: by token ids, else by text, else by lengths.

    Raises TraceError that names the line of each request that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    log = _Log(problems)
    if _LINE.search(source.data):
        for line, raw in enumerate(source.data.decode(errors="replace").split("\n"), start=1):
            before, finish, told = raw.partition(_FINISH)
            if finish:
                log.take(line, *_of_line(before, told))
    else:
        for line, row in walk_objects(source.data, problems):
            if "request_parameters" in row:
                log.take(line, *_of_export(row))
            elif row.get("event") == _FINISHED:
                log.take(line, *_of_event(row))
            else:
                log.others += 1
    return log.trace(source, options)


@dataclass(frozen=True, slots=True)
class _Finished:
    """One finished request; its content is None where it is not there whole."""

    line: int
    arrival_ns: int
    input_tokens: int
    output_tokens: int
    tokens: Sequence[int] | None
    response_tokens: Sequence[int] | None
    text: str | None
    response: str | None
    other: Mapping[str, object]


@dataclass(slots=True)
class _Log:
    """Gathers the requests of a log, and how many other lines there were."""

    problems: ProblemList
    rows: list[_Finished] = field(default_factory=list)
    others: int = 0
    read: int = 0

    def take(
        self,
        line: int,
        rid: object,
        obj: Mapping[str, Any],
        out: Mapping[str, Any],
        meta: Mapping[str, Any],
        date: object,
    ) -> None:
        """Add one finished request, or what is wrong with it."""
        self.read += 1
        row = CheckedRow(meta, place="meta_info.")
        input_tokens = row.tokens("prompt_tokens", lowest=0)
        output_tokens = row.tokens("completion_tokens", lowest=0)
        hits = row.integer_or_none("cached_tokens", lowest=0, highest=LARGEST_TOKENS)
        times = {name: row.duration_ns(key, unit_ns=NS_PER_S) for name, key in _KEPT_NS.items()}
        arrival_ns = _arrival_ns(row, times["recorded_e2e_ns"], date)
        for fault in row.faults:
            self.problems.add(fault, line=line)
        reason = meta.get("finish_reason")
        reason = reason.get("type") if isinstance(reason, Mapping) else reason
        if isinstance(rid, str) and rid.startswith(_HEALTH):
            self.problems.leave_out(line, _HEALTH_CHECK)
        elif reason == "abort":
            self.problems.leave_out(line, _ABORTED)
        elif not row.faults and not (input_tokens and output_tokens):
            self.problems.leave_out(line, NO_RESPONSE)
        kept = {
            "source_request_id": writable(rid) if isinstance(rid, str) else None,
            "finish_reason": writable(reason) if isinstance(reason, str) else None,
            "recorded_hit_tokens": hits,
            **times,
        }
        tokens = _ids(obj.get("input_ids"), input_tokens)
        self.rows.append(
            _Finished(
                line=line,
                arrival_ns=arrival_ns,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                tokens=tokens,
                response_tokens=_ids(out.get("output_ids"), output_tokens),
                text=_whole(obj.get("text")),
                response=_whole(out.get("text")),
                other={name: value for name, value in kept.items() if value is not None},
            )
        )

    def trace(self, source: Source, options: ReadOptions) -> Trace:
        """Return the trace of all requests, by the best that all of them have."""
        aside = self.problems.put_aside
        known = [row for row in self.rows if row.line not in aside]
        notes = []
        if self.others:
            notes.append(f"{self.others:,} lines of received requests were passed over")
        read = self.read + self.problems.total
        lost = sum(row.tokens is None for row in known)
        if lost and known and all(row.text for row in known):
            texts = [_as_text(row) for row in self.rows]
            return text_trace(
                texts, source, options, self.problems,
                format_name="sglang-log", read=read, notes=notes, clock_start_ns=0,
            )  # fmt: skip
        if lost:
            notes.append(_LOST.format(lost=lost, all=len(known)))
        content = LENGTHS_ONLY if lost else "token ids of the source, of prompts and responses"
        meta = source_meta(
            source,
            format_name="sglang-log",
            content=content,
            notes=notes,
            clock_start_ns=0,
            shared_ids=True,
        )
        requests = [_as_content(row, with_tokens=not lost) for row in self.rows]
        return content_trace(requests, source, self.problems, meta, read=read, note_disorder=False)


def _as_text(row: _Finished) -> TextRequest:
    return TextRequest(
        line=row.line,
        arrival_ns=row.arrival_ns,
        prompt=row.text or "",
        response=row.response or "",
        response_tokens=row.output_tokens,
        other={
            **row.other,
            "recorded_input_tokens": row.input_tokens,
            "recorded_output_tokens": row.output_tokens,
        },
    )


def _as_content(row: _Finished, *, with_tokens: bool) -> ContentRequest:
    return ContentRequest(
        line=row.line,
        arrival_ns=row.arrival_ns,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        tokens=row.tokens if with_tokens else None,
        response_tokens=row.response_tokens if with_tokens else None,
        other=row.other,
    )


_Parts = tuple[object, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], object]


def _of_event(row: Mapping[str, Any]) -> _Parts:
    out = _mapping(row.get("out"))
    return (
        row.get("rid"), _mapping(row.get("obj")), out, _mapping(out.get("meta_info")),
        row.get("timestamp"),
    )  # fmt: skip


def _of_export(row: Mapping[str, Any]) -> _Parts:
    try:
        asked = json.loads(row["request_parameters"])
    except (TypeError, ValueError, RecursionError):
        asked = {}
    asked = _mapping(asked)
    rid = row.get("rid", row.get("id", asked.get("rid")))
    return rid, asked, row, row, row.get("timestamp")


def _of_line(before: str, told: str) -> _Parts:
    obj: dict[str, Any] = {}
    text = _TEXT.search(told)
    asked, _, out = told[text.end() if text else 0 :].partition(_OUT)
    ids, rid, date = _IDS.search(asked), _RID.search(told), _DATE.search(before)
    if text:
        obj["text"] = text_in(text[1])
    if ids:
        obj["input_ids"] = token_ids_in(ids[1])
    answered: dict[str, Any] = {}
    answer = _OUT_TEXT.match(out)
    if answer:
        answered["text"] = text_in(answer[1])
        out = out[answer.end() :]  # it may hold anything, names of counts too
    given = _OUT_IDS.search(out)
    if given:
        answered["output_ids"] = token_ids_in(given[1])
    meta: dict[str, Any] = {name: _number(value) for name, value in _NUMBER.findall(out)}
    reason = _REASON.search(out)
    if reason:
        meta["finish_reason"] = reason[1]
    named = text_in(rid[1]) if rid else None
    return named, obj, answered, meta, date[0] if date else None


def _arrival_ns(row: CheckedRow, e2e_ns: int | None, date: object) -> int:
    """Return when it was received: as told, else as long before it was logged as it took."""
    received = row.duration_ns("request_received_ts", unit_ns=NS_PER_S)
    if received is not None:
        return received
    logged = date_ns(date) if isinstance(date, str) else None
    if logged is None and not row.faults:
        row.faults.append("says neither when it was received nor when it was logged")
    return max(0, (logged or 0) - (e2e_ns or 0))


def _ids(value: object, length: int) -> list[int] | None:
    """Return token ids, as many as were counted; None where they are cut, or not there."""
    if not isinstance(value, list) or len(value) != length or not length:
        return None
    return value if all(type(one) is int and 0 <= one < 2**32 for one in value) else None


def _whole(value: object) -> str | None:
    """Return a text, None where its middle was cut out."""
    if not isinstance(value, str):
        return None
    cut = len(value) == 2 * _HALF + len(_CUT) and value.startswith(_CUT, _HALF)
    return None if cut else writable(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 19 else float(text)


SGLANG_LOG = Reader(
    name="sglang-log",
    suffixes=(".jsonl", ".json", ".log"),
    meaning="request logs of SGLang, JSON or plain lines, and its exported metrics of requests",
    content="token ids or text of prompts and responses, where the log level keeps them",
    sessions="none",
    assumes="a request arrives when it was received, or as long before its line as it took",
    sniff=looks_like_sglang_log,
    read=read_sglang_log,
    takes=("tokenizer",),
    shapes=_SHAPES,
)
