"""A picture: its finding as the title, what is drawn below it, and tables that are all it draws.

Views are Vega-Lite in plain dictionaries over those tables by name, coloured by `var(--NAME)` of
replay/report/tokens.py: a browser looks the colours up, so one drawing serves light, dark and
paper, and a file that knows no variables gets the values. That takes discrete scales.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from replay.errors import InputError
from replay.printable import drawable
from replay.report.frame.drawing import CONFIG as SHARED
from replay.report.tokens import Scheme, values

if TYPE_CHECKING:
    import altair
    import polars as pl

Spec = dict[str, Any]

WIDTH = 720  # of a file with a size of its own
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nothing is loaded from there
_VARIABLE = re.compile(r"var\(--(\w+)\)")
_TITLE_PX, _SUBTITLE_PX = 17, 13
_BOLD, _PLAIN = 0.52, 0.46  # of the height of a letter: how wide it is
_EXACT_INTEGERS = 2**53

_APART = {
    "scale": {"color": "independent", "strokeDash": "independent", "shape": "independent"},
    "legend": {"color": "independent", "strokeDash": "independent", "shape": "independent"},
}
CONFIG: Spec = {
    **SHARED,
    "background": "var(--card)",
    "legend": {
        "orient": "top", "direction": "horizontal", "labelColor": "var(--ink)", "labelFontSize": 12,
        "title": None, "offset": 4, "columnPadding": 16, "symbolStrokeWidth": 2.25,
        "labelLimit": 260,
    },
    "title": {
        "anchor": "start", "frame": "bounds", "color": "var(--ink)", "fontSize": 13,
        "fontWeight": 600, "subtitleColor": "var(--muted)", "offset": 8,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: `finding` and `subtitle` are sentences, `views` stand below one another.

    `tables` are the frames its views draw, by name, the first of them the answer itself.
    """

    finding: str
    subtitle: str
    tables: Mapping[str, pl.DataFrame]
    views: Sequence[Spec]

    def datasets(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of each table."""
        return {
            name: [dict(zip(frame.columns, plain(row), strict=True)) for row in frame.rows()]
            for name, frame in self.tables.items()
        }

    def spec(self, scheme: Scheme = "light", *, width: int = WIDTH) -> Spec:
        """Return the whole as one Vega-Lite specification without variables, `width` in pixels."""
        views = [{"width": width, **view} for view in self.views]
        body: Spec = {"vconcat": views, "spacing": 24, "resolve": _APART}
        if len(views) == 1:
            body = views[0]
        heading = {
            "text": _lines(self.finding, width, _TITLE_PX * _BOLD),
            "subtitle": _lines(self.subtitle, width, _SUBTITLE_PX * _PLAIN),
            "anchor": "start", "frame": "bounds", "fontSize": _TITLE_PX, "fontWeight": 600,
            "subtitleFontSize": _SUBTITLE_PX, "lineHeight": 22, "subtitleLineHeight": 18,
            "subtitlePadding": 6, "offset": 16,
        }  # fmt: skip
        whole = {
            "$schema": SCHEMA,
            "padding": {"left": 16, "right": 24, "top": 16, "bottom": 16},
            **body,
            "title": heading,
            "config": CONFIG,
        }
        drawn: Spec = drawable({**painted(whole, scheme), "datasets": self.datasets()})
        return drawn

    def chart(self) -> altair.TopLevelMixin:
        """Return the picture as a chart of Altair; raises InputError where that is missing."""
        try:
            import altair
        except ImportError as error:
            raise InputError(
                f"plots need a module that is not installed ({error.name})",
                hint="pip install 'kvreplay[report]'",
            ) from error
        kind = altair.VConcatChart if len(self.views) > 1 else altair.LayerChart
        return kind.from_dict(self.spec())


def painted(spec: Any, scheme: Scheme) -> Any:
    """Return a specification with the values of a scheme in place of variables."""
    colours = values(scheme)

    def paint(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: paint(value) for name, value in part.items()}
        if isinstance(part, list | tuple):
            return [paint(value) for value in part]
        if isinstance(part, str):
            return _VARIABLE.sub(lambda found: colours[found[1]], part)
        return part

    return paint(spec)


def _lines(text: str, width: int, letter: float) -> list[str]:
    """Return a text in lines that fit a width, its letters so many pixels wide on average."""
    return textwrap.wrap(text, max(int(width / letter), 24), break_long_words=False)


def plain(row: Sequence[Any]) -> list[Any]:
    """Return the values of a row as JSON has them; integers that JavaScript rounds become text."""
    return [
        str(value) if isinstance(value, int) and abs(value) > _EXACT_INTEGERS else value
        for value in row
    ]
