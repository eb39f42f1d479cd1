"""`replay verify`: whether runs and traces are what was written."""

from __future__ import annotations

import stat
from pathlib import Path

import click

from replay.cli.options import output_options
from replay.cli.output import emit

DAMAGED_EXIT_CODE = 2


@click.command(short_help="Check every file of a run or a trace against its checksum.")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|TRACE..."
)
@output_options
@click.pass_context
def verify(
    ctx: click.Context,
    paths: tuple[Path, ...],
    format: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Check every file of a RUN, or a TRACE in canonical Parquet, against its checksum.

    A verdict a file: ok, damaged, not verifiable (an earlier replay wrote it, or its format has no
    checksums), or stranger (in the folder, but not of the run). Exits with code 2 on damage. What
    opens runs and traces checks the same and stops at the first damage; this names all of it.

    \b
    replay verify runs/a
    replay verify trace.parquet
    """
    from replay.cli.targets import check_output
    from replay.report.tables import Table

    check_output(format, output, force=force, inputs=paths)
    rows = [row for path in paths for row in (_run(path) if path.is_dir() else [_trace(path)])]
    emit([Table(("file", "verdict", "found"), rows)], format=format, output=output, force=force)
    if any(verdict == "damaged" for _, verdict, _ in rows):
        ctx.exit(DAMAGED_EXIT_CODE)


Row = tuple[str, str, str | None]


def _run(folder: Path) -> list[Row]:
    from replay.runs.open import verify_run

    return [
        (
            str(folder / found.file),
            found.verdict,
            found.damage or (_why(found.note) if found.verdict == "not verifiable" else None),
        )
        for found in verify_run(folder)
    ]


def _why(note: str | None) -> str | None:
    """Return what the verdict beside it does not say yet."""
    return note and note.removeprefix("not verifiable: ")


def _trace(path: Path) -> Row:
    from replay.errors import InputError, TraceError
    from replay.trace.parquet_check import MAGIC, check_parquet_file

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: no regular file", hint="give a file, or a run directory")
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
        if head != MAGIC and path.suffix.lower() != ".parquet":
            return str(path), "not verifiable", "only runs and canonical Parquet have checksums"
        sealed = check_parquet_file(path).sealed
    except TraceError as error:
        return str(path), "damaged", error.problems[0].message
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    return str(path), *(("ok", None) if sealed else ("not verifiable", "it has no checksum"))
