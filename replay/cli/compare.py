"""`replay compare`: what differs between runs, or between configurations of one trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli import completion
from replay.cli.options import output_options, page_options, scenario_options
from replay.cli.trace_options import trace_options
from replay.errors import InputError


@click.command(short_help="Runs side by side: what differs, who gained, what is a tie.")
@click.argument(
    "runs", nargs=-1, required=True, metavar="A B [C]...", shell_complete=completion.runs
)
@click.option(
    "--table",
    "chosen",
    metavar="NAME",
    shell_complete=completion.compared,
    help="One of the tables, such as gained.",
)
@click.option("--all", "every", is_flag=True, help="Print all tables.")
@page_options
@output_options
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="TRACE",
    help="Run TRACE for A, B and C, where these are settings or scenario files; the options below "
    "are for all of them.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Keep the runs that --trace makes in FOLDER.",
)
@click.option("--sensitivity", is_flag=True, help="As of `replay run`: ties are told exactly.")
@scenario_options
@trace_options
@click.pass_context
def compare(
    context: click.Context,
    runs: tuple[str, ...],
    chosen: str | None,
    every: bool,
    html: Path | None,
    static: bool,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Compare runs with the first of them, or configurations of one trace.

    By request where they are of one trace, else by quantiles. A difference of latencies within the
    GPU model's error is a tie. Three runs and more are ranked. With --trace, A and B may be
    settings (model.kv_dtype=fp8,cache.policy=slru), scenario files, or `base`, which changes
    nothing.

    \b
    replay compare runs/bf16 runs/fp8
    replay compare runs/bf16 runs/fp8 --html compared.html
    replay compare runs/a runs/b runs/c --format json
    replay compare --trace t.jsonl --gpu h100-sxm --model llama-3.1-8b \\
        base model.kv_dtype=fp8 --html boss.html
    """
    from replay.cli.compare_configurations import check_alone, made_runs
    from replay.cli.compare_output import show, write_page
    from replay.cli.report_page import check_page_options
    from replay.cli.targets import check_output, claim, read_beside

    if len(runs) < 2:
        raise InputError(f"one run is no comparison (got {runs[0]})", hint="give two or more")
    if every and chosen is not None:
        raise InputError("--all leaves nothing to choose", hint="leave --all or --table out")
    named = [chosen] if chosen else ["--all"] if every else []
    page = check_page_options(html=html, output=output, names=named, format=format)
    if page is None and static:
        raise InputError("--static is about a page", hint="give --html FILE")
    if parameters["trace"] is None:
        check_alone(context)
    inputs = [*map(Path, runs), parameters["trace"], *read_beside(parameters)]
    if page is not None:
        claim(page, force=force, inputs=inputs)
    else:
        check_output(format, output, force=force, inputs=inputs)
    with made_runs(runs, parameters, force=force) as made:
        if page is not None:
            write_page(made, page, static=static, force=force)
        else:
            show(made, chosen, every=every, format=format, output=output, force=force)
