"""All figures of the page, in the order in which one asks: the one table to read and to change.

A figure is a line here: where it stands, what it is called where it is left out, what a run must
have for it, the queries behind it (files of `sql/`, or shipped reports), and the function that
draws their rows. CONTRIBUTING.md has the recipe.
"""

from __future__ import annotations

from replay.report.page.document import HALF, THIRD
from replay.report.page.facts import Facts
from replay.report.page.figure import Figure
from replay.report.page.figures import causes, engine, memory, prefixes, slowest, waits

SECTIONS = {
    "worth": ("Worth it?", "Was it worth it?"),
    "tokens": ("Tokens", "Where did the prompt tokens go?"),
    "when": ("When", "When was the engine short of room?"),
    "whom": ("For whom", "For whom?"),
    "more": ("More memory", "What would more memory or another policy do?"),
    "who": ("Who suffered", "Which requests suffered, and why?"),
}

# What a figure may need, and what a run without it lacks, in words.
LACKS = {
    "completed": "no request completed",
    "content": "no content: reuse unknown",
    "timed": "the run is untimed",
    "arrivals": "all requests arrive at once",
    "sessions": "the trace has no sessions",
    "prefixes": "no two prompts are known to share a prefix",
    "timeline": "the run has no timeline",
    "curve": "the run has no curve of capacities",
    "ended": "the run stopped before all requests ended, and the curve counts all of them",
    "evicted": "nothing was evicted too early",
    "evictors": "the run does not say when what was missed was evicted",
    "untimed": "",  # in its place stands what only timed runs have: nothing is left out
}


FIGURES: tuple[Figure[Facts], ...] = (
    Figure("waits", "worth", "waits ranked", ("completed", "timed"),
           ("waits", "savings"), waits.ranked, HALF),
    Figure("waits_over_time", "worth", "waits over the run", ("completed", "timed", "arrivals"),
           ("waits_over_time", "slower"), waits.over_time, HALF),
    Figure("causes", "tokens", "where the tokens went", ("completed", "content"),
           ("causes",), causes.all_tokens),
    Figure("causes_over_time", "tokens", "the same over the run",
           ("completed", "content", "arrivals"), ("causes_over_time",), causes.over_time),
    Figure("prefixes", "tokens", "shared prefixes", ("content", "prefixes"),
           ("prefixes",), prefixes.tree),
    Figure("engine", "when", "the engine over the run", ("completed", "timed", "timeline"),
           ("engine",), engine.strips),
    Figure("turns", "whom", "reuse by turn", ("completed", "content", "sessions"), ("turns",),
           causes.grouped("turns", "By turn of the session", causes.turn_name), THIRD),
    Figure("session_lengths", "whom", "reuse by length of the session",
           ("completed", "content", "sessions"), ("session_lengths",),
           causes.grouped("session_lengths", "By requests in the session", causes.session_name),
           THIRD),
    Figure("prompt_lengths", "whom", "reuse by length of the prompt", ("completed", "content"),
           ("prompt_lengths",),
           causes.grouped("prompt_lengths", "By prompt tokens", causes.length_name), THIRD),
    Figure("curve", "more", "hit rate over capacity", ("content", "curve", "ended"),
           ("curve", "memory"), memory.curve, HALF),
    Figure("wanted_again", "more", "how soon evicted tokens were wanted",
           ("completed", "content", "evicted", "evictors"), ("wanted_again",),
           memory.wanted_again, HALF),
    Figure("waits_made_of", "who", "what waits are made of", ("completed", "timed"),
           ("waits_made_of",), waits.made_of),
    Figure("slowest", "who", "slowest requests", ("completed", "timed"),
           ("slowest",), slowest.slowest),
    Figure("most_evicted", "who", "requests that lost most",
           ("completed", "untimed", "content", "evicted"), ("most_evicted",), slowest.most_evicted),
)  # fmt: skip


def column_figure(column: str) -> Figure[Facts]:
    """Return the figure of reuse by a column of the trace, such as its tenants."""
    name = f"by_{column}"
    words = column.replace("_", " ")
    draw = causes.grouped(name, f"By {words} of the trace", lambda value: f"{words} {value}")
    return Figure(name, "whom", f"reuse by {words}", ("completed", "content"), (name,), draw, THIRD)
