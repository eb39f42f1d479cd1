"""LMCache agent traces: JSON lines of raw text, a file a session, timestamps in microseconds.

    {"timestamp": 1760428258635837, "input": "...", "output": "...", "session_id": "189f0222..."}

`timestamp` counts microseconds since 1970, `input` is the prompt as text and `output` the response
(https://github.com/LMCache/lmcache-agent-trace). What the application called beside text, such as
tools, is not recorded: an empty output is a call, and an empty input a prompt that was lost.
"""

from __future__ import annotations

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import TEXT, Kind, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import TextRequest
from replay.trace.readers.text_trace import text_trace

_TEXTS = ("input", "output", "session_id")
_KEYS = ("timestamp", *_TEXTS)
_NS_PER_US = 1_000
_TIMES_US = range(10**15, 2**63 // _NS_PER_US)
NO_INPUT = "the input is empty: its text was not recorded"
EMPTY_OUTPUTS = "empty outputs are taken for calls of tools, one token long"
_MICROSECONDS = Kind(
    "16 digits of microseconds", lambda value: type(value) is int and value in _TIMES_US
)
_SHAPES = (
    RowShape(
        (
            key("timestamp", kind=_MICROSECONDS),
            *(key(name, kind=TEXT) for name in _TEXTS),
        )
    ),
)


def looks_like_lmcache(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an LMCache agent trace."""
    return fits_any(head, _SHAPES)


def read_lmcache(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in an LMCache file, prompts and responses as token ids.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    requests: list[TextRequest] = []
    rows = told = calls = 0
    for line, row in walk_objects(source.data, problems):
        rows += 1
        faults = _faults(row)
        told += len(faults)
        for fault in faults:
            problems.add(fault, line=line)
        if not faults and row["input"] == "":
            problems.leave_out(line, NO_INPUT)
        elif not faults:
            requests.append(_request(line, row))
            calls += row["output"] == ""
    return text_trace(
        requests,
        source,
        options,
        problems,
        format_name="lmcache",
        read=rows + problems.total - told,
        notes=(EMPTY_OUTPUTS,) if calls else (),
        clock_start_ns=0,
    )


def _faults(row: dict[str, object]) -> list[str]:
    missing = [name for name in _KEYS if name not in row]
    if missing:
        got = ", ".join(map(shown, row)) or "no keys"
        return [f"lacks {', '.join(missing)} (got {got})"]
    time = row["timestamp"]
    faults = []
    if type(time) is not int:
        faults.append(f"timestamp must be an integer (got {shown(time)})")
    elif time not in _TIMES_US:
        faults.append(
            f"timestamp must be microseconds since 1970, 16 digits of them (got {shown(time)})"
        )
    faults += [
        f"{name} must be text (got {shown(row[name])})"
        for name in _TEXTS
        if not isinstance(row[name], str)
    ]
    return faults


def _request(line: int, row: dict[str, object]) -> TextRequest:
    time, prompt, response, session = (row[name] for name in _KEYS)
    assert isinstance(time, int)
    assert isinstance(prompt, str)
    assert isinstance(response, str)
    assert isinstance(session, str)
    return TextRequest(
        line=line,
        arrival_ns=time * _NS_PER_US,
        prompt=prompt,
        response=response,
        session=session,
        response_tokens=None if response else 1,
        other={name: value for name, value in row.items() if name not in _KEYS},
    )


LMCACHE = Reader(
    name="lmcache",
    suffixes=(".jsonl",),
    meaning="JSON lines: timestamp in µs since 1970, input and output as text, session_id",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="session_id",
    assumes="an empty output is a call of one token; a row with an empty input is left out",
    sniff=looks_like_lmcache,
    read=read_lmcache,
    takes=("tokenizer",),
    shapes=_SHAPES,
)
