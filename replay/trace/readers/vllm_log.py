"""The log of a vLLM server that logs its requests: lines of text among others.

    INFO 07-25 02:41:21 [logger.py:43] Received request cmpl-1-0: prompt: 'Hi there', params:
     SamplingParams(n=1, ..., max_tokens=100, ...), prompt_token_ids: [1, 2], lora_request: None.
    INFO 07-25 02:41:23 [logger.py:60] Generated response cmpl-1-0: output: ' Hello',
     output_token_ids: [5], finish_reason: stop

They come from `--enable-log-requests` and `--enable-log-outputs` (`--max-log-len` cuts them;
https://docs.vllm.ai/en/latest/configuration/engine_args). Newer servers tell prompts on a line of
their own, at level DEBUG: `Request cmpl-1-0 details: prompt: 'Hi', prompt_token_ids: [...]`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.content_requests import ContentRequest, content_trace, source_meta
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.python_literals import QUOTED, text_in, token_ids_in
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import TextRequest, writable
from replay.trace.readers.text_trace import text_trace
from replay.units import NS_PER_S

_SIGN = re.compile(rb"Received request \S+: (?:prompt: ['\"N]|params: )")
_CLOCK = re.compile(r"\b(\d\d)-(\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")
_RECEIVED, _DETAILS, _RESPONSE = "Received request ", " details: ", "Generated response "
_PROMPT = re.compile(rf"^prompt: (?:({QUOTED})|None)(?:, |$)")
_IDS = re.compile(r"prompt_token_ids: \[([0-9, ]*)\]")
_OUTPUT = re.compile(rf"^output: (?:({QUOTED})|None)(?:, |$)")
_OUTPUT_IDS = re.compile(r"output_token_ids: (?:array\('\w', )?\[([0-9, ]*)\]")
_MOST = re.compile(r"\bmax_tokens=(\d{1,9})\b")
_LOGPROBS = re.compile(r"\bprompt_logprobs=(\d{1,9})\b")
_ADAPTER = re.compile(rf"lora_request: LoRARequest\(lora_name=({QUOTED})")
_REASON = re.compile(r"finish_reason: (\w+)$")
_LEAP_YEAR = 2000  # the log has none
_NO_PROMPT = "neither the text of the prompt nor its token ids were logged"
_LEVEL = "vLLM logs prompts with VLLM_LOGGING_LEVEL=DEBUG"
_DATES = "the log has neither years nor parts of seconds: it starts at zero, in whole seconds"
_ASSUMED = (
    "responses were not logged (--enable-log-outputs); assumed: each is as long as its request "
    "allows, one token where it sets no limit"
)
_MISSING = "responses were not logged, where others were; assumed as long as their requests allow"
_CUT = (
    "prompts of exactly {length:,} characters, and none is longer: --max-log-len may have cut them"
)
_CUT_LEAST = 3


def looks_like_vllm_log(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a log with requests to vLLM."""
    return bool(_SIGN.search(head))


