"""Runs side by side: by request where they are of one trace, else by quantiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from replay.report.compare import details, sentences
from replay.report.compare.asking import row
from replay.report.compare.deltas import Delta, delta_table, deltas
from replay.report.compare.judge import Judge, Values, meanings
from replay.report.compare.pairing import why_unpaired
from replay.report.compare.ranking import ranking
from replay.report.compare.scenarios import differences
from replay.report.compare.servers import Apart
from replay.report.compare.sides import Side, sides_of
from replay.report.db import RunsDatabase
from replay.report.notices import is_uncalibrated, notes, unverified, warnings
from replay.report.tables import Table
from replay.runs.open import Run


@dataclass(frozen=True, slots=True)
class Comparison:
    """What there is to say of several runs, the first of them the one compared with.

    `said` are sentences with the findings, `warnings` what must be read before any number,
    `left_out` what is not compared, and why, `verdicts` what the verdicts mean, `assumed` what the
    numbers of the runs rest on, once where it is the same in all. `tables` are
    numbers, the answer first. `why_unpaired` is None where requests are paired, and `band` the
    factor by which single times must differ, None where nobody can tell; `apart` has the ranges of
    unlike servers in it, too.
    """

    sides: tuple[Side, ...]
    why_unpaired: str | None
    band: float | None
    apart: Apart | None
    said: tuple[str, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
    verdicts: tuple[str, ...]
    assumed: tuple[str, ...]
    tables: Mapping[str, Table]


@dataclass(frozen=True, slots=True)
class Asked:
    """Several runs open for SQL: the views of `details` over them, and what each comes to."""

    database: RunsDatabase
    sides: tuple[Side, ...]
    why_unpaired: str | None
    metrics: Sequence[Values]
    judges: tuple[Judge, ...]


@contextmanager
def asked_runs(
    runs: Sequence[Run],
    *,
    names: Sequence[str] | None = None,
    kept: bool = True,
    memory_bytes: int | None = None,
) -> Iterator[Asked]:
    """Open runs to be compared; raises what `compare_runs` does."""
    sides = sides_of(runs, names)
    opened = {side.letter: side.run for side in sides}
    with RunsDatabase(opened, unsafe=True, memory_bytes=memory_bytes) as database:
        why = why_unpaired(sides, database)
        details.create_views(database, sides, paired=why is None)
        metrics = [row(database, f"FROM {side.letter}.metrics") for side in sides]
        completed = [row(database, f"SELECT count(*) AS n FROM {side.letter}.completed")["n"]
                     for side in sides]  # fmt: skip
        sentences.refuse(sides, metrics, completed, kept=kept)
        judges = tuple(Judge(sides[0], side) for side in sides[1:])
        yield Asked(database, tuple(sides), why, metrics, judges)


def compare_runs(
    runs: Sequence[Run],
    *,
    names: Sequence[str] | None = None,
    kept: bool = True,
    memory_bytes: int | None = None,
) -> Comparison:
    """Return what differs between runs, and what of it the GPU model can tell.

    `names` are what the runs are called, their folders' by default; `kept` is false for folders
    that will be gone. Raises InputError for fewer than two runs and for runs that have nothing to
    compare, and QueryError.
    """
    with asked_runs(runs, names=names, kept=kept, memory_bytes=memory_bytes) as asked:
        return comparison(asked, kept=kept)


def comparison(asked: Asked, *, kept: bool = True) -> Comparison:
    """Return what differs between open runs, `kept` as `compare_runs` has it; raises QueryError."""
    database, sides, metrics = asked.database, asked.sides, asked.metrics
    found = _paired(asked) if asked.why_unpaired is None else _unpaired(asked)
    said, tables, verdicts = found
    tables["differences"] = differences(sides)
    tables["capacities"] = details.capacities(database, sides, metrics)
    more = {"curve": details.curve(database), "timeline": details.timeline(database)}
    tables |= {name: table for name, table in more.items() if table is not None}
    tables["runs"] = _runs(sides, paired=asked.why_unpaired is None, kept=kept)
    return Comparison(
        sides,
        asked.why_unpaired,
        asked.judges[0].band_of_times,
        None if asked.judges[0].band_of_times is None else asked.judges[0].apart("ttft"),
        tuple(said),
        tuple(_warnings(sides)),
        tuple(sentences.left_out(sides, asked.why_unpaired, metrics)),
        tuple(meanings(verdicts, sides)),
        tuple(_assumed(sides)),
        tables,
    )


_Found = tuple[list[str], dict[str, Table], set[str | None]]


def _paired(asked: Asked) -> _Found:
    """Return what to say of the same requests in several runs, its tables, and their verdicts."""
    sides, judges, metrics = asked.sides, asked.judges, asked.metrics
    pairs: list[tuple[Judge, list[Delta]]] = [
        (judge, list(deltas(judge, metrics[0], values)))
        for judge, values in zip(judges, metrics[1:], strict=True)
    ]
    verdicts: set[str | None] = {one.verdict for _, found in pairs for one in found}
    if len(sides) > 2:
        order = ranking(sides, metrics)
        tables = {"ranking": order}
        for judge, found in pairs:
            tables[f"delta_{judge.other.letter}"] = delta_table(found, _title(judge))
        return list(sentences.of_ranking(order, sides)), tables, verdicts
    judge, found = pairs[0]
    tables = {"delta": delta_table(found, _title(judge)), **details.changes(asked.database, judge)}
    counts = details.counts_of_pairs(asked.database)
    return list(sentences.of_pair(judge, found, counts)), tables, verdicts


def _unpaired(asked: Asked) -> _Found:
    """Return what to say of runs of other requests, its tables, and their verdicts."""
    sides, metrics = asked.sides, asked.metrics
    found = details.quantiles(asked.database, asked.judges)
    place = found.columns.index("verdict") if "verdict" in found.columns else None
    verdicts = set() if place is None else {one[place] for one in found.rows}
    tables = {"quantiles": found, "totals": details.totals(sides, metrics)}
    return list(sentences.of_others(sides, metrics)), tables, verdicts


def _runs(sides: Sequence[Side], *, paired: bool, kept: bool) -> Table:
    columns = ("run", "name", "mode", "trace", "overloaded", "paired", "folder", "result_digest")
    rows = [
        (
            side.letter,
            side.name,
            side.manifest["mode"],
            side.trace.get("name"),
            side.overloaded if side.timed else None,
            paired,
            str(side.run.folder) if kept else None,
            side.manifest.get("result_digest"),
        )
        for side in sides
    ]
    types = ["VARCHAR"] * 4 + ["BOOLEAN"] * 2 + ["VARCHAR"] * 2
    return Table(columns, rows, "The runs", types)


def _title(judge: Judge) -> str:
    return f"{judge.one.called} and {judge.other.called}, the same requests"


def _warnings(sides: Sequence[Side]) -> list[str]:
    """Return what must be read first, of each run; an error that nobody measured is among it."""
    return [
        f"{side.called}: {line}"
        for side in sides
        for line in (
            *unverified(side.run),
            *warnings(side.manifest),
            *filter(is_uncalibrated, notes(side.manifest)),
        )
    ]


def _assumed(sides: Sequence[Side]) -> Iterator[str]:
    """Yield what the numbers rest on, of all runs or of those that say so."""
    told = [dict.fromkeys(notes(side.manifest)) for side in sides]
    for side, lines in zip(sides, told, strict=True):
        for line in lines:
            if is_uncalibrated(line):
                continue
            if not all(line in others for others in told):
                yield f"{side.called}: {line}"
            elif side is sides[0]:
                yield line
