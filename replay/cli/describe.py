"""`replay describe`: what is in a trace, before anything is replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli.options import output_options
from replay.cli.output import PEOPLE, emit
from replay.cli.plots import claim_plot, draw, plot_option
from replay.cli.trace_options import read_trace, trace_options


@click.command(short_help="Describe a trace: load, lengths, sessions, what repeats.")
@click.argument("trace", type=click.Path(path_type=Path))
@trace_options
@click.option("--no-sessions", is_flag=True, help="Look for no sessions in a trace without them.")
@plot_option
@output_options
def describe(
    trace: Path,
    plot: Path | None,
    no_sessions: bool,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Describe a trace: load, lengths, sessions, and how much of its content repeats.

    Hit rates are those of an unbounded cache. The content ceiling counts token by token, responses
    included where they are known; the block ceiling is what whole blocks leave an engine of it.
    Tables show groups of facts; other formats hold one flat row.
    """
    from replay.answers.describe_tables import flat_table, grouped_tables
    from replay.answers.looking import described
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import check_output, read_beside
    from replay.compiling.parts import CONTENT, READING

    inputs = [trace, *read_beside(parameters)]
    chosen = check_output(format, output, force=force, inputs=inputs)
    claim_plot(plot, force=force, inputs=inputs)
    with progress("Reading the trace", patience_s=compile_first(READING, CONTENT)) as bar:
        bar.update(0, 0)
        requests = read_trace(trace, parameters, bar.hook)
        found = described(requests, sessions=not no_sessions, progress=bar.hook)
    shown = grouped_tables(found.facts, found.notes)
    tables = shown if chosen in PEOPLE else [flat_table(found.facts, found.notes)]
    emit(tables, format=format, output=output, force=force)
    if plot is not None:
        from replay.answers.trace_picture import trace_picture

        draw(trace_picture(found.trace, found.tree, found.facts), plot, force=force)
