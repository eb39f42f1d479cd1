"""What a comparison shows beside its deltas: for whom, how spread, at which memory, and when."""

from __future__ import annotations

from collections.abc import Sequence

from replay.report.compare.asking import row, rows, sql_file, table
from replay.report.compare.judge import METRICS, Judge, Metric, Values
from replay.report.compare.servers import Apart
from replay.report.compare.sides import Side
from replay.report.db import RunsDatabase
from replay.report.tables import Table

_BY_VALUE = ("kind", "model", "adapter", "tenant")  # columns of a trace that say for whom

_OF_ALL = {
    "everyone": "SELECT 'RUN' AS run, arrival_ns, ttft_ns FROM RUN.compared",
    "all_parts": "SELECT 'RUN' AS run, part, place, tokens FROM RUN.prompt_parts "
    "SEMI JOIN RUN.compared USING (request_id)",
    "all_curves": "SELECT 'RUN' AS run, curve.capacity_blocks, block_size, kv_bytes_per_token, "
    "RUN.ratio(curve.hit_tokens, (SELECT sum(input_tokens) FROM RUN.requests)) AS token_hit_rate "
    "FROM RUN.curve AS curve, RUN.run WHERE curve.policy = 'lru'",
    "timelines": "SELECT 'RUN' AS run, capacity_blocks, block_size, timeline.* "
    "FROM RUN.timeline, RUN.run",
}


def create_views(database: RunsDatabase, sides: Sequence[Side], *, paired: bool) -> None:
    """Create `compared`, `metrics` and `quantiles` in each run's schema, and views of all runs.

    These are `everyone`, `all_parts`, `all_curves` and `timelines`. Compared are requests that
    completed: in every run, where they are paired.
    """
    letters = [side.letter for side in sides]
    for letter in letters:
        shared = (
            f" SEMI JOIN {other}.completed USING (request_id)"
            for other in letters
            if paired and other != letter
        )
        compared = f"SELECT * FROM completed{''.join(shared)}"
        database.query(
            f"USE memory.{letter}; CREATE VIEW compared AS {compared}; "
            f"CREATE VIEW metrics AS {sql_file('metrics')}; "
            f"CREATE VIEW quantiles AS {sql_file('quantiles')}; USE memory.main"
        )
    for name, select in _OF_ALL.items():
        parts = (select.replace("RUN", letter) for letter in letters)
        database.query(f"CREATE VIEW {name} AS {' UNION ALL '.join(parts)}")


def create_pairs(database: RunsDatabase, judge: Judge) -> list[str]:
    """Create `pairs` and `changed`; return the columns that say for whom, which both traces have.

    The variable `band` is the factor by which TTFTs must differ, null where nobody can tell;
    where servers differ they must by `factor` and `slack_ns`, and are unjudged in between.
    """
    timed = judge.one.timed and judge.other.timed
    band = judge.band_of_times
    factor = "NULL" if band is None else f"'{float(band)}'"
    database.query(f"SET VARIABLE band = {factor}::DOUBLE")
    needed = judge.apart("ttft") or Apart()
    database.query(f"SET VARIABLE factor = '{float(needed.factor)}'::DOUBLE")
    database.query(f"SET VARIABLE slack_ns = '{float(needed.slack_ns)}'::DOUBLE")
    database.query(
        "CREATE MACRO beyond(slower, faster, requests) AS "
        "slower > faster * getvariable('factor') + requests * getvariable('slack_ns') "
        "AND getvariable('band') IS NOT NULL"
    )
    database.query(f"SET VARIABLE timed = {timed}")
    carried = [name for name in _BY_VALUE if _in_both(database, judge, name)]
    more = "".join(f',\n    one."{name}"' for name in carried)
    pairs = sql_file("pairs").replace("\n    -- more columns", more)
    database.query(f"CREATE VIEW pairs AS {pairs}")
    database.query(f"CREATE VIEW changed AS {sql_file('changed')}")
    return carried


