"""What a command says: tables in the format asked for, and notes beside them.

Standard output carries data only; notes and paths go to standard error.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from replay.errors import InputError
from replay.printable import printable_lines

if TYPE_CHECKING:
    from rich.console import Console

    from replay.report.tables import AnyTable, Table

FORMATS = ("table", "md", "csv", "json", "jsonl", "parquet")
SUFFIXES = {
    ".txt": "table", ".md": "md", ".csv": "csv", ".json": "json",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
}  # fmt: skip

PEOPLE = ("table", "md")  # formats that hold several tables, worded for reading

FILE_WIDTH = 120
PIPE_WIDTH = 80
NARROWEST = 40
_GLUE = "\0"  # stands for a space where no line may end
_TOLD = "replay.notes_told"  # in what a command and those it invokes remember


def emit(
    tables: Sequence[AnyTable],
    *,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    preface: Sequence[str] = (),
) -> None:
    """Print tables, or write them to a file in the format asked for or told by its suffix.

    `preface` are lines to read first: above the tables where people read them, else on stderr.

    The result of a query is written as it is computed, so it may be larger than memory; in the
    formats for people it is read whole.

    Raises InputError for a suffix that tells none, for Parquet on a terminal, and for several
    tables in a format that holds one; OutputExistsError for a file that is there already unless
    `force`, and OutputError where it cannot be written.
    """
    from replay.report.tables import in_memory, write_table

    chosen = chosen_format(format, output)
    if len(tables) > 1 and chosen not in PEOPLE:
        raise InputError(
            f"{chosen} holds one table (got {len(tables)})", hint="ask for one report at a time"
        )
    for line in preface if chosen not in PEOPLE else ():
        note(line)
    above = "".join(f"{printable_lines(line)}\n\n" for line in preface)
    if chosen == "table":
        text = above + _as_text([in_memory(table) for table in tables], output)
        _deliver(text, output, force=force)
    elif chosen != "md":
        write_table(tables[0], chosen, output or _data_stream(chosen), force=force)
    else:
        parts = io.StringIO()
        parts.write(above)
        for index, table in enumerate(tables):
            if index:
                parts.write("\n")
            write_table(table, chosen, parts)
        _deliver(parts.getvalue(), output, force=force)
    _say_where(output)


def emit_named(
    tables: Mapping[str, AnyTable],
    *,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
) -> None:
    """Print several tables, or write them, each under its name where the format is JSON.

    Formats of one table get the first, and a note says where the others are. Raises as `emit`.
    """
    from replay.report.tables import write_objects

    chosen = chosen_format(format, output)
    first, *others = tables
    if chosen == "json":
        write_objects(tables, output or _data_stream(chosen), force=force)
        _say_where(output)
    elif chosen in PEOPLE:
        emit(list(tables.values()), format=format, output=output, force=force)
    else:
        emit([tables[first]], format=format, output=output, force=force)
        if others:
            note(f"Note: {chosen} holds one table; `--format json` has {', '.join(others)} too")


def _say_where(output: Path | None) -> None:
    if output is not None:
        note(f"Written to {output}")


def note(message: str) -> None:
    """Print a line for the person at the terminal, beside the data, wrapped at words.

    What cannot be said on standard error stops nothing.
    """
    with contextlib.suppress(OSError):
        click.echo(wrapped(printable_lines(message)), err=True)


def say(text: str = "") -> None:
    """Print a line of text for people on standard output; see `replay.printable`."""
    click.echo(printable_lines(text))


def note_all(texts: Iterable[str]) -> None:
    """Print what a reader of the numbers should know, each thing once in a command."""
    told = click.get_current_context().meta.setdefault(_TOLD, set())
    for text in dict.fromkeys(texts):
        if text not in told:
            told.add(text)
            note(f"Note: {text}")


def wrapped(message: str) -> str:
    """Return a message in lines that fit the terminal on stderr.

    Words stay whole, and so does a command in backticks, for people copy it.
    """
    width = note_width()
    glued = re.sub("`[^`]*`", lambda command: command[0].replace(" ", _GLUE), message)
    lines = (
        textwrap.fill(
            line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        for line in glued.split("\n")
    )
    return "\n".join(lines).replace(_GLUE, " ")


def note_width() -> int:
    """Return how wide notes may be: as the terminal, or as it would be where there is none."""
    if sys.stderr.isatty() or "COLUMNS" in os.environ:
        return max(shutil.get_terminal_size().columns, NARROWEST)
    return PIPE_WIDTH


def console(*, stderr: bool = False, file: io.StringIO | None = None) -> Console:
    """Return a rich console that keeps to `--no-color`, NO_COLOR and what the terminal can do."""
    from rich.console import Console

    context = click.get_current_context(silent=True)
    plain = bool(os.environ.get("NO_COLOR")) or (context is not None and context.color is False)
    return Console(
        stderr=stderr,
        file=file,
        no_color=plain,
        # Rich keeps bold and dim where it may not use colour; data goes out without either. The
        # progress bar on stderr still has to move.
        force_terminal=False if plain and not stderr else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def chosen_format(format: str | None, output: Path | None) -> str:
    """Return the format asked for or told by a file's suffix; raises InputError for neither."""
    if format is not None or output is None:
        return format or "table"
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{output}: the suffix tells no format (got {output.suffix!r})",
            hint=f"give --format, or one of {', '.join(SUFFIXES)}",
        )
    return SUFFIXES[output.suffix.lower()]


def _data_stream(chosen: str) -> BinaryIO:
    """Return standard output for data that a program reads."""
    if chosen == "parquet" and sys.stdout.isatty():
        raise InputError(
            "Parquet is not for a terminal", hint="give -o FILE.parquet, or pipe it into a file"
        )
    sys.stdout.flush()
    if sys.stdout.isatty():
        from replay.cli.terminal import Terminal

        return Terminal()
    return sys.stdout.buffer


def _as_text(tables: Sequence[Table], output: Path | None) -> str:
    """Return tables as a person reads them, as wide as the terminal or as a file may be."""
    from replay.cli.rendering import render

    target = console() if output is None else console(file=io.StringIO())
    target.width = text_width(output)
    with target.capture() as capture:
        for index, table in enumerate(tables):
            if index:
                target.print()
            for part in render(table, target.width):
                target.print(part)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def text_width(output: Path | None) -> int:
    """Return how wide text may be: as the terminal, a pipe, or a file."""
    if output is not None:
        return FILE_WIDTH
    target = console()
    told = target.is_terminal or "COLUMNS" in os.environ
    return max(target.width, NARROWEST) if told else PIPE_WIDTH


def _deliver(content: str, output: Path | None, *, force: bool) -> None:
    """Send finished text to standard output or to a file."""
    if output is None:
        click.echo(content, nl=False)
        return
    from replay.writing.whole import whole_file

    with whole_file(output, force=force) as sink:
        sink.write(content.encode())
