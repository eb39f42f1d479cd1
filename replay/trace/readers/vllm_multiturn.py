"""Conversations of messages with roles: a JSON array, JSON lines or Parquet; no times.

    [{"id": "c0", "messages": [{"role": "user", "content": "Hi"},
                               {"role": "assistant", "content": "Hello!"}]}, ...]

The input of vLLM's multi-turn benchmark (https://github.com/vllm-project/vllm,
benchmarks/multi_turn), and what hubs serve for training. The benchmark's other input is a
specification to generate conversations from; that is no trace.
"""

from __future__ import annotations

from replay.errors import Problem, TraceError
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.conversations import (
    Conversation,
    Said,
    conversation_trace,
    own_name,
    plain_values,
    said_of,
    talks_in,
)
from replay.trace.readers.first_object import first_object
from replay.trace.readers.json_lines import as_lines
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.parquet_rows import lines_of_parquet
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import Kind, RowShape, fits_any, key, messages_by, one_of
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import ASSUMED_PACE

_KEYS = ("role", "content")
_MESSAGES = "messages"
_READ = ("id", _MESSAGES)
_SPECIFICATION = key("filetype", kind=one_of("generate_conversations"))
# What stands in logs of requests, and in inputs of benchmarks that say what is to be answered.
_LOGGED = frozenset(
    (
        "usage", "response", "choices", "request", "custom_id", "output", "completion", "result",
        "body", "params", "input_length", "output_length", "delay", "turns",
    )
)  # fmt: skip
_COUNTED = _LOGGED.union(("input_tokens", "output_tokens", "prompt_tokens", "model", "max_tokens"))
_TALK = messages_by(_KEYS)
_ANSWERED = Kind(
    "a list of messages that ends with an answer",
    lambda value: (
        isinstance(value, list)
        and _TALK.has(value)
        and isinstance(value[-1], dict)
        and value[-1].get("role") == "assistant"
    ),
)
_SHAPES = (
    RowShape((key("messages", kind=_ANSWERED),), never=_LOGGED),
    RowShape((key("messages", kind=_TALK),), never=_COUNTED),
    RowShape((_SPECIFICATION,)),
)


def looks_like_vllm_multiturn(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of such conversations."""
    return fits_any(head, _SHAPES)


def read_vllm_multiturn(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a file of conversations, a request for each answer.

    Raises TraceError that names the entry of each conversation that breaks the format, where more
    do than the options allow, and for a specification to generate some.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    if "filetype" in (first_object(source.data) or {}):
        raise TraceError(
            [Problem(source.path, "this says how to generate conversations, it holds none")],
            hint="replay generate draws traces from profiles: docs/generator.md",
        )
    source = as_lines(lines_of_parquet(source, _MESSAGES), problems)
    talks, read = talks_in(source, problems, _said)
    # Ids count the conversations of one file, so another file's are others.
    conversations = [
        Conversation(
            own_name(str(talk.row.get("id", "")), talk.said[0].line, source),
            talk.said,
            plain_values(talk.row, but=_READ),
            talk.tools,
        )
        for talk in talks
    ]
    return conversation_trace(
        conversations, source, options, problems, format_name="vllm-multiturn", read=read
    )


def _said(row: dict[str, object], line: int, problems: ProblemList) -> list[Said] | None:
    if "messages" not in row:
        got = ", ".join(map(shown, row)) or "no keys"
        problems.add(f"lacks messages (got {got})", line=line)
        return None
    return said_of(row["messages"], line, keys=_KEYS, problems=problems)


VLLM_MULTITURN = Reader(
    name="vllm-multiturn",
    suffixes=(".json", ".jsonl", ".parquet"),
    meaning="JSON or Parquet: conversations of messages with roles, as vLLM's multi-turn benchmark "
    "reads them and hubs serve them",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="a conversation",
    assumes=ASSUMED_PACE,
    sniff=looks_like_vllm_multiturn,
    read=read_vllm_multiturn,
    takes=("tokenizer", "chat_template"),
    parquet_columns=frozenset({_MESSAGES}),
    shapes=_SHAPES,
)
