"""What tests of logs of APIs share: rows, and the trace of some."""

from __future__ import annotations

import json

from replay.errors import ReplayError
from replay.trace.frame import Trace
from replay.trace.readers.openai import read_openai
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.text import APPROXIMATE

NOW = 1_735_689_600  # 2025-01-01 in seconds


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def logged(messages, reply: object = "ok", *, at: float = 0, usage=None, **request):
    """A row of a chat completion; a reply that is text or the message itself."""
    message = reply if isinstance(reply, dict) else {"role": "assistant", "content": reply}
    response = {"choices": [{"message": message}], **({"usage": usage} if usage else {})}
    asked = {"model": "m", "messages": messages, **request}
    return {"timestamp": NOW + at, "request": asked, "response": response}


def source_of(rows) -> Source:
    text = rows if isinstance(rows, bytes) else "\n".join(map(json.dumps, rows)).encode()
    return Source("log.jsonl", "log.jsonl", text, "0" * 64)


def trace_of(rows, **options) -> Trace:
    return read_openai(source_of(rows), ReadOptions(**options))


def told_or_read(text: bytes) -> bool:
    """Whether there is a trace, or an error that names the file; anything else is raised."""
    try:
        return trace_of(text, max_rejected=0.5).requests > 0
    except ReplayError as error:
        return "log.jsonl" in str(error)


def ids(text: str) -> list[int]:
    return APPROXIMATE.split([text])[0].tolist()


def prompts(trace: Trace) -> list[list[int]]:
    return trace.frame["tokens"].to_list()


def column(trace: Trace, name: str) -> list[object]:
    return trace.frame[name].to_list()


def notes(trace: Trace) -> str:
    return "\n".join(trace.meta.notes)
