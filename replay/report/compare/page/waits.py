"""Pictures of the time to first token of several runs: ranked, over the run, pair by pair."""

from __future__ import annotations

from collections.abc import Mapping

from replay.report.compare.compare import Comparison
from replay.report.compare.judge import OVERLOADED, STANDS
from replay.report.compare.page.runs import (
    both,
    by_run,
    each_or_ends,
    line_key,
    means,
    run_colour,
    run_lines,
)
from replay.report.frame.axes import LEFT, WAIT_LABEL, clock_axis, log_ticks, wait_axis
from replay.report.page.drawn import Data, Drawn, Key, LeftOut, View
from replay.report.page.look import paint
from replay.report.page.vega import Spec, view
from replay.report.words import count, wait

TAG = "A run is overloaded: its times grow with the length of the trace"
LEAST_MS = 1e-3  # of a logarithmic axis
_SHOWN_RANKS = (0, 0.25, 0.5, 0.75, 0.9, 0.99)
_DIGEST = {"ttft_mean_ms": "mean", "ttft_p50_ms": "median", "ttft_p90_ms": "90%",
           "ttft_p99_ms": "99%", "itl_mean_ms": "between tokens", "e2e_mean_ms": "whole request",
           }  # fmt: skip
_TOLD = (0.5, 0.9, 0.99)
_SCATTER = {"sooner": "with", "tie": "axis", "later": "avoid"}
_MANY = (1, 2, 5, 20)  # requests of a square, from which on it is darker
_DARKER = (0.35, 0.55, 0.8, 1.0)


def tag(found: Comparison) -> str:
    """Return the warning of a picture of waits, where one run is overloaded."""
    return TAG if any(side.overloaded for side in found.sides) else ""


# --- ranked ---------------------------------------------------------------------------------


def ranked_caption(waits: Data, found: Comparison) -> str:
    """Return within which time all but one in a hundred have their first token."""
    last: dict[str, float] = {}
    for row in waits.records:
        if row["share"] >= 0.99 and row["run"] not in last:
            last[row["run"]] = row["ms"]
    told = each_or_ends(found, last, lambda one: wait(last[one]), ", the soonest,", ", the latest")
    verdict = verdict_of(found, "ttft_p99_ms")
    tail = "" if verdict in (None, STANDS, OVERLOADED) else _no_difference(verdict)
    return f"99 of 100 requests have their first token within {told}{tail}."


def _no_difference(verdict: str | None) -> str:
    return ": a tie" if verdict == "tie" else ": whether that differs nobody can tell"


def verdict_of(found: Comparison, metric: str) -> str | None:
    """Return the verdict on a metric of two runs, None where there is none."""
    if "delta" not in found.tables:
        return None
    table = found.tables["delta"]
    return next((row[-1] for row in table.rows if row[0] == metric), None)


