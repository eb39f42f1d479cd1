"""`replay tree`: what prompts share, with whom, what that saves, and where they part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.cli.options import output_options
from replay.cli.output import emit, emit_named, note, note_all, text_width
from replay.cli.plots import claim_plot, draw, plot_option
from replay.cli.trace_options import file_source, read_trace, trace_options

if TYPE_CHECKING:
    from replay.answers.shared_tree import SharedTree
    from replay.report.tables import AnyTable
    from replay.trace.frame import Trace

MOST = 2**31 - 1


@click.command(short_help="What prompts share, with whom, what it saves, where they part.")
@click.argument("source", type=click.Path(path_type=Path), metavar="TRACE|RUN")
@click.option(
    "--by",
    metavar="MEASURE",
    default="saved",
    show_default=True,
    help="What bars show and rows are chosen by: saved (tokens hit), requests, or tokens (sent).",
)
@click.option("--depth", type=click.IntRange(1, MOST), metavar="N", help="Levels to show at most.")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST),
    metavar="N",
    help="Prefixes to show at most; default: 20, 60 with --plot.",
)
@click.option(
    "--min-requests",
    type=click.IntRange(2, MOST),
    default=2,
    show_default=True,
    metavar="N",
    help="Requests a prefix must be shared by to be shown.",
)
@click.option("--no-sessions", is_flag=True, help="Look for no sessions in a trace without them.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the trace of a RUN lies now, if it moved: its text names the prefixes.",
)
@plot_option
@trace_options
@output_options
def tree(
    source: Path,
    by: str,
    depth: int | None,
    limit: int | None,
    min_requests: int,
    no_sessions: bool,
    trace: Path | None,
    plot: Path | None,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Show what the prompts of a TRACE or a RUN share: the prefix tree.

    A prefix is a run of tokens that every prompt uses whole or not at all; prompts part where it
    ends. Of a TRACE, hit tokens are those of a cache without limit: the content ceiling of
    `replay describe`. Of a RUN they are what the run hit. A prefix is named by its first and last
    words where the source is text, and by the first request that has it.

    \b
    replay tree trace.jsonl
    replay tree runs/a --by requests --depth 3
    replay tree chat.jsonl --tokenizer tokenizer.json --plot tree.html
    """
    from replay.answers.tree_rows import DRAWN, SHOWN, Choice, account, tree_rows
    from replay.cli.icicle_lines import icicle_lines, title_lines
    from replay.cli.targets import check_output, read_beside
    from replay.report.frames import FrameTable
    from replay.runs.layout import is_run

    inputs = [source, trace, *read_beside(parameters)]
    chosen = check_output(format, output, force=force, inputs=inputs)
    claim_plot(plot, force=force, inputs=inputs)
    choice = Choice(by, depth, limit or (SHOWN if plot is None else DRAWN), min_requests)
    if is_run(source):
        found = _of_run(source, trace, parameters, no_sessions=no_sessions)
    else:
        found = _of_trace(source, trace, parameters, no_sessions=no_sessions)
    rows = tree_rows(found, choice)
    note_all(found.notes)
    parts = account(found, rows)
    if chosen == "table":
        width = text_width(output)
        lines = icicle_lines(found, rows, choice, width)
        above = ["\n".join(title_lines(found, width)), "\n".join(lines)]
        preface = [*found.warnings, *above]
        emit([parts], format=format, output=output, force=force, preface=preface)
    else:
        for line in found.warnings:
            note(line)
        tables: dict[str, AnyTable] = {"prefixes": FrameTable(rows), "account": parts}
        emit_named(tables, format=format, output=output, force=force)
    if plot is not None:
        from replay.answers.tree_picture import tree_picture

        draw(tree_picture(found, rows), plot, force=force)


def _of_trace(
    source: Path, trace: Path | None, parameters: dict[str, Any], *, no_sessions: bool
) -> SharedTree:
    from replay.answers.shared_tree import tree_of_trace
    from replay.cli.progress import compile_first, progress
    from replay.compiling.parts import CONTENT, READING
    from replay.errors import InputError

    if trace is not None:
        raise InputError(
            f"{source}: is no run, and --trace says where the trace of a run lies",
            hint="leave --trace out",
        )
    with progress("Reading the trace", patience_s=compile_first(READING, CONTENT)) as bar:
        bar.update(0, 0)
        requests = read_trace(source, parameters, bar.hook)
        return tree_of_trace(requests, sessions=not no_sessions, progress=bar.hook)


def _of_run(
    source: Path, trace: Path | None, parameters: dict[str, Any], *, no_sessions: bool
) -> SharedTree:
    """Return the tree of a run; its trace is read where that is text, for names."""
    from replay.answers.shared_tree import is_told_in_words, tree_of_folder, tree_with_words
    from replay.cli.progress import compile_first, progress
    from replay.compiling.parts import READING
    from replay.errors import InputError
    from replay.report.notices import unverified
    from replay.runs.open import open_run
    from replay.runs.trace_path import trace_path

    of_traces = {"--separate-by": parameters["separate_by"], "--no-sessions": no_sessions}
    for option, given in of_traces.items():
        if given:
            raise InputError(
                f"{source}: is a run, and {option} is for traces", hint="it is as the run had it"
            )
    run = open_run(source)
    note_all(unverified(run))
    tree = tree_of_folder(run)
    if trace is None and not is_told_in_words(run.manifest):
        return tree

    with progress("Reading the trace", patience_s=compile_first(READING)) as bar:

        def read() -> tuple[Trace, Path | str]:
            bar.update(0, 0)
            path = trace_path(run, trace)
            return file_source(path, parameters).trace(bar.hook), path

        return tree_with_words(tree, run, read, required=trace is not None)
