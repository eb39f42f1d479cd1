"""What a trace format is to replay: how it is recognised, read, and what it leaves to assume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from replay.errors import InputError
from replay.trace.frame import Trace
from replay.trace.readers.options import DEFAULTS, OPTION_NAMES, ReadOptions
from replay.trace.readers.shapes import Shape
from replay.trace.readers.source import Source


class Read(Protocol):
    """Turns the content of a file into a trace; raises TraceError where it breaks the format."""

    def __call__(self, source: Source, options: ReadOptions = DEFAULTS) -> Trace:
        """Return the trace; the options say what the file does not."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One trace format: `sniff` recognises it in the first bytes, `suffixes` in a file name.

    `content` says what identifies equal content in it, `sessions` where sessions come from,
    `assumes` what is taken for granted. `takes` names the options of ReadOptions that mean
    something to it, beside max_rejected. `parquet_columns` are those that tell its Parquet files
    from others, where it has such. `shapes` are what its rows may be, by which a file that no
    format takes is told the nearest; a format may do without. `call_column` names a call alike in
    every file that tells of it, where logs are copied from file to file.
    """

    name: str
    suffixes: tuple[str, ...]
    meaning: str
    content: str
    sessions: str
    assumes: str
    sniff: Callable[[bytes], bool]
    read: Read
    takes: tuple[str, ...] = ()
    parquet_columns: frozenset[str] = frozenset()
    shapes: tuple[Shape, ...] = ()
    call_column: str | None = None

    def refuse_others(self, options: ReadOptions) -> None:
        """Raise InputError for an option that was given and means nothing to this format."""
        for name, shown in OPTION_NAMES.items():
            if getattr(options, name) is not None and name not in self.takes:
                takes = ", ".join(OPTION_NAMES[taken] for taken in self.takes)
                raise InputError(
                    f"{shown} means nothing to a trace in {self.name} format",
                    hint=f"it takes {takes}" if takes else "leave it out",
                )
