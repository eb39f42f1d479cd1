"""ShareGPT: conversations in a JSON array, a JSON object a line, or in Parquet; no times.

    [{"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "Hi"},
                                           {"from": "gpt", "value": "Hello!"}]}, ...]

Messages may have `role` and `content` instead. Long conversations stand in several entries: the
number at the end of an id counts the messages before its first one, so `X_4` goes on where `X_0`
has four (https://github.com/lm-sys/FastChat, data/split_long_conversation.py; the corpus is
https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered). Ids that end in a number
otherwise are names.
"""

from __future__ import annotations

import itertools
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
from replay.trace.readers.parquet_rows import lines_of_parquet
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import RowShape, fits_any, key, messages_by
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import ASSUMED_PACE

_CONVERSATIONS = "conversations"
_KEYS = (("from", "value"), ("role", "content"))
_READ = ("id", _CONVERSATIONS)
_PART = re.compile(r"(.+)_([0-9]{1,6})")
_SHAPES = (RowShape((key(_CONVERSATIONS, kind=messages_by(*_KEYS)),)),)


def looks_like_sharegpt(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of ShareGPT conversations."""
    return fits_any(head, _SHAPES)


def read_sharegpt(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a ShareGPT file, a request for each answer.

    Raises TraceError that names the entry or line of each conversation that breaks the format,
    where more do than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(lines_of_parquet(source, _CONVERSATIONS), problems)
    talks, read = talks_in(source, problems, _said)
    conversations, joined, cut = _joined(talks)
    notes = []
    if joined:
        notes.append(
            f"{joined:,} conversations were joined from entries that go on with each other"
        )
    if cut:
        notes.append(f"{cut:,} entries go on from one that is not there: their prompts lack it")
    return conversation_trace(
        conversations,
        source,
        options,
        problems,
        format_name="sharegpt",
        read=read,
        notes=notes,
    )


def _said(row: dict[str, object], line: int, problems: ProblemList) -> list[Said] | None:
    if _CONVERSATIONS not in row:
        got = ", ".join(map(shown, row)) or "no keys"
        problems.add(f"lacks conversations (got {got})", line=line)
        return None
    if not isinstance(row.get("id", ""), str | int):
        problems.add(f"id must be text (got {shown(row['id'])})", line=line)
        return None
    messages = row[_CONVERSATIONS]
    first = messages[0] if isinstance(messages, list) and messages else None
    keys = next((pair for pair in _KEYS if isinstance(first, dict) and pair[0] in first), _KEYS[0])
    return said_of(messages, line, keys=keys, problems=problems)


def _joined(talks: Sequence[Talk]) -> tuple[list[Conversation], int, int]:
    """Return the conversations, how many were joined, and how many entries lack what came before.

    An entry goes on with the one whose number and messages add up to its own number. Where numbers
    of one name overlap, they count entries, and nothing is joined.
    """
    names = [str(talk.row.get("id", "")) for talk in talks]
    parts: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, name in enumerate(names):
        match = _PART.fullmatch(name)
        if match:
            parts[match[1]].append((int(match[2]), place))
    chains = [
        (base, chain)
        for base, found in parts.items()
        if len(found) > 1
        for chain in _chains(sorted(found), talks)
    ]
    joined = {chain[0][1]: (base, chain) for base, chain in chains if len(chain) > 1}
    cut = sum(chain[0][0] > 0 for _, chain in chains)
    later = {place for _, chain in joined.values() for _, place in chain[1:]}
    conversations = []
    for place, (name, talk) in enumerate(zip(names, talks, strict=True)):
        if place in later:
            continue
        said = talk.said
        if place in joined:
            base, chain = joined[place]
            name = base if chain[0][0] == 0 else name
            said = [
                one
                for number, (_, part) in enumerate(chain)
                for one in talks[part].said
                if not number or one.place >= 0
            ]
        conversations.append(
            Conversation(name, said, plain_values(talk.row, but=_READ), talk.tools)
        )
    return conversations, len(joined), cut


def _chains(parts: list[tuple[int, int]], talks: Sequence[Talk]) -> list[list[tuple[int, int]]]:
    """Return (number, place) of entries by the run they are of; none where numbers overlap.

    `parts` are in order of their numbers.
    """
    chains = [[parts[0]]]
    for before, part in itertools.pairwise(parts):
        stop = before[0] + sum(one.place >= 0 for one in talks[before[1]].said)
        if part[0] < stop:
            return []
        if part[0] == stop:
            chains[-1].append(part)
        else:
            chains.append([part])
    return chains


SHAREGPT = Reader(
    name="sharegpt",
    suffixes=(".json", ".jsonl", ".parquet"),
    meaning="JSON or Parquet: conversations of human and gpt, as ShareGPT has them",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="a conversation; entries whose ids say that they go on with each other are one",
    assumes=ASSUMED_PACE,
    sniff=looks_like_sharegpt,
    read=read_sharegpt,
    takes=("tokenizer", "chat_template"),
    parquet_columns=frozenset({_CONVERSATIONS}),
    shapes=_SHAPES,
)
