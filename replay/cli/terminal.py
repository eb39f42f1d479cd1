"""Data on its way to a terminal: what would steer it is escaped; elsewhere it goes as it is."""

from __future__ import annotations

import codecs

import click

from replay.printable import printable_lines
from replay.writing.whole import Stream


class Terminal(Stream):
    """A terminal to write data to."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Print all of `data`."""
        click.echo(printable_lines(self._decoder.decode(data)), nl=False)
        return len(data)
