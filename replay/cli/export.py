"""`replay export`: a run for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.cli import completion
from replay.errors import InputError

if TYPE_CHECKING:
    from replay.report.export.options import ExportOptions


@click.command(short_help="A run for other tools: Perfetto, DuckDB, Grafana, CSV.")
@click.argument(
    "run", type=click.Path(path_type=Path), metavar="RUN", shell_complete=completion.runs
)
@click.option(
    "--to",
    metavar="NAME",
    shell_complete=completion.exports,
    help="perfetto, duckdb, openmetrics or csv; default: what the suffix of OUT tells.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="File to write, the folder for csv; .gz compresses text.",
)
@click.option("--force", is_flag=True, help="Replace an OUT that is there already.")
@click.option("--window", metavar="FROM..TO", help="perfetto: what is there in it, such as 2m..4m.")
@click.option(
    "--limit",
    type=click.IntRange(1, 2**31 - 1),
    metavar="N",
    help="perfetto: the first N requests at most; default: 100,000.",
)
@click.option("--step", metavar="TIME", help="openmetrics: between samples; default: 15s or more.")
@click.option(
    "--start",
    metavar="TIME",
    help="openmetrics: when the trace starts, such as 2026-01-31T12:00; default: so that the run "
    "ends when it was made.",
)
@click.option(
    "--dashboard",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="openmetrics: write the Grafana dashboard that shows them, too.",
)
def export(run: Path, to: str | None, output: Path, force: bool, **options: Any) -> None:
    """Write RUN as other tools read it.

    \b
    replay export runs/a -o timeline.json.gz             for ui.perfetto.dev
    replay export runs/a -o a.duckdb                     for any DuckDB client
    replay export runs/a -o a.om --dashboard grafana.json
    replay export runs/a --to csv -o tables
    """
    from replay.cli.output import note
    from replay.cli.progress import progress
    from replay.cli.targets import claim, swept
    from replay.report.export.targets import check_options, is_compressed, target_of
    from replay.report.isolation import half_of_machine, supervise
    from replay.runs.open import open_run

    target = target_of(to, output)
    check_options(target, [name for name, value in options.items() if value is not None])
    is_compressed(target, output)
    if target.is_folder:
        from replay.report.export.folder import check_folder

        check_folder(output, force=force, inputs=[run])
    else:
        claim(output, force=force, inputs=[run])
    if (dashboard := options["dashboard"]) is not None:
        claim(dashboard, force=force, inputs=[run])
        if dashboard.resolve() == output.resolve():
            raise InputError(f"{dashboard}: is the output itself", hint="choose another name")
    chosen = _chosen(**options)
    opened = open_run(run)
    memory = half_of_machine()
    with swept(output):
        supervise(memory)

    with progress("Writing") as bar:
        bar.update(0, 0)
        from replay.report.export.write import export_run

        said = export_run(opened, target, output, chosen, force=force, memory_bytes=memory)
    for line in said:
        note(line[0].upper() + line[1:])
    note(f"Written to {output}")
    if dashboard is not None:
        note(f"Dashboard written to {dashboard}; import it in Grafana")


def _chosen(
    *,
    window: str | None,
    limit: int | None,
    step: str | None,
    start: str | None,
    dashboard: Path | None,
) -> ExportOptions:
    """Return the options as the library takes them; raises InputError for what they cannot be."""
    from replay.report.export.options import ExportOptions, parse_start_ns
    from replay.units import parse_duration_ns, parse_window

    return ExportOptions(
        window_ns=None if window is None else parse_window(window),
        most_requests=limit,
        step_ns=None if step is None else parse_duration_ns(step),
        start_ns=None if start is None else parse_start_ns(start),
        dashboard=dashboard,
    )