def read_vllm_log(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the requests in a log: by token ids where all have some, else by text.

    Raises TraceError that names the line of each request without a prompt or a time, where more
    are so than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    log = _Log(problems)
    for line, text in enumerate(source.data.decode(errors="replace").split("\n"), start=1):
        log.take(line, text.rstrip("\r"))
    return log.trace(source, options)


@dataclass(slots=True)
class _Request:
    """One request: its prompt as text or token ids, and the same of its response, as logged."""

    line: int
    name: str
    arrival_ns: int
    prompt: str | None = None
    tokens: list[int] | None = None
    most_tokens: int | None = None
    adapter: str | None = None
    prompt_logprobs: int | None = None
    response: str | None = None
    response_tokens: list[int] | None = None
    finished: bool = False
    reason: str | None = None


@dataclass(slots=True)
class _Log:
    """Gathers the requests of a log by their names, each with what is told of it later."""

    problems: ProblemList
    requests: list[_Request] = field(default_factory=list)
    year: int = _LEAP_YEAR
    _open: dict[str, _Request] = field(default_factory=dict)
    _month: int = 0

    def take(self, line: int, text: str) -> None:
        """Take one line of the log; lines of other things are passed over."""
        before, received, told = text.partition(_RECEIVED)
        if received and ": " in told:
            self._receive(line, before, *_named(told))
        elif _DETAILS in text:
            name, _, told = text.partition("Request ")[2].partition(_DETAILS)
            if name in self._open:
                _take_prompt(self._open[name], told)
        elif _RESPONSE in text:
            name, told = _named(text.partition(_RESPONSE)[2])
            name, _, how = name.partition(" ")
            if name in self._open and how != "(streaming delta)":
                _take_response(self._open[name], told)

    def _receive(self, line: int, before: str, name: str, told: str) -> None:
        request = _Request(line, name, self._time(line, before))
        _take_prompt(request, told)
        rest = told[_end_of_prompt(told) :]
        most, adapter = _MOST.search(rest), _ADAPTER.search(rest)
        logprobs = _LOGPROBS.search(rest)
        request.prompt_logprobs = int(logprobs[1]) if logprobs else None
        request.most_tokens = int(most[1]) if most else None
        request.adapter = text_in(adapter[1]) if adapter else None
        self._open[name] = request
        self.requests.append(request)

    def _time(self, line: int, before: str) -> int:
        found = _CLOCK.search(before)
        if found is None:
            self.problems.add(f"has no time before it (got {shown(before[:40])})", line=line)
            return 0
        month, day, time, part = found.groups()
        self.year += int(month) < self._month - 6  # a new year
        try:
            date = datetime.fromisoformat(f"{self.year:04}-{month}-{day}T{time}+00:00")
        except ValueError:
            self.problems.add(f"no such date (got {found[0]!r})", line=line)
            return 0
        self._month = int(month)
        return int(date.timestamp()) * NS_PER_S + int((part or "0").ljust(9, "0"))

    def trace(self, source: Source, options: ReadOptions) -> Trace:
        """Return the trace of all requests."""
        for request in self.requests:
            if not request.prompt and not request.tokens:
                self.problems.add(_NO_PROMPT, line=request.line)
        if self.problems.total:
            self.problems.hint(_LEVEL)
        read = len(self.requests) or self.problems.total
        notes = list(self._notes())
        by_tokens = all(request.tokens for request in self.requests)
        if by_tokens and self.requests:
            meta = source_meta(
                source,
                format_name="vllm-log",
                content="token ids of the source, of prompts and, where it has them, of responses",
                notes=notes,
                shared_ids=True,
            )
            requests = [_as_content(request) for request in self.requests]
            return content_trace(requests, source, self.problems, meta, read=read)
        texts = [_as_text(request) for request in self.requests]
        return text_trace(
            texts, source, options, self.problems, format_name="vllm-log", read=read, notes=notes
        )

    def _notes(self) -> Iterator[str]:
        yield _DATES
        unfinished = sum(not request.finished for request in self.requests)
        if unfinished == len(self.requests):
            yield _ASSUMED
        elif unfinished:
            yield f"{unfinished:,} {_MISSING}"
        lengths = Counter(len(request.prompt) for request in self.requests if request.prompt)
        longest = max(lengths, default=0)
        if lengths[longest] >= _CUT_LEAST and len(lengths) > 1:
            yield f"{lengths[longest]:,} {_CUT.format(length=longest)}"


def _named(told: str) -> tuple[str, str]:
    name, _, rest = told.partition(": ")
    return name, rest


def _end_of_prompt(told: str) -> int:
    found = _PROMPT.match(told)
    return found.end() if found else 0


def _take_prompt(request: _Request, told: str) -> None:
    """Take the prompt of a request from what is told of it, text and token ids."""
    found = _PROMPT.match(told)
    if found and found[1]:
        request.prompt = text_in(found[1])
    ids = _IDS.search(told, found.end() if found else 0)
    if ids:
        request.tokens = token_ids_in(ids[1])


def _take_response(request: _Request, told: str) -> None:
    found, reason = _OUTPUT.match(told), _REASON.search(told)
    request.finished = True
    if found and found[1]:
        request.response = text_in(found[1])
    ids = _OUTPUT_IDS.search(told, found.end() if found else 0)
    if ids:
        request.response_tokens = token_ids_in(ids[1])
    request.reason = reason[1] if reason else None


def _as_content(request: _Request) -> ContentRequest:
    known = request.response_tokens
    length = len(known) if known else _assumed(request)
    return ContentRequest(
        line=request.line,
        arrival_ns=request.arrival_ns,
        input_tokens=len(request.tokens or ()),
        output_tokens=length,
        tokens=request.tokens,
        response_tokens=known or None,
        other=_other(request),
    )


def _as_text(request: _Request) -> TextRequest:
    known = request.response_tokens
    return TextRequest(
        line=request.line,
        arrival_ns=request.arrival_ns,
        prompt=request.prompt or "",
        response=request.response or "",
        response_tokens=len(known) if known else None if request.response else _assumed(request),
        other=_other(request),
    )


def _assumed(request: _Request) -> int:
    """Return the length of a response that was not logged; 0 for one that was, and is empty."""
    return 0 if request.finished else request.most_tokens or 1


def _other(request: _Request) -> dict[str, object]:
    kept: dict[str, object] = {
        "source_request_id": writable(request.name),
        "adapter": writable(request.adapter),
        "prompt_logprobs": request.prompt_logprobs,  # such a request looks nothing up
        "finish_reason": request.reason,
    }
    return {name: value for name, value in kept.items() if value is not None}


VLLM_LOG = Reader(
    name="vllm-log",
    suffixes=(".log", ".txt"),
    meaning="the log of a vLLM server that logs its requests: prompts as text or token ids",
    content="token ids where all requests have them, else text by a tokenizer or a splitter",
    sessions="none",
    assumes="a response that was not logged is as long as its request allows",
    sniff=looks_like_vllm_log,
    read=read_vllm_log,
    takes=("tokenizer",),
)
