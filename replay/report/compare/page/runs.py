"""What the pictures of a comparison share: a colour and a dash for each run, lines and axes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from replay.report.compare.compare import Comparison
from replay.report.page.drawn import Data, Key
from replay.report.page.look import paint
from replay.report.page.vega import Spec, colour
from replay.report.words import listed

# The first run is the one compared with: grey and dashed, as what was before.
SHADES = ("without", "with", "queue", "prefill", "avoid")
MOST = len(SHADES)  # runs that can be told apart in one picture


def shades(found: Comparison) -> dict[str, str]:
    """Return the colour of each run by its letter."""
    return {side.letter: shade for side, shade in zip(found.sides, SHADES, strict=False)}


def line_key(found: Comparison) -> tuple[Key, ...]:
    """Return the key of lines, the first of them dashed."""
    return tuple(
        Key(side.called, shade, "line" if at else "dash")
        for at, (side, shade) in enumerate(zip(found.sides, SHADES, strict=False))
    )


def dot_key(found: Comparison) -> tuple[Key, ...]:
    """Return the key of dots."""
    return tuple(
        Key(side.called, shade, "dot") for side, shade in zip(found.sides, SHADES, strict=False)
    )


def run_colour(found: Comparison) -> Spec:
    """Return the colour channel of runs."""
    return colour("run", shades(found))


def run_lines(found: Comparison) -> Spec:
    """Return the channels of the lines of runs."""
    letters = [*shades(found)]
    dashes = {"domain": letters, "range": [[5, 3], *([1, 0] for _ in letters[1:])]}
    return {
        "color": run_colour(found),
        "strokeDash": {"field": "run", "type": "nominal", "scale": dashes, "legend": None},
    }


def names_of(found: Comparison) -> Spec:
    """Return the axis of bars that are runs: their names in place of letters."""
    pairs = ", ".join(f"{side.letter}: {_quoted(side.called)}" for side in found.sides)
    return {"field": "run", "type": "nominal", "title": None,
            "axis": {"labelExpr": f"({{{pairs}}})[datum.value]", "domain": False, "ticks": False,
                     "minExtent": 96, "maxExtent": 96, "labelLimit": 92}}  # fmt: skip


def dot(shade: str, *, size: int = 80) -> Spec:
    """Return the mark of one point."""
    return {"type": "point", "filled": True, "size": size, "opacity": 1, "color": paint(shade)}


def by_run(data: Data, field: str) -> dict[str, list[float]]:
    """Return the values of a field of each run where it is known, in the order of the rows."""
    values: dict[str, list[float]] = {}
    for row in data.records:
        if row[field] is not None:
            values.setdefault(row["run"], []).append(row[field])
    return values


def means(data: Data, field: str) -> dict[str, float]:
    """Return the mean of a field in each run, over the rows where it is known."""
    return {run: sum(known) / len(known) for run, known in by_run(data, field).items()}


def each_or_ends(
    found: Comparison, values: Mapping[str, float], word: Callable[[str], str], low: str, high: str
) -> str:
    """Return what there is of each of two runs, of more of the one with least and with most.

    `word` says it by the letter of a run; `low` and `high` are what stands behind the ends.
    """
    names = {side.letter: side.called for side in found.sides}
    if len(values) <= 2:
        return listed([f"{word(letter)} in {names[letter]}" for letter in values])
    least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    ends = [f"{word(letter)} in {names[letter]}{tail}"
            for letter, tail in ((least, low), (most, high))]  # fmt: skip
    return listed(ends)


def both(found: Comparison) -> Sequence[str]:
    """Return what the two runs are called."""
    return [side.called for side in found.sides[:2]]


def _quoted(text: str) -> str:
    """Return a text as Vega's expressions write it."""
    return json.dumps(text)
