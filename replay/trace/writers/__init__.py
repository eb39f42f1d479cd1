"""Trace formats that can be written: one table, one file a format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from replay.errors import InputError, UnknownNameError
from replay.trace.frame import Trace
from replay.trace.writers.canonical import write_canonical
from replay.trace.writers.llmservingsim import write_llmservingsim
from replay.trace.writers.mooncake import write_mooncake


class Write(Protocol):
    """Writes a trace to a file, which appears whole or not, and says what the format loses."""

    def __call__(
        self, trace: Trace, path: str | Path, *, block_size: int | None = None, force: bool = False
    ) -> list[str]:
        """Write the trace and return what is not in the file, in words; nothing lost, none.

        `block_size` makes block ids of that size the only content; `force` overwrites a file
        that is there already.
        """


@dataclass(frozen=True, slots=True)
class Writer:
    """One format to write: `suffixes` are those its files are named with, the first by default."""

    name: str
    suffixes: tuple[str, ...]
    meaning: str
    write: Write


WRITERS = (
    Writer("parquet", (".parquet",), "canonical Parquet, which keeps everything", write_canonical),
    Writer(
        "mooncake",
        (".jsonl", ".ndjson"),
        "JSON lines: timestamp in ms, lengths, prefix-chained hash_ids, those of responses beside",
        write_mooncake,
    ),
    Writer(
        "llmservingsim",
        (".tokens.jsonl",),
        "JSON lines: arrival in ns, lengths, token ids of prompts and responses",
        write_llmservingsim,
    ),
)


def save_trace(
    trace: Trace, path: str | Path, *, format_name: str | None = None, force: bool = False
) -> Path:
    """Write the trace in a known format, by the file's suffix unless named, and return its path.

    Raises UnknownNameError for a format that stands in no table, InputError where the suffix says
    none, OutputExistsError where a file is there already, OutputError where writing fails.
    """
    writer_for(path, format_name).write(trace, path, force=force)
    return Path(path)


def writer_for(path: str | Path, format_name: str | None = None) -> Writer:
    """Return the writer of a format, by the file's suffix unless named.

    Raises UnknownNameError for a format that stands in no table, InputError where the suffix says
    none.
    """
    return _of_suffix(str(path)) if format_name is None else writer_named(format_name)


def writer_named(name: str) -> Writer:
    """Return the writer of a format; UnknownNameError for one that stands in no table."""
    for writer in WRITERS:
        if writer.name == name:
            return writer
    raise UnknownNameError("trace format", name, [writer.name for writer in WRITERS])


def _of_suffix(path: str) -> Writer:
    fitting = [writer for writer in WRITERS if path.lower().endswith(writer.suffixes)]
    if fitting:
        return fitting[-1]  # the narrowest suffix stands last
    known = ", ".join(f"{writer.suffixes[0]} ({writer.name})" for writer in WRITERS)
    raise InputError(
        f"no trace format is known by this suffix (got {path!r})", hint=f"known: {known}"
    )
