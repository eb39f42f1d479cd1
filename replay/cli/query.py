"""`replay query`: your own SQL over a run directory."""

from __future__ import annotations

from pathlib import Path

import click

from replay.cli import completion
from replay.cli.options import output_options

PRINTED_ROWS = 1000


@click.command(short_help="Run your own SELECT over the tables of a run.")
@click.argument(
    "run", type=click.Path(path_type=Path), metavar="RUN", shell_complete=completion.runs
)
@click.argument("sql", metavar="SQL")
@click.option("--timeout", default="60s", show_default=True, help="Give up after this long.")
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory it may take; default: 1GiB and 16 times the tables, up to half of all.",
)
@click.option("--unsafe", is_flag=True, help="Allow any statement and any file.")
@output_options
def query(
    run: Path,
    sql: str,
    timeout: str,
    memory: str | None,
    unsafe: bool,
    format: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Run one SELECT over the tables of RUN: requests, prefixes, timeline, steps, run.

    It can read this run and nothing else, and write nothing but the FILE of -o. `DESCRIBE requests`
    shows columns; the reports are views such as report.hit_rate. A `-` reads the SQL from standard
    input.

    \b
    replay query runs/a "SELECT turn, count(*) FROM requests GROUP BY turn ORDER BY turn"
    """
    from replay.cli.output import PEOPLE, emit, note
    from replay.cli.targets import check_output, swept
    from replay.report.isolation import memory_of, supervise
    from replay.runs.open import open_run
    from replay.units import NS_PER_S, parse_bytes, parse_duration_ns

    chosen = check_output(format, output, force=force, inputs=[run])
    timeout_s = parse_duration_ns(timeout) / NS_PER_S
    if sql == "-":
        sql = _sql_from_input()
    opened = open_run(run)
    limit = memory_of([*opened.tables.values()]) if memory is None else parse_bytes(memory)
    with swept(output):
        supervise(limit, timeout_s=timeout_s)

    from replay.report.db import RunDatabase

    with RunDatabase(opened, unsafe=unsafe, memory_bytes=limit) as database:
        result = database.query(sql, timeout_s=timeout_s)
        if not result.columns:
            return
        if chosen not in PEOPLE:
            emit([result], format=format, output=output, force=force)
            return
        table = result.table(limit=PRINTED_ROWS)
    emit([table], format=format, output=output, force=force)
    if len(table.rows) == PRINTED_ROWS:
        note(f"The first {PRINTED_ROWS:,} rows; --format csv or -o FILE.parquet has them all.")


def _sql_from_input() -> str:
    """Return the SQL on standard input; raises QueryError where it is no text."""
    from replay.errors import QueryError
    from replay.reading import read_standard_input

    try:
        return read_standard_input().decode()
    except UnicodeDecodeError as error:
        raise QueryError("the query is not UTF-8 text") from error
