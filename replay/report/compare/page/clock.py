"""What the engines of several runs did, on one clock."""

from __future__ import annotations

from collections.abc import Mapping

from replay.report.compare.compare import Comparison
from replay.report.compare.page.runs import each_or_ends, line_key, means, run_lines
from replay.report.frame.axes import AMOUNT_LABEL, LEFT, clock_axis
from replay.report.page.drawn import Data, Drawn, LeftOut, View
from replay.report.page.vega import Spec, title, view
from replay.report.words import percent, span

_STRIPS = (
    ("running", "Requests running, on average", 56, AMOUNT_LABEL),
    ("waiting", "Requests waiting, on average", 48, AMOUNT_LABEL),
    ("held_share", "KV pool held by running requests", 56, "format(datum.value, '.0%')"),
    ("cached_share", "KV pool cached and idle", 56, "format(datum.value, '.0%')"),
    ("evicted_tokens_per_s", "KV tokens evicted per second", 48, AMOUNT_LABEL),
    ("prompt_tokens_per_s", "Prompt tokens computed per second", 56, AMOUNT_LABEL),
    ("preemptions", "Requests preempted", 44, AMOUNT_LABEL),
)


def caption(timeline: Data, found: Comparison) -> str:
    """Return how many requests run at once, and what they hold of the memory."""
    running, held = means(timeline, "running"), means(timeline, "held_share")
    known = running.keys() <= held.keys()

    def word(letter: str) -> str:
        share = f" ({percent(held[letter])} of the KV pool)" if known else ""
        return f"{running[letter]:.1f}{share}"

    told = each_or_ends(found, running, word, ", the fewest,", ", the most")
    return f"Requests that run at once, on average: {told}."


def strips(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the strips, a line a run in each, the clock below the last."""
    table = data["timeline"]
    until = max(row["from_s"] + row["width_s"] for row in table.records)
    shown = [strip for strip in _STRIPS if any(table.column(strip[0]))]
    last = shown[-1][0]
    return Drawn(
        caption=caption(table, found),
        subtitle=f"State of the engines by {span(table.records[0]['width_s'])}, on one clock that "
        "starts with each trace.",
        key=line_key(found),
        views=tuple(
            View(f"engine_{name}", _strip(name, words, height, label, until, found, name == last))
            for name, words, height, label in shown
        ),
    )


def _strip(
    name: str, words: str, height: int, label: str, until: float, found: Comparison, is_last: bool
) -> Spec:
    y = {"field": name, "type": "quantitative", "title": None,
         "axis": {**LEFT, "labelExpr": label, "tickCount": 2}}  # fmt: skip
    return view(
        "timeline",
        height,
        title=title(words),
        mark={"type": "line", "interpolate": "step-after", "strokeWidth": 1.5},
        encoding={"x": clock_axis("from_s", until, labels=is_last), "y": y, **run_lines(found)},
    )
