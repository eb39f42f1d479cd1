"""ShareGPT: a JSON array of conversations, or a JSON object a line; no times.

    [{"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "Hi"},
                                           {"from": "gpt", "value": "Hello!"}]}, ...]

Long conversations stand in several entries whose ids end in _0, _1 and so on
(https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

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
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import ASSUMED_PACE

_KEYS = ("from", "value")
_READ = ("id", "conversations")
_PART = re.compile(r"(.+)_([0-9]{1,6})")
_SIGN = re.compile(rb'"conversations"\s*:\s*\[')


def looks_like_sharegpt(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of ShareGPT conversations."""
    return head.lstrip().startswith((b"[", b"{")) and bool(_SIGN.search(head)) and b'"from"' in head


def read_sharegpt(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a ShareGPT file, a request for each answer.

    Raises TraceError that names the entry or line of each conversation that breaks the format,
    where more do than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    talks, read = talks_in(source, problems, _said)
    conversations, joined = _joined(talks)
    note = f"{joined:,} conversations were joined from entries with ids _0, _1 and so on"
    return conversation_trace(
        conversations,
        source,
        options,
        problems,
        format_name="sharegpt",
        read=read,
        notes=[note] if joined else [],
    )


def _said(row: dict[str, object], line: int, problems: ProblemList) -> list[Said] | None:
    if "conversations" not in row:
        got = ", ".join(map(shown, row)) or "no keys"
        problems.add(f"lacks conversations (got {got})", line=line)
        return None
    if not isinstance(row.get("id", ""), str | int):
        problems.add(f"id must be text (got {shown(row['id'])})", line=line)
        return None
    return said_of(row["conversations"], line, keys=_KEYS, problems=problems)


def _joined(talks: Sequence[Talk]) -> tuple[list[Conversation], int]:
    """Return the conversations, those in parts joined, and how many were.

    Parts are joined where all are there from _0 on, each once; else they stay apart.
    """
    names = [str(talk.row.get("id", "")) for talk in talks]
    parts: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, name in enumerate(names):
        match = _PART.fullmatch(name)
        if match:
            parts[match[1]].append((int(match[2]), place))
    whole = {
        base: [place for _, place in sorted(found)]
        for base, found in parts.items()
        if len(found) > 1 and sorted(number for number, _ in found) == list(range(len(found)))
    }
    first = {places[0]: base for base, places in whole.items()}
    later = {place for places in whole.values() for place in places[1:]}
    conversations = []
    for place, (name, talk) in enumerate(zip(names, talks, strict=True)):
        if place in later:
            continue
        said = talk.said
        if place in first:
            name = first[place]
            said = [one for part in whole[name] for one in talks[part].said]
        conversations.append(Conversation(name, said, plain_values(talk.row, but=_READ)))
    return conversations, len(whole)


SHAREGPT = Reader(
    name="sharegpt",
    suffixes=(".json", ".jsonl"),
    meaning="JSON: conversations of human and gpt, as ShareGPT has them",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="a conversation; entries with ids _0, _1 and so on are one, where all are there",
    assumes=ASSUMED_PACE,
    sniff=looks_like_sharegpt,
    read=read_sharegpt,
    takes=("tokenizer", "chat_template"),
)