def ranked(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the waits ranked, a line a run, and below them the numbers that people quote."""
    waits = data["waits"]
    values = [max(ms, LEAST_MS) for ms in waits.column("ms")]
    x = {"field": "ms", "type": "quantitative", "title": "time to first token",
         "scale": {"type": "log", "nice": False},
         "axis": {"labelExpr": WAIT_LABEL, "grid": True,
                  "values": log_ticks(min(values), max(values))}}  # fmt: skip
    y = {"field": "share", "type": "quantitative", "title": None, "scale": {"domain": [0, 1]},
         "axis": {**LEFT, "values": [*_SHOWN_RANKS], "format": ".0%"}}  # fmt: skip
    mark = {"type": "line", "interpolate": "step-before", "strokeWidth": 2.25}
    # A wait of nothing has no place on a logarithmic axis.
    least = [{"calculate": f"max(datum.ms, {LEAST_MS})", "as": "ms"}]
    spec = view("waits", 250, transform=least, mark=mark,
                encoding={"x": x, "y": y, **run_lines(found)})  # fmt: skip
    return Drawn(
        caption=ranked_caption(waits, found),
        subtitle="Share of requests whose first token came within the time below (log scale).",
        key=line_key(found),
        views=(View("waits", spec),),
        digest=_digest(found) or _quantiles(waits, found),
        tag=tag(found),
    )


def _digest(found: Comparison) -> tuple[tuple[str, ...], ...]:
    """Return the times of two runs, with the verdict on each difference."""
    if "delta" not in found.tables:
        return ()
    table = found.tables["delta"]
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    told = [["", *reversed(both(found)), "change", "verdict"]]
    for name, words in _DIGEST.items():
        if name in rows:
            row = rows[name]
            change = row["change_share"]
            told.append(
                [words, wait(row["b"]), wait(row["a"]), f"{change or 0:+.0%}", row["verdict"]]
            )
    return tuple(map(tuple, told))


def _quantiles(waits: Data, found: Comparison) -> tuple[tuple[str, ...], ...]:
    """Return the median and two percentiles of each run."""
    rows: dict[str, list[float]] = {side.called: [] for side in found.sides}
    names = {side.letter: side.called for side in found.sides}
    for row in waits.records:
        told = rows[names[row["run"]]]
        # The first rank that reaches a quantile, as shares are of the 200 that are drawn.
        if len(told) < len(_TOLD) and row["share"] >= _TOLD[len(told)] - 1e-9:
            told.append(row["ms"])
    cells = [(name, *map(wait, times)) for name, times in rows.items()]
    return ("", "median", "90%", "99%"), *cells


# --- over the run ---------------------------------------------------------------------------


def over_time_caption(windows: Data, found: Comparison) -> str:
    """Return in how many windows the median was shorter, or how it swings in each run."""
    if len(found.sides) == 2 and found.why_unpaired is None:
        medians: dict[float, dict[str, float]] = {}
        for row in windows.records:
            medians.setdefault(row["from_s"], {})[row["run"]] = row["median_ms"]
        pairs = [one for one in medians.values() if len(one) == 2]
        shorter = sum(one["b"] < one["a"] for one in pairs)
        longer = sum(one["b"] > one["a"] for one in pairs)
        one, other = both(found)
        tail = f", longer in {longer}" if longer else ""
        return (
            f"The median wait is shorter in {other} than in {one} in {shorter} of {len(pairs)} "
            f"windows{tail}."
        )
    values = by_run(windows, "median_ms")

    def word(letter: str) -> str:
        return f"{wait(min(values[letter]))} to {wait(max(values[letter]))}"

    told = each_or_ends(found, means(windows, "median_ms"), word, ", the soonest,", ", the latest")
    return f"The median wait of a window is {told}."


def over_time(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the median wait over the run, a line a run."""
    windows = data["waits_over_time"]
    starts = set(windows.column("from_s"))
    if len(starts) < 2:
        return LeftOut("all requests arrive at once")
    until, most = max(windows.column("to_s")), max(windows.column("median_ms"))
    y = {"field": "median_ms", "type": "quantitative", "title": None,
         "scale": {"domain": [0, most]}, "axis": {**LEFT, **wait_axis(most)}}  # fmt: skip
    middle = [{"calculate": "(datum.from_s + datum.to_s) / 2", "as": "at_s"}]
    lines = {"type": "line", "strokeWidth": 2}
    dots = {"type": "point", "filled": True, "size": 22, "opacity": 1}
    x = clock_axis("at_s", until)
    spec = view(
        "waits_over_time", 220, transform=middle,
        layer=[
            {"mark": lines, "encoding": {"x": x, "y": y, **run_lines(found)}},
            {"mark": dots, "encoding": {"x": x, "y": y, "color": run_colour(found)}},
        ],
    )  # fmt: skip
    width = windows.records[0]["to_s"] - windows.records[0]["from_s"]
    return Drawn(
        caption=over_time_caption(windows, found),
        subtitle=f"Median time to first token by arrival, in windows of {wait(width * 1000)}.",
        key=line_key(found),
        views=(View("waits_over_time", spec),),
        tag=tag(found),
    )


# --- pair by pair ---------------------------------------------------------------------------


def scatter_caption(squares: Data, found: Comparison) -> str:
    """Return how many requests differ by more than the error, and which way."""
    counted = dict.fromkeys(_SCATTER, 0)
    for row in squares.records:
        counted[row["verdict"]] += row["requests"]
    whole, apart = sum(counted.values()), counted["sooner"] + counted["later"]
    other = both(found)[1]
    if not apart:
        return f"No request of {whole:,} waits longer or shorter than the model can tell."
    return (
        f"{apart:,} of {count(whole, 'request')} differ by more than the model's error: in {other} "
        f"{counted['sooner']:,} have their first token sooner, {counted['later']:,} later."
    )


def scatter(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the waits of the same requests in both runs, in squares coloured by the verdict."""
    squares = data["scatter"]
    one, other = both(found)
    low, high = min(squares.column("a_from_ms")), max(squares.column("a_to_ms"))
    low = min(low, *squares.column("b_from_ms"))
    high = max(high, *squares.column("b_to_ms"))
    scale = {"type": "log", "nice": False, "domain": [low, high]}
    axis = {"labelExpr": WAIT_LABEL, "values": log_ticks(low, high), "grid": True}
    x = {"field": "a_from_ms", "type": "quantitative", "scale": scale, "axis": axis,
         "title": f"time to first token in {one} (log scale)"}  # fmt: skip
    y = {"field": "b_from_ms", "type": "quantitative", "scale": scale, "title": None,
         "axis": {**axis, **LEFT}}  # fmt: skip
    steps = " : ".join(
        f"datum.requests >= {least} ? {shade}"
        for least, shade in reversed(list(zip(_MANY, _DARKER, strict=True)))
    )
    domain = [*_SCATTER]
    paints = {"domain": domain, "range": [paint(shade) for shade in _SCATTER.values()]}
    rects = {
        "transform": [{"calculate": f"{steps} : 0", "as": "strength"}],
        "mark": {"type": "rect"},
        "encoding": {
            "x": x, "x2": {"field": "a_to_ms"}, "y": y, "y2": {"field": "b_to_ms"},
            "color": {"field": "verdict", "type": "nominal", "scale": paints, "legend": None},
            "opacity": {"field": "strength", "type": "quantitative", "scale": None,
                        "legend": None},
            "tooltip": [
                {"field": "a_from_ms", "title": f"{one} from ms", "format": ",.3~r"},
                {"field": "b_from_ms", "title": f"{other} from ms", "format": ",.3~r"},
                {"field": "requests", "format": ",d"},
            ],
        },
    }  # fmt: skip
    ends: Spec = {
        "data": {"values": [{"at": low}, {"at": high}]},
        "mark": {"type": "line", "color": "var(--ink)", "strokeWidth": 1, "strokeDash": [2, 3]},
        "encoding": {
            "x": {"field": "at", "type": "quantitative"},
            "y": {"field": "at", "type": "quantitative"},
        },
    }
    return Drawn(
        caption=scatter_caption(squares, found),
        subtitle=f"The same requests: waits in {one} to the right, in {other} upwards; below the "
        "dotted line they are shorter there. Darker squares hold more requests (from 1, 2, 5, 20).",
        key=(
            Key(f"sooner in {other}", "with"), Key("tie: within the model's error", "axis"),
            Key(f"later in {other}", "avoid"),
        ),
        views=(View("scatter", view("scatter", 320, layer=[rects, ends])),),
    )  # fmt: skip
