"""Figures of a comparison that are small tables: what was changed, who is first, how spread."""

from __future__ import annotations

from collections.abc import Mapping

from replay.report.compare.compare import Comparison
from replay.report.compare.page.runs import dot
from replay.report.compare.page.verdict import of_set
from replay.report.compare.page.waits import tag
from replay.report.compare.worded import worded_tables
from replay.report.frame.axes import LEFT, wait_axis
from replay.report.page.drawn import Data, Drawn, LeftOut, View
from replay.report.page.vega import Spec, view
from replay.report.words import count, listed, percent, wait

_NAMED = 3  # keys that differ up to which a caption names them
_OUTCOME = "replayed."
_ABOVE = 1.15  # of the axis: room for names


def differences_caption(found: Comparison) -> str:
    """Return which keys of the scenario differ."""
    rows = [row for row in found.tables["differences"].rows if not row[0].startswith(_OUTCOME)]
    if not rows:
        traces = {side.trace.get("sha256") for side in found.sides}
        return f"The scenarios do not differ{'; the traces do' if len(traces) > 1 else ''}."
    if len(rows) > _NAMED:
        return f"{len(rows)} keys of the scenario differ."
    told = [f"{key} ({', '.join(_or_none(value) for value in values)})" for key, *values in rows]
    verb = "differs" if len(rows) == 1 else "differ"
    return f"{count(len(rows), 'key')} of the scenario {verb}: {listed(told)}."


def _or_none(value: str | None) -> str:
    return "not there" if value is None else value


def differences(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the keys whose values differ."""
    worded = worded_tables(found)["differences"]
    rows = [tuple("" if value is None else str(value) for value in row) for row in worded.rows]
    return Drawn(
        caption=differences_caption(found),
        subtitle=f"Keys of the scenario that are not the same in all runs; {_OUTCOME} is what "
        "the scenario came to.",
        digest=(("", *(side.called for side in found.sides)), *rows) if rows else (),
    )


def ranking(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the runs in order, those that cannot be told apart on one place."""
    table = found.tables["ranking"]
    at = {name: place for place, name in enumerate(table.columns)}
    timed = all(side.timed for side in found.sides)
    head = ["", "run", "reused", *(["mean wait", "slowest 1%", "whole request"] if timed else [])]
    rows = [head]
    for row in table.rows:
        cells = [_place(row[at["place"]]), row[at["name"]], _percent(row[at["token_hit_rate"]])]
        if timed:
            names = ("ttft_mean_ms", "ttft_p99_ms", "e2e_mean_ms")
            cells += [_wait(row[at[name]]) for name in names]
        rows.append(cells)
    return Drawn(
        caption=of_set(found),
        subtitle=f"{table.title}.",
        digest=tuple(map(tuple, rows)),
    )


def _place(place: int | None) -> str:
    return "no place" if place is None else f"{place}."


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _wait(ms: float | None) -> str:
    return "" if ms is None else wait(ms)


def quantiles(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return quantiles of the requests of different traces."""
    worded = worded_tables(found)["quantiles"]
    kept = [place for place, name in enumerate(worded.columns) if name != "verdict"]
    rows = [tuple("" if row[at] is None else str(row[at]) for at in kept) for row in worded.rows]
    rows = [(f"{row[0]}, {row[1]}", *row[2:]) for row in rows]
    head = ("", *(worded.columns[at] for at in kept[2:]))
    return Drawn(
        caption="Where the requests of each trace lie.",
        subtitle="A quantile is the value of a request, the nearest rank. The requests are not the "
        "same ones, so nothing here says what a configuration did.",
        digest=(head, *rows),
    )


def dots(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return each run as a dot: what it reused, and how long its requests wait."""
    rows = data["ranking"].records
    if any(row["token_hit_rate"] is None or row["ttft_p99_ms"] is None for row in rows):
        return LeftOut("a run has no waits, or unknown reuse")
    best = max(rows, key=lambda row: row["token_hit_rate"])
    most = max(row["ttft_p99_ms"] for row in rows)
    place = {
        "x": {"field": "token_hit_rate", "type": "quantitative",
              "title": "prompt tokens reused", "scale": {"zero": False, "padding": 60},
              "axis": {"format": ".0%", "tickCount": 5, "grid": True}},
        "y": {"field": "ttft_p99_ms", "type": "quantitative", "title": None,
              "scale": {"domain": [0, most * _ABOVE]},
              "axis": {**LEFT, **wait_axis(most * _ABOVE)}},
    }  # fmt: skip
    # Names of neighbours stand left and right of their dots by turns.
    turns = [{"window": [{"op": "row_number", "as": "rank"}],
              "sort": [{"field": "token_hit_rate"}]}]  # fmt: skip
    name = {"text": {"field": "name", "type": "nominal"}}
    layers: list[Spec] = [{"mark": dot("with"), "encoding": place}]
    for turn, align, dx in ((0, "left", 7), (1, "right", -7)):
        words = {"type": "text", "align": align, "dx": dx, "dy": -8}
        chosen = [*turns, {"filter": f"datum.rank % 2 == {turn}"}]
        layers.append({"transform": chosen, "mark": words, "encoding": {**place, **name}})
    return Drawn(
        caption=f"{best['name']} reuses most, {percent(best['token_hit_rate'])}; 99 of 100 of its "
        f"requests have their first token within {wait(best['ttft_p99_ms'])}.",
        subtitle="Each run: to the right what it reused, upwards the 99th percentile of the time "
        "to first token.",
        views=(View("dots", view("ranking", 250, layer=layers)),),
        tag=tag(found),
    )
