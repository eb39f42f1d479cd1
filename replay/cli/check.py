"""`replay check`: the trace doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli.options import output_options
from replay.cli.output import emit
from replay.cli.trace_options import read_trace, trace_options

UNSOUND_EXIT_CODE = 3


@click.command(short_help="Tell what in a trace would make a replay of it mislead.")
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE")
@click.option(
    "--context",
    type=click.IntRange(1),
    metavar="N",
    help="Longest prompt and response together that the model took, in tokens.",
)
@click.option("--strict", is_flag=True, help="Exit with code 3 on any warning or fault.")
@trace_options
@output_options
@click.pass_context
def check(
    ctx: click.Context,
    trace: Path,
    context: int | None,
    strict: bool,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Tell what in TRACE would make a replay of it mislead, a verdict a line.

    Looks for rows that break the format, clocks that tick, repeat or stand still, prompts that are
    cut off or outgrow the context, sessions that shrink, content that is assumed or unknown, a
    start too cold to trust, and hits the source recorded that content does not allow.

    \b
    replay check trace.jsonl
    replay check trace.jsonl --strict --context 131072 && replay run trace.jsonl
    """
    from replay.answers.looking import checked, finding_table
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import check_output, read_beside
    from replay.compiling.parts import CONTENT, READING
    from replay.trace.check import FAULT, WARNING

    check_output(format, output, force=force, inputs=[trace, *read_beside(parameters)])
    allowed = parameters["max_rejected"]
    with progress("Reading the trace", patience_s=compile_first(READING, CONTENT)) as bar:
        bar.update(0, 0)
        # All rows are looked at: how many are faulty is for the verdict to say.
        requests = read_trace(trace, {**parameters, "max_rejected": 1.0}, bar.hook)
        findings = checked(
            requests, context_tokens=context, rejected_allowed=allowed, progress=bar.hook
        )
    emit([finding_table(findings)], format=format, output=output, force=force)
    if strict and any(line.verdict in (WARNING, FAULT) for line in findings):
        ctx.exit(UNSOUND_EXIT_CODE)
