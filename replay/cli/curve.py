"""`replay curve`: hit rate over capacity, where it stops paying, and what limits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli import completion
from replay.cli.cache_options import cache_options, read_question
from replay.cli.options import output_options
from replay.cli.output import PEOPLE, emit, note_all
from replay.cli.plots import check_known, claim_plot, draw, plot_option
from replay.cli.trace_options import SHARE, trace_options


@click.command()
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    default=("lru",),
    show_default="lru",
    metavar="NAME,…",
    shell_complete=completion.policies,
    help="Eviction policies, see `replay list policies`; min knows the future.",
)
@cache_options
@click.option(
    "--by",
    metavar="COLUMN",
    help="A curve for each session, tenant, kind, window or other column of the trace.",
)
@click.option("--window", metavar="TIME", help="Length of the windows of --by window.")
@click.option(
    "--points",
    type=click.IntRange(2, 10**6),
    metavar="N",
    help="Capacities to show, evenly spaced on a log scale; default: round numbers.",
)
@click.option(
    "--sample",
    type=SHARE,
    metavar="SHARE",
    help="Estimate LRU from this share of the prefixes, with its error; for very long traces.",
)
@plot_option
@trace_options
@output_options
def curve(
    trace: Path,
    by: str | None,
    window: str | None,
    plot: Path | None,
    policies: tuple[str, ...],
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Show the hit rate of TRACE at every cache capacity.

    LRU is exact at all capacities from one pass over the trace, whatever the block size; other
    policies are replayed at each capacity shown. Requests come one after another, no clock. The
    block ceiling is what an unlimited cache hits; a knee is the smallest capacity with that share
    of it. Tables show both; other formats hold a row for each group, block size, policy and
    capacity. A plot has a line for each, through as many capacities as it takes, and then so have
    the other formats.

    \b
    replay curve trace.jsonl --policy lru,arc,min
    replay curve trace.jsonl --unit GiB --model llama-3.1-70b --kv-dtype fp8 --plot curve.html
    replay curve trace.jsonl --by window --window 10m --capacity 10000blocks
    """
    from replay.answers.curve_tables import curve_tables, long_table
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import check_output, read_beside
    from replay.compiling.parts import CONTENT, CURVES, READING

    inputs = [trace, *read_beside(parameters)]
    chosen = check_output(format, output, force=force, inputs=inputs)
    claim_plot(plot, force=force, inputs=inputs)
    with progress("Starting", patience_s=compile_first(READING, CONTENT, CURVES)) as bar:
        from replay.analysis.curves import answer_curves, capacity_notes
        from replay.units import parse_duration_ns

        asked = {**parameters, "by": by, "drawn": plot is not None}
        question = read_question(trace, policies, asked, bar.hook)
        window_ns = None if window is None else parse_duration_ns(window)
        answer = answer_curves(question, by=by, window_ns=window_ns, progress=bar.hook)
    check_known(plot, content_known=question.prepared.content_known)
    note_all([*question.notes, *capacity_notes(question)])
    for_people = curve_tables(question, answer) if question.prepared.content_known else []
    tables = for_people if chosen in PEOPLE else [long_table(answer)]
    emit(tables, format=format, output=output, force=force, preface=question.preface)
    if plot is not None:
        from replay.answers.curve_picture import curve_picture

        draw(curve_picture(question, answer, by), plot, force=force)
