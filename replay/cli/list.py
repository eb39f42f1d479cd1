"""`replay list`: what can be named on the command line, read from where it is defined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.cli import completion
from replay.cli.options import output_options
from replay.cli.output import emit

if TYPE_CHECKING:
    from replay.report.tables import Table


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
    from replay.cli.hardware_tables import BY_NAME
    from replay.cli.targets import check_output

    check_output(format, output, force=force, inputs=names)
    if names and kind not in BY_NAME:
        raise click.UsageError(f"{kind} are listed whole: names may follow {', '.join(BY_NAME)}")
    table = BY_NAME[kind](names) if kind in BY_NAME else _KINDS[kind]()
    emit([table], format=format, output=output, force=force)


def _links() -> Table:
    from replay.cli.hardware_tables import links

    return links()


def _prices() -> Table:
    from replay.cli.hardware_tables import prices

    return prices()


def _policies() -> Table:
    from replay.cache.replacement import REPLACEMENTS
    from replay.config.policies import POLICIES
    from replay.report.tables import Table

    rows = [
        (one.name, f"run, cache.kind {one.kind}", one.closure, one.meaning, one.reference)
        for one in POLICIES
    ]
    rows += [
        (one.name, "curve, policies", one.closure, one.meaning, one.reference)
        for one in REPLACEMENTS
    ]
    return Table(("name", "used_by", "prefix_closed", "meaning", "reference"), rows)


def _formats() -> Table:
    from replay.report.tables import Table
    from replay.trace.readers import READERS

    rows = [(one.name, one.meaning, one.assumes) for one in sorted(READERS, key=lambda r: r.name)]
    return Table(("name", "meaning", "assumes"), rows)


def _profiles() -> Table:
    from replay.report.tables import Table
    from replay.workload.profiles import load_profile, profile_names

    rows = [(name, load_profile(name).profile.description) for name in profile_names()]
    return Table(("name", "description"), rows)


def _traces() -> Table:
    from replay.config.catalogue import load_catalogue
    from replay.report.tables import Table
    from replay.trace.fetch import is_cached

    columns = ("name", "format", "requests", "size_bytes", "licence", "verified_by", "cached")
    rows = [
        (
            *(getattr(trace, column) for column in columns[:-2]),
            "sha256" if trace.sha256 else "not verified",
            "yes" if is_cached(trace) else "no",
        )
        for trace in load_catalogue().traces
    ]
    return Table(columns, rows)


def _reports() -> Table:
    from replay.report.library import REPORTS
    from replay.report.tables import Table

    return Table(("name", "meaning"), [(report.name, report.meaning) for report in REPORTS])


_KINDS: dict[str, Callable[[], Table]] = {
    "links": _links,
    "prices": _prices,
    "policies": _policies,
    "formats": _formats,
    "profiles": _profiles,
    "traces": _traces,
    "reports": _reports,
}
