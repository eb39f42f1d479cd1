"""Chat corpora as LMSYS-Chat-1M and WildChat have them: Parquet or JSON lines of conversations.

    {"conversation_id": "a1", "model": "vicuna-13b", "language": "English", "conversation":
     [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}

WildChat names them by `conversation_hash`, and its answers have a `timestamp`, when they were
complete (https://huggingface.co/datasets/allenai/WildChat-1M, /lmsys/lmsys-chat-1m). LMSYS has no
times.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from replay.errors import Problem, TraceError
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.conversations import (
    Conversation,
    Said,
    Talk,
    conversation_trace,
    said_of,
    talks_in,
)
from replay.trace.readers.json_lines import as_lines
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.source_clock import date_ns

_KEYS = ("role", "content")
_CONVERSATION = "conversation"
_NAMES = ("conversation_id", "conversation_hash")
_USER = "hashed_ip"
_SIGN = re.compile(rb'"conversation"\s*:\s*\[\s*\{')


def looks_like_messages(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of JSON lines of such conversations."""
    start = head.lstrip()
    named = any(f'"{name}"'.encode() in head for name in _NAMES)
    return start.startswith((b"{", b"[")) and named and bool(_SIGN.search(head))


def read_messages(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a corpus of conversations, a request for each answer.

    Rows of Parquet count from 1. Raises TraceError that names the line of each conversation that
    breaks the format, where more do than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = _lines_of_parquet(source) if source.data.startswith(b"PAR1") else source
    source = as_lines(source, problems)
    talks, read = talks_in(source, problems, _said)
    conversations = [Conversation(_name(talk), talk.said, _other(talk.row)) for talk in talks]
    return conversation_trace(
        conversations, source, options, problems, format_name="messages", read=read
    )


def _name(talk: Talk) -> str:
    names = (str(talk.row[key]) for key in _NAMES if talk.row.get(key))
    return next(names, f"line {talk.said[0].line}")


def _lines_of_parquet(source: Source) -> Source:
    """Return the rows of a Parquet file as JSON lines, so that both are read alike."""
    try:
        frame = pl.read_parquet(io.BytesIO(source.data))
        binary = [name for name, dtype in frame.schema.items() if dtype == pl.Binary]
        lines = io.BytesIO()
        frame.drop(binary).write_ndjson(lines)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        what = (str(error).splitlines() or ["no reason given"])[0]
        raise TraceError([Problem(source.path, f"damaged Parquet file ({what})")]) from error
    return replace(source, data=lines.getvalue())


def _said(row: dict[str, object], line: int, problems: ProblemList) -> list[Said] | None:
    if _CONVERSATION not in row:
        got = ", ".join(map(shown, row)) or "no keys"
        problems.add(f"lacks {_CONVERSATION} (got {got})", line=line)
        return None
    said = said_of(row[_CONVERSATION], line, keys=_KEYS, problems=problems)
    if not said:
        return said
    messages = row[_CONVERSATION]
    assert isinstance(messages, list)
    found = []
    for place, (message, one) in enumerate(zip(messages, said, strict=True)):
        time = message.get("timestamp")
        if time is None:
            found.append(one)
            continue
        time_ns = date_ns(time) if isinstance(time, str) else None
        if time_ns is None:
            problems.add(
                f"message {place}: timestamp must be a date (got {shown(time)})", line=line
            )
            return None
        found.append(replace(one, time_ns=time_ns))
    return found


def _other(row: Mapping[str, object]) -> dict[str, object]:
    """Return the row's own plain values; who asked goes by `user`."""
    names = (*_NAMES, _CONVERSATION, _USER, "timestamp", "turn")
    other: dict[str, object] = {
        name: value
        for name, value in row.items()
        if name not in names and isinstance(value, str | int | float | bool)
    }
    user = row.get(_USER)
    if user is None:
        messages = row[_CONVERSATION]
        assert isinstance(messages, list)
        user = next((one[_USER] for one in messages if one.get(_USER)), None)
    return other if user is None else {**other, "user": str(user)}


MESSAGES = Reader(
    name="messages",
    suffixes=(".parquet", ".jsonl"),
    meaning="Parquet or JSON lines: conversations of messages, as LMSYS-Chat-1M and WildChat have",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="a conversation",
    assumes="without times, a conversation starts each second, and a turn follows 30 s after the "
    "one before it; WildChat's times are when answers were complete",
    sniff=looks_like_messages,
    read=read_messages,
    takes=("tokenizer", "chat_template"),
    parquet_columns=frozenset({_CONVERSATION}),
)
