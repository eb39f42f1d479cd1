"""`replay query`: your own SQL over a run directory."""

from __future__ import annotations

from pathlib import Path

import click

from replay.cli.options import output_options


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("sql", metavar="SQL")
@click.option("--timeout", default="60s", show_default=True, help="Give up after this long.")
@click.option("--unsafe", is_flag=True, help="Allow any statement and any file.")
@output_options
def query(
    run: Path, sql: str, timeout: str, unsafe: bool, format: str | None, output: Path | None
) -> None:
    """Run one SELECT over the tables of RUN: requests, prefixes, timeline, run.

    It can read this run and nothing else, and write nothing. `DESCRIBE requests` shows columns.

    \b
    replay query runs/a "SELECT turn, count(*) FROM requests GROUP BY turn ORDER BY turn"
    """
    from replay.cli.output import emit
    from replay.report.db import RunDatabase
    from replay.units import NS_PER_S, parse_duration_ns

    timeout_s = parse_duration_ns(timeout) / NS_PER_S
    with RunDatabase(run, unsafe=unsafe) as database:
        table = database.query(sql, timeout_s=timeout_s)
    if table.columns:
        emit([table], format=format, output=output)
