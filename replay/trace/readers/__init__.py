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
from replay.trace.readers.source import Source, read_source

_HEAD_BYTES = 1 << 20


class Read(Protocol):
    """Turns the content of a file into a trace; raises TraceError where it breaks the format."""

    def __call__(self, source: Source, *, block_size: int | None = None) -> Trace:
        """Return the trace; `block_size` in tokens is for formats that do not state it."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One trace format: `sniff` recognises it in the first bytes, `suffixes` in a file name."""

    name: str
    suffixes: tuple[str, ...]
    meaning: str
    sniff: Callable[[bytes], bool]
    read: Read


READERS = (
    Reader(
        "mooncake",
        (".jsonl", ".ndjson", ".jsonl.gz"),
        "JSON lines: timestamp in ms, lengths, prefix-chained hash_ids of 512-token blocks",
        looks_like_mooncake,
        read_mooncake,
    ),
    Reader(
        "parquet",
        (".parquet",),
        "canonical Parquet, as replay writes it",
        looks_like_parquet,
        read_canonical,
    ),
)


def load_trace(
    path: str | Path, *, format_name: str | None = None, block_size: int | None = None
) -> Trace:
    """Return the trace in a file of any known format, in replay order.

    The format is recognised by content, else by suffix, unless named. `block_size` in tokens is
    for formats that do not state it. Raises InputError for a file that cannot be read,
    UnknownNameError for a format that stands in no table, TraceError for one that is broken.
    """
    reader = None if format_name is None else _named(format_name)
    source = read_source(path)
    return (reader or _recognised(source)).read(source, block_size=block_size)


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
