"""`replay report RUN --html FILE`: the page of a run, written whole or not at all."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from replay.errors import InputError

if TYPE_CHECKING:
    from replay.analysis.explain import Explanation
    from replay.progress import Hook
    from replay.runs.open import Run
    from replay.trace.readers.options import ReadOptions

PAGE_SUFFIXES = (".html", ".htm")


def write_page(
    folder: Path,
    output: Path,
    *,
    static: bool = False,
    trace: Path | None = None,
    force: bool = False,
) -> None:
    """Write the page of a run to a file, and say where it is.

    `trace` is where the run's trace lies now, if it moved: for the stories of single requests.
    Raises InputError where the run cannot be read or pages need more than is installed, and what
    `claim` raises.
    """
    from replay.cli.output import note
    from replay.cli.progress import progress
    from replay.cli.targets import claim, swept
    from replay.report.bundle import check_extra
    from replay.report.isolation import half_of_machine, supervise, unbind
    from replay.runs.open import open_run
    from replay.writing.whole import whole_file

    claim(output, force=force, inputs=[folder, trace])
    check_extra()
    run = open_run(folder)
    with swept(output):
        supervise(half_of_machine())

    with progress("Reading the run") as bar:
        from replay.answers.stories import tell_stories
        from replay.report.db import RunDatabase
        from replay.report.page.build import compose, page_text

        with RunDatabase(run) as database:
            page = compose(database)
        unbind()
        stories = tell_stories(
            run,
            page.suffering,
            lambda requests: _explain(run, requests, trace=trace, progress=bar.hook),
            more=f"`replay explain {folder.name} REQUEST` tells the story of any request.",
        )
        bar.hook("Drawing", 0, 0)
        command = _command(folder, output, static=static)
        text = page_text(page, run, stories, command=command, static=static)
        with whole_file(output, force=force) as sink:
            sink.write(text.encode("utf-8", "backslashreplace"))
    note(f"Page written to {output}")
    if stories.lack:
        note(stories.lack)


def _explain(
    run: Run, requests: Sequence[int], *, trace: Path | None, progress: Hook
) -> Iterator[Explanation]:
    """Yield what there is to tell of requests, what it takes compiled only where there is any.

    The trace is read with the options that the run's own command had.
    """
    from replay.cli.progress import compile_first
    from replay.compiling.parts import READING, part_of
    from replay.config.load import load_scenario
    from replay.runs.layout import SCENARIO
    from replay.runs.trace_path import trace_path

    trace_path(run, trace)  # before anything is compiled for it
    compile_first(READING, part_of(load_scenario(run.folder / SCENARIO)))
    from replay.analysis.explain import explain_requests

    format_name, options = _read_before(run)
    yield from explain_requests(
        run, requests, trace=trace, format_name=format_name, options=options, progress=progress
    )


def _read_before(run: Run) -> tuple[str | None, ReadOptions]:
    """Return how the command that made a run read its trace; defaults where nothing tells."""
    from replay.cli.run import run as command
    from replay.cli.trace_options import read_options

    argv = [str(word) for word in run.manifest.get("argv") or () if word != "--debug"]
    words = argv[1:] if argv[:1] == ["run"] else []
    said = command.make_context("run", words, resilient_parsing=True).params
    return said["format_in"], read_options(said)


def _command(folder: Path, output: Path, *, static: bool) -> str:
    words = ["replay", "report", str(folder), "--html", str(output)]
    return shlex.join([*words, "--static"] if static else words)


def check_page_options(
    *, html: Path | None, output: Path | None, names: Sequence[str], format: str | None
) -> Path | None:
    """Return the file of the page that is asked for, None where tables are.

    Raises InputError for options that mean nothing to a page.
    """
    as_output = output if output and output.suffix.lower() in PAGE_SUFFIXES else None
    if html is not None and output is not None:
        raise InputError("--html and -o both name a file", hint="give one of them")
    page = html or (as_output if format is None else None)
    if page is None:
        return None
    if names:
        raise InputError(
            f"a page has all there is to show (got {' '.join(names)})", hint="leave the names out"
        )
    if format is not None:
        raise InputError(f"a page has one format (got --format {format})", hint="leave it out")
    return page
