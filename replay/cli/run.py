"""`replay run`: one trace through one cache and one engine, into a run directory."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.cli.options import read_scenario, scenario_options
from replay.cli.trace_options import file_source, trace_options

if TYPE_CHECKING:
    from replay.answers.running import Ran
    from replay.config.scenario import Scenario
    from replay.engine.run import Prepared


@click.command()
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE")
@scenario_options
@trace_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run directory to make; default: runs/TIME-TRACE.",
)
@click.option("--force", is_flag=True, help="Replace a run directory that is there already.")
@click.option("--dry-run", is_flag=True, help="Show what would run; run and write nothing.")
@click.option(
    "--steps",
    is_flag=True,
    help="Keep every step of the engine in the table `steps`: some 40 bytes of memory each, "
    "and 20 on disk; an hour of decoding takes some 200,000.",
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Run again at the edges of the GPU model's error, and say which differences are ties.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 2),
    default=2,
    show_default=True,
    metavar="N",
    help="Two replay with and without caching side by side; results do not depend on it.",
)
def run(
    trace: Path,
    output: Path | None,
    force: bool,
    dry_run: bool,
    steps: bool,
    sensitivity: bool,
    threads: int,
    **parameters: Any,
) -> None:
    """Replay TRACE through a prefix cache and write a run directory.

    Timed by default: a continuous-batching engine on the GPU and model named, with the same
    requests replayed once more without caching, so that savings are paired. `--untimed` asks the
    cache alone. Prints the summary; `replay report RUN` prints the rest.

    \b
    replay run trace.jsonl --gpu h100-sxm --model llama-3.1-8b -o runs/h100
    replay run trace.jsonl --untimed --capacity 20000blocks -o runs/lru
    """
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import claim_run, read_beside
    from replay.compiling.parts import CONTENT, CURVES, READING, part_of

    scenario = read_scenario(
        parameters, {"engine.steps": True} if steps else None, fixed_by="--steps"
    )
    target = output or _default_folder(trace)
    if not dry_run:
        claim_run(target, force=force, inputs=[trace, *read_beside(parameters)])
    engine = part_of(scenario)
    patience_s = compile_first(READING, CONTENT, CURVES, engine)
    with progress("Starting", patience_s=patience_s) as bar:
        from replay.answers.running import replayed, write_ran

        prepared = file_source(trace, parameters).prepared(scenario, bar.hook)
        if not dry_run:
            ran = replayed(prepared, threads=threads, sensitivity=sensitivity, progress=bar.hook)
            bar.hook("Writing", 0, 0)
            write_ran(ran, target, told={"argv": sys.argv[1:]}, force=force)
    if dry_run:
        _tell_plan(scenario, prepared)
    else:
        _tell(target, ran)


def _tell_plan(scenario: Scenario, prepared: Prepared) -> None:
    """Print what would run."""
    from replay.cli.output import emit, say
    from replay.config.dump import dump_scenario
    from replay.engine.run import describe_size
    from replay.report.tables import Table

    size = describe_size(prepared)
    say(dump_scenario(scenario))
    emit([Table(tuple(size), [tuple(size.values())])])


def _tell(target: Path, ran: Ran) -> None:
    """Print the summary of a run, and where it lies."""
    from replay.analysis.headline import headline
    from replay.answers.sensitivity_tables import band_tables
    from replay.cli.output import emit, note, note_all, say, wrapped
    from replay.report.notices import notes, warnings
    from replay.runs.layout import REJECTED

    note_all(notes(ran.result.manifest))
    for line in warnings(ran.result.manifest):
        say(f"{wrapped(line)}\n")
    for label, line in headline(ran.result):
        say(f"{label:18}{line}")
    if ran.band is not None:
        say()
        emit(band_tables(ran.band))
    if ran.prepared.trace.rejected:
        aside = len(ran.prepared.trace.rejected)
        note(f"Note: {aside:,} rows of the trace were put aside: {target / REJECTED}")
    note(f"\nRun written to {target}; `replay report {target}` says more")


def _default_folder(trace: Path) -> Path:
    now = datetime.datetime.now()
    plain = re.sub(r"[^\w.-]+", "-", trace.stem).strip("-")  # of a pattern
    name = "stdin" if str(trace) == "-" else plain or "trace"
    return Path("runs") / f"{now:%Y%m%d-%H%M%S}-{name}"
