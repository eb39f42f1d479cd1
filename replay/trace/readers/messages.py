"""Chat corpora as LMSYS-Chat-1M and WildChat have them: Parquet or JSON lines of conversations.

    {"conversation_id": "a1", "model": "vicuna-13b", "language": "English", "conversation":
     [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}

WildChat names them by `conversation_hash`, which equal ones share, so the `turn_identifier` of the
first message goes with it. Its answers have a `timestamp`, when they were complete
(https://huggingface.co/datasets/allenai/WildChat-1M, /lmsys/lmsys-chat-1m). LMSYS has no times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.conversations import (
    Conversation,
    Said,
    Talk,
    conversation_trace,
    plain_values,
    said_of,
    talks_in,
)
from replay.trace.readers.json_lines import as_lines
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.parquet_rows import lines_of_parquet
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import RowShape, fits_any, key, messages_by
from replay.trace.readers.source import Source
from replay.trace.readers.source_clock import arrivals_of
from replay.trace.readers.text_requests import ASSUMED_PACE

_KEYS = ("role", "content")
_CONVERSATION = "conversation"
_ID, _HASH = _NAMES = ("conversation_id", "conversation_hash")
_USER = "hashed_ip"
_TIME = "timestamp"
_READ = (*_NAMES, _CONVERSATION, _USER, _TIME, "turn")
_SHAPES = (RowShape((key(_CONVERSATION, kind=messages_by(_KEYS)),)),)


def looks_like_messages(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of JSON lines of such conversations."""
    return fits_any(head, _SHAPES)


def read_messages(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a corpus of conversations, a request for each answer.

    Rows of Parquet count from 1. Raises TraceError that names the line of each conversation that
    breaks the format, where more do than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(lines_of_parquet(source, _CONVERSATION), problems)
    talks, read = talks_in(source, problems, _said)
    talks = _timed(talks, problems)
    conversations = [
        Conversation(_name(talk), talk.said, _other(talk.row), talk.tools) for talk in talks
    ]
    return conversation_trace(
        conversations, source, options, problems, format_name="messages", read=read
    )


def _name(talk: Talk) -> str:
    if talk.row.get(_ID):
        return str(talk.row[_ID])
    number = _messages(talk.row)[0].get("turn_identifier")
    name = str(talk.row.get(_HASH) or "")
    return name if number is None else f"{name} {number}".strip()


def _said(row: dict[str, object], line: int, problems: ProblemList) -> list[Said] | None:
    if _CONVERSATION not in row:
        got = ", ".join(map(shown, row)) or "no keys"
        problems.add(f"lacks {_CONVERSATION} (got {got})", line=line)
        return None
    return said_of(row[_CONVERSATION], line, keys=_KEYS, problems=problems)


def _timed(talks: Sequence[Talk], problems: ProblemList) -> list[Talk]:
    """Return the talks with the times of their messages, but those that have a faulty one."""
    given = [
        (number, place, message[_TIME])
        for number, talk in enumerate(talks)
        for place, message in enumerate(_messages(talk.row))
        if message.get(_TIME) is not None
    ]
    if not given:
        return list(talks)
    told = [(talks[number].said[0].line, value) for number, _, value in given]
    found = arrivals_of(_TIME, told, problems)[0]
    times = {at[:2]: time for at, time in zip(given, found, strict=True)}
    faulty = {number for (number, _), time in times.items() if time is None}
    return [
        replace(talk, said=[replace(one, time_ns=times.get((at, one.place))) for one in talk.said])
        for at, talk in enumerate(talks)
        if at not in faulty
    ]


def _messages(row: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the messages of a row that `said_of` has found to be messages."""
    messages = row[_CONVERSATION]
    assert isinstance(messages, list)
    return messages


def _other(row: Mapping[str, object]) -> dict[str, object]:
    """Return the row's own plain values; who asked goes by `user`."""
    other = plain_values(row, but=_READ)
    user = row.get(_USER)
    if user is None:
        user = next((one[_USER] for one in _messages(row) if one.get(_USER)), None)
    return other if user is None else {**other, "user": str(user)}


MESSAGES = Reader(
    name="messages",
    suffixes=(".parquet", ".jsonl"),
    meaning="Parquet or JSON lines: conversations of messages, as LMSYS-Chat-1M and WildChat have",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="a conversation",
    assumes=f"without times, {ASSUMED_PACE}; WildChat's times are when answers were complete",
    sniff=looks_like_messages,
    read=read_messages,
    takes=("tokenizer", "chat_template"),
    parquet_columns=frozenset({_CONVERSATION}),
    shapes=_SHAPES,
)
