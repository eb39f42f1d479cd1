"""`replay generate`: a trace drawn from a workload profile."""

from __future__ import annotations

from pathlib import Path

import click

from replay.cli import completion
from replay.errors import InputError


@click.command(short_help="Draw a synthetic trace from a profile.")
@click.argument(
    "profile",
    type=click.Path(path_type=Path),
    metavar="PROFILE",
    shell_complete=completion.profiles,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="TRACE",
    help="File to write; its suffix tells the format.",
)
@click.option(
    "--requests", type=click.IntRange(1), metavar="N", help="Length of the trace in requests."
)
@click.option("--duration", metavar="TIME", help="Length of the trace in time, such as 30m.")
@click.option(
    "--rate",
    type=float,
    metavar="X",
    help="Requests per second in the long run: sessions start to suit it. A trace that is short "
    "against its sessions has fewer, and says so.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Of everything drawn.")
@click.option("--tokens", is_flag=True, help="Write token ids as well; files grow a lot.")
@click.option(
    "--format",
    type=click.Choice(["parquet", "mooncake", "llmservingsim"]),
    help="How to write; default: by the suffix, .parquet, .jsonl or .tokens.jsonl.",
)
@click.option("--force", is_flag=True, help="Overwrite a file that is there already.")
def generate(
    profile: Path,
    output: Path,
    requests: int | None,
    duration: str | None,
    rate: float | None,
    seed: int | None,
    tokens: bool,
    format: str | None,
    force: bool,
) -> None:
    """Draw a trace from PROFILE, a name that `replay list profiles` shows or a YAML file.

    The options stand in for what the profile says. One seed gives one trace, byte for byte; a
    shorter trace is the beginning of a longer one.

    \b
    replay generate chat -o chat.parquet
    replay generate my-profile.yaml --duration 1h --rate 20 --seed 3 -o mine.parquet
    """
    from replay.answers.drawing import drawn
    from replay.cli.output import note, note_all, say
    from replay.cli.progress import compile_first, progress
    from replay.compiling.parts import GENERATOR
    from replay.trace.writers import writer_for
    from replay.units import parse_duration_ns
    from replay.workload.profiles import load_profile
    from replay.workload.summary import summary

    _check(output, profile, requests=requests, duration=duration, force=force)
    writer = writer_for(output, format)
    if tokens and writer.name == "mooncake":
        raise InputError(f"the {writer.name} format holds no token ids", hint="leave out --tokens")
    duration_ns = None if duration is None else parse_duration_ns(duration)
    named = load_profile(profile).changed(requests=requests, duration_ns=duration_ns, seed=seed)
    with progress("Starting", patience_s=compile_first(GENERATOR)) as bar:
        trace, notes = drawn(named, rate, tokens=tokens, progress=bar.hook)
        bar.hook("Writing the trace", 0, 0)
        writer.write(trace, output, force=force)
        bar.hook("Looking back at it", 0, 0)
        lines = summary(trace)
    note_all(notes)
    for label, line in lines:
        say(f"{label:14}{line}")
    note(f"\nTrace written to {output}; `replay describe {output}` says more")


def _check(
    output: Path, profile: Path, *, requests: int | None, duration: str | None, force: bool
) -> None:
    """Refuse what could only fail after all the work."""
    from replay.cli.targets import claim

    if requests is not None and duration is not None:
        raise InputError("--requests and --duration exclude each other", hint="give one of them")
    claim(output, force=force, inputs=[profile])