def changes(database: RunsDatabase, judge: Judge) -> dict[str, Table]:
    """Return who gained and who lost, and the requests that did most."""
    slices = "".join(
        f", {{slice: '{name}', slice_place: {3 + place}, place: 0::BIGINT, "
        f'bucket: "{name}"::VARCHAR}}'
        for place, name in enumerate(create_pairs(database, judge))
    )
    sql = sql_file("gained").replace("\n            -- more slices", slices)
    gained = table(database, sql, "Who gained and who lost")
    requests = table(database, sql_file("requests"), "The requests that changed most")
    if not (judge.one.timed and judge.other.timed):
        gained, requests = _without_times(gained), _without_times(requests)
    return {"gained": gained, "requests": requests}


def counts_of_pairs(database: RunsDatabase) -> dict[str, int]:
    """Return how many pairs got faster or slower, and reuse more or less."""
    return row(database, "FROM changed")


def totals(sides: Sequence[Side], metrics: Sequence[Values]) -> Table:
    """Return what each run comes to, where requests differ and no difference is drawn."""
    found = []
    for metric in METRICS:
        values = [one[metric.name] for one in metrics]
        if any(values):
            found.append((metric.name, metric.unit, *map(_float, values)))
    columns = ("metric", "unit", *(side.letter for side in sides))
    types = ("VARCHAR", "VARCHAR", *("DOUBLE" for _ in sides))
    return Table(columns, found, "What each run came to, of its own requests", types)


def quantiles(database: RunsDatabase, judges: Sequence[Judge]) -> Table:
    """Return where the requests of each run lie; of two runs what the difference is worth, too."""
    letters = [judges[0].one.letter, *(judge.other.letter for judge in judges)]
    joined = " ".join(f"JOIN {other}.quantiles USING (measure, share)" for other in letters[1:])
    values = ", ".join(f"{letter}.quantiles.value" for letter in letters)
    sql = (
        f"SELECT measure, share, {values} FROM {letters[0]}.quantiles {joined} "
        f"ORDER BY {letters[0]}.quantiles.place, share"
    )
    two = len(judges) == 1
    found = []
    for measure, share, *at in rows(database, sql):
        worth = _worth(judges[0], measure, *at) if two else ()
        found.append((measure, share, *at, *worth))
    columns = ("measure", "quantile", *letters, *(("difference", "verdict") if two else ()))
    types = ("VARCHAR", *("DOUBLE" for _ in range(1 + len(letters) + two)), *(("VARCHAR",) * two))
    return Table(columns, found, "Quantiles of the requests of each trace", types)


def capacities(database: RunsDatabase, sides: Sequence[Side], metrics: Sequence[Values]) -> Table:
    """Return the memory of each run and what it reused with it."""
    names = ("policy", "capacity_blocks", "block_size", "capacity_tokens", "capacity_bytes")
    found = []
    for side, values in zip(sides, metrics, strict=True):
        run = row(database, f"FROM {side.letter}.run")
        found.append(
            (side.letter, side.name, *(run[name] for name in names), values["token_hit_rate"])
        )
    columns = ("run", "name", *names, "token_hit_rate")
    types = ("VARCHAR",) * 3 + ("BIGINT",) * 4 + ("DOUBLE",)
    return Table(columns, found, "Memory and reuse", types)


def timeline(database: RunsDatabase) -> Table | None:
    """Return what the engines did on one clock; None where none kept time."""
    found = table(database, sql_file("timeline"), "The engines on one clock")
    return found if found.rows else None


def curve(database: RunsDatabase) -> Table | None:
    """Return the LRU curves of the runs; None where none has one."""
    found = table(database, sql_file("curve"), "What LRU reuses at other capacities")
    return found if found.rows else None


def _worth(judge: Judge, measure: str, before: float, after: float) -> tuple[float, str | None]:
    if not measure.endswith("_ms"):
        return after - before, None
    metric = Metric(measure, "ms", of_time=True)
    return after - before, judge.verdict(metric, before, after)


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _in_both(database: RunsDatabase, judge: Judge, name: str) -> bool:
    sides = judge.one, judge.other
    return all(name in database.query(f"FROM {side.letter}.requests").columns for side in sides)


def _without_times(found: Table) -> Table:
    """Return a table without the columns that only time makes."""
    kept = [
        place
        for place, name in enumerate(found.columns)
        if not name.endswith("_ms") and name not in ("faster_in_b", "slower_in_b", "verdict")
    ]
    types = None if found.types is None else [found.types[place] for place in kept]
    columns = [found.columns[place] for place in kept]
    return Table(columns, [tuple(one[at] for at in kept) for one in found.rows], found.title, types)
