"""`replay fetch`: a public trace, downloaded and verified."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.cli import completion

if TYPE_CHECKING:
    from replay.config.catalogue import PublicTrace
    from replay.trace.fetch import Fetched


@click.command(short_help="Download a public trace and verify it.")
@click.argument("name", metavar="NAME", shell_complete=completion.traces)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write; otherwise the trace goes to the cache, where it is found again.",
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="YAML that says where traces lie, instead of the one that ships.",
)
@click.option("--force", is_flag=True, help="Download again what is there already.")
def fetch(name: str, output: Path | None, catalogue: Path | None, force: bool) -> None:
    """Download the public trace NAME, one that `replay list traces` shows, and verify it.

    A download that broke off goes on where it stopped. A trace that is there already is verified
    and not downloaded again.

    \b
    replay fetch mooncake-conversation
    replay fetch azure-2023-code -o code.csv
    """
    from replay.cli.output import note, say
    from replay.cli.progress import progress
    from replay.cli.targets import claim
    from replay.config.catalogue import load_catalogue
    from replay.trace.fetch import fetch_trace

    trace = load_catalogue(catalogue).trace(name)
    if output is not None:  # what is there may be the trace itself: fetching tells
        claim(output, force=True, inputs=[catalogue])
    try:
        with progress("Connecting") as bar:
            fetched = fetch_trace(trace, output, force=force, progress=bar.hook)
    except KeyboardInterrupt:
        note("What came is kept: the same command goes on from there")
        raise
    for label, text in _facts(trace, fetched):
        say(f"{label:14}{text}")
    if trace.sha256 is None:
        note("\nNot verified: the catalogue knows no sha256 of it")
        note("Its own is recorded beside it: later downloads from that address must match")
    note(
        f"\n{'Already there' if fetched.hosts is None else 'Downloaded'}; next: `{_next(fetched)}`"
    )


def _facts(trace: PublicTrace, fetched: Fetched) -> list[tuple[str, str]]:
    from replay.units import format_bytes

    known = "verified"
    if trace.sha256 is None:
        known = "not verified: nobody has published what it should be"
        if not fetched.pinned:
            known += "; the same as the first download"
    facts = [
        ("path", str(fetched.path)),
        ("size", f"{fetched.size_bytes:,} bytes ({format_bytes(fetched.size_bytes)})"),
        ("sha256", f"{fetched.sha256} ({known})"),
        ("licence", trace.licence),
        ("citation", trace.citation),
    ]
    if fetched.columns:
        facts.insert(1, ("columns", str(fetched.columns)))
    if fetched.hosts:
        facts.insert(-2, ("came from", ", ".join(fetched.hosts)))
    return facts


def _next(fetched: Fetched) -> str:
    columns = ["--columns", str(fetched.columns)] if fetched.columns else []
    return shlex.join(["replay", "describe", str(fetched.path), *columns])
