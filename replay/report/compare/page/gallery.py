"""All figures of a comparison, in the order in which one asks: what, whether, for whom, when, why.

A figure is a line here, as in `replay.report.page.gallery`: where it stands, what it is called
where it is left out, what the runs must have for it, the tables or files of `sql/` that it is
drawn from, and the function that draws them.
"""

from __future__ import annotations

from replay.report.compare.compare import Comparison
from replay.report.compare.page import clock, tables, tokens, waits, whom
from replay.report.compare.page.runs import MOST
from replay.report.page.document import HALF
from replay.report.page.figure import Figure

SECTIONS = {
    "changed": ("Changed", "What was changed?"),
    "worth": ("Better?", "Which one is better?"),
    "whom": ("For whom", "Who gained, and who lost?"),
    "more": ("Memory", "What does memory have to do with it?"),
    "when": ("When", "When do they differ?"),
    "who": ("Single requests", "Which requests changed most?"),
}

# What a figure may need, and what runs without it lack, in words; empty: nothing is left out, for
# what stands in its place is there.
LACKS = {
    "two": "",
    "pair": "",
    "paired": "the requests are not the same",
    "several": "",
    "unpaired": "",
    "few": f"more than {MOST} runs cannot be told apart in one picture",
    "timed": "a run is untimed",
    "content": "what requests share is unknown",
    "judged": "nobody can tell which waits differ",
    "curve": "no run has a curve of capacities",
    "clock": "no run has a timeline",
}


FIGURES: tuple[Figure[Comparison], ...] = (
    Figure("differences", "changed", "differences", (), ("differences",), tables.differences),
    Figure("ranking", "worth", "ranking", ("several",), ("ranking",), tables.ranking),
    Figure("dots", "worth", "reuse and waits", ("several", "timed"), ("ranking",), tables.dots),
    Figure("waits", "worth", "waits ranked", ("few", "timed"), ("waits",), waits.ranked, HALF),
    Figure("parts", "worth", "where the tokens went", ("few", "content"), ("parts",),
           tokens.parts, HALF),
    Figure("quantiles", "worth", "quantiles", ("unpaired",), ("quantiles",), tables.quantiles),
    Figure("scatter", "whom", "waits pair by pair", ("pair", "judged"), ("scatter",),
           waits.scatter),
    Figure("gained_hits", "whom", "reuse of groups", ("pair", "content"), ("gained",), whom.hits,
           HALF),
    Figure("gained_waits", "whom", "waits of groups", ("pair", "timed"), ("gained",), whom.waits,
           HALF),
    Figure("curve", "more", "hit rate over capacity", ("few", "content", "curve"), ("curve",),
           tokens.curve),
    Figure("waits_over_time", "when", "waits over the run", ("few", "timed"),
           ("waits_over_time",), waits.over_time),
    Figure("timeline", "when", "the engines over the run", ("few", "clock"), ("timeline",),
           clock.strips),
    Figure("requests", "who", "single requests", ("pair",), ("requests",), whom.requests),
)  # fmt: skip


def has(found: Comparison) -> set[str]:
    """Return the needs that a comparison meets."""
    two, paired = len(found.sides) == 2, found.why_unpaired is None
    met = {
        "two": two,
        "paired": paired,
        "pair": two and paired,
        "several": not two and paired,
        "unpaired": not paired,
        "few": len(found.sides) <= MOST,
        "timed": all(side.timed for side in found.sides),
        "content": all(side.content_known for side in found.sides),
        "judged": found.band is not None,
        "curve": "curve" in found.tables,
        "clock": "timeline" in found.tables,
    }
    return {name for name, is_met in met.items() if is_met}
