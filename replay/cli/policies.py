"""`replay policies`: eviction policies side by side, and how far each is from the optimum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli import completion
from replay.cli.cache_options import cache_options, read_question
from replay.cli.options import output_options
from replay.cli.output import PEOPLE, emit, note_all
from replay.cli.plots import check_known, claim_plot, draw, plot_option
from replay.cli.trace_options import trace_options


@click.command(short_help="Compare eviction policies on a trace.")
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME,…",
    shell_complete=completion.policies,
    help="Policies to compare, see `replay list policies`; default: all that can run.",
)
@cache_options
@plot_option
@trace_options
@output_options
def policies(
    trace: Path,
    policies: tuple[str, ...],
    plot: Path | None,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Compare eviction policies on TRACE at one capacity or several; default: the GPU's memory.

    Requests come one after another, no clock. `gap closed` is 0 for LRU and 100% for min, which
    knows the future: the optimum of caches that keep what a request uses while it runs. Queue
    policies need not, so in a cache hardly larger than a request they may pass it; min_bypass
    bounds every cache. Stranded blocks were resident but behind a missing one.

    \b
    replay policies trace.jsonl --capacity 10000blocks
    replay policies trace.jsonl --model llama-3.1-70b --capacity 2TiB --policy lru,arc,gdsf,min
    """
    from replay.answers.policy_tables import policy_table, policy_tables
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import check_output, read_beside
    from replay.compiling.parts import CONTENT, CURVES, QUEUES, RANKS, READING

    inputs = [trace, *read_beside(parameters)]
    chosen = check_output(format, output, force=force, inputs=inputs)
    claim_plot(plot, force=force, inputs=inputs)
    every = () if policies else (QUEUES, RANKS)
    with progress("Starting", patience_s=compile_first(READING, CONTENT, CURVES, *every)) as bar:
        from replay.analysis.policy_table import compare_policies

        if not parameters["capacities"]:
            parameters["capacities"] = ("auto",)
        question = read_question(trace, policies, parameters, bar.hook)
        lines = compare_policies(question, progress=bar.hook)
    check_known(plot, content_known=question.prepared.content_known)
    note_all(question.notes)
    for_people = policy_tables(question, lines) if question.prepared.content_known else []
    tables = for_people if chosen in PEOPLE else [policy_table(lines)]
    emit(tables, format=format, output=output, force=force, preface=question.preface)
    if plot is not None:
        from replay.answers.policy_picture import policy_picture

        draw(policy_picture(question, lines), plot, force=force)
