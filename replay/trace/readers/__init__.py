"""Trace formats: one table, one file a format, recognised by content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from replay.errors import Problem, TraceError, UnknownNameError
from replay.trace.frame import Trace
from replay.trace.readers.canonical import looks_like_parquet, read_canonical
from replay.trace.readers.mooncake import looks_like_mooncake, read_mooncake
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.source import Source, read_source

_HEAD_BYTES = 1 << 20


class Read(Protocol):
    """Turns the content of a file into a trace; raises TraceError where it breaks the format."""

    def __call__(self, source: Source, options: ReadOptions = DEFAULTS) -> Trace:
        """Return the trace; the options say what the file does not."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One trace format: `sniff` recognises it in the first bytes, `suffixes` in a file name.

    `content` says what identifies equal content in it, `sessions` where sessions come from,
    `assumes` what is taken for granted.
    """

    name: str
    suffixes: tuple[str, ...]
    meaning: str
    content: str
    sessions: str
    assumes: str
    sniff: Callable[[bytes], bool]
    read: Read


READERS = (
    Reader(
        "mooncake",
        (".jsonl", ".ndjson", ".jsonl.gz"),
        "JSON lines: timestamp in ms, lengths, prefix-chained hash_ids of 512-token blocks",
        "prefix-chained block ids; responses have none",
        "inferred by prefix chaining, unless every row has a session_id",
        "blocks of 512 tokens, unless --block-size says otherwise",
        looks_like_mooncake,
        read_mooncake,
    ),
    Reader(
        "parquet",
        (".parquet",),
        "canonical Parquet, as replay writes it",
        "segments, token ids or block ids, as its columns say",
        "its column session_id",
        "nothing",
        looks_like_parquet,
        read_canonical,
    ),
)


def load_trace(
    path: str | Path, *, format_name: str | None = None, options: ReadOptions = DEFAULTS
) -> Trace:
    """Return the trace in a file of any known format, in replay order.

    The format is recognised by content, else by suffix, unless named. Raises InputError for a
    file that cannot be read,
    UnknownNameError for a format that stands in no table, TraceError for one that is broken.
    """
    reader = None if format_name is None else _named(format_name)
    source = read_source(path)
    return (reader or _recognised(source)).read(source, options)


def _named(name: str) -> Reader:
    for reader in READERS:
        if reader.name == name:
            return reader
    raise UnknownNameError("trace format", name, [reader.name for reader in READERS])


def _recognised(source: Source) -> Reader:
    head = source.data[:_HEAD_BYTES]
    for reader in READERS:
        if reader.sniff(head):
            return reader
    for reader in READERS:
        if source.name.lower().endswith(reader.suffixes):
            return reader
    raise TraceError(
        [Problem(source.path, f"not a known trace format (starts with {source.data[:24]!r})")],
        hint=f"known formats: {', '.join(reader.name for reader in READERS)}",
    )
