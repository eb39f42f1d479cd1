"""`replay list`: what can be named on the command line, read from where it is defined."""

from __future__ import annotations

from pathlib import Path

import click

from replay.cli import completion
from replay.cli.options import output_options
from replay.cli.output import emit


@click.command("list", short_help="List what can be named: hardware, policies, traces, reports.")
@click.argument(
    "kind",
    type=click.Choice(
        [
            "gpus",
            "models",
            "engines",
            "hosts",
            "links",
            "prices",
            "policies",
            "formats",
            "profiles",
            "traces",
            "reports",
        ]
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME|FILE]…", shell_complete=completion.listed)
@output_options
def list_(
    kind: str, names: tuple[str, ...], format: str | None, output: Path | None, force: bool
) -> None:
    """List what can be named: hardware, policies, formats, profiles, public traces, reports.

    GPUs, models, engines and hosts may be picked by name, or given as a file of one's own; a model
    also as the config.json that is published with its weights.

    \b
    replay list gpus --format csv
    replay list models deepseek-v3 path/to/config.json
    """
    from replay.answers.name_tables import names_table
    from replay.cli.targets import check_output

    check_output(format, output, force=force, inputs=names)
    emit([names_table(kind, names)], format=format, output=output, force=force)
