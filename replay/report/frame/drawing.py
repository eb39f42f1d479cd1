"""How Vega draws axes and text in every picture, coloured by the variables of `tokens.py`."""

from __future__ import annotations

from typing import Any

from replay.report.tokens import FONT

CONFIG: dict[str, Any] = {
    "aria": False,
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)", "titleColor": "var(--muted)", "labelFontSize": 12,
        "titleFontSize": 12, "titleFontWeight": 400, "gridColor": "var(--grid)",
        "domainColor": "var(--axis)", "tickColor": "var(--axis)", "titlePadding": 8,
        "labelPadding": 5,
    },
    "axisX": {"tickSize": 4},
    "axisY": {"domain": False, "ticks": False},
    "text": {"font": FONT, "fontSize": 12, "color": "var(--ink)"},
}  # fmt: skip
AS_WIDE_AS_ITS_PLACE: dict[str, Any] = {
    "width": "container",
    "autosize": {"type": "fit-x", "contains": "padding"},
}
