"""The pictures as SVG, drawn here: for mail, archives and wherever scripts are not wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from replay.printable import drawable
from replay.report.frame.drawing import CONFIG
from replay.report.page.drawn import Data, View

WIDTHS = {"full": 1020, "half": 490, "third": 310}
_NARROW = "half"  # what a phone and paper show of a full one, whose words would shrink too far
_GROWS = 1.3  # at most so much: beyond it words would be larger than those around
_MARKS = 'class="marks"'  # as Vega writes it
_SIZE = re.compile(r'<svg (?P<rest>[^>]*?)width="(?P<width>[\d.]+)" height="(?P<height>[\d.]+)"')


def svg_of(view: View, data: Mapping[str, Data], width: str) -> str:
    """Return a view as SVG that scales with its place and is coloured by the page around it.

    `data` are the rows of its figure's queries by name, `width` is full, half or third. A full one
    is drawn twice, `wide` and `narrow`: the style sheet shows one.
    """
    spec = _with_rows(dict(view.spec), data)
    if width != "full":
        return _drawn(spec, width, "")
    return _drawn(spec, width, "wide") + _drawn(spec, _NARROW, "narrow")


def _drawn(spec: dict[str, Any], width: str, shown: str) -> str:
    import vl_convert

    sized = drawable({**spec, "width": WIDTHS[width], "config": CONFIG})
    return _scaling(vl_convert.vegalite_to_svg(sized, allowed_base_urls=[]), shown)


def _with_rows(spec: dict[str, Any], data: Mapping[str, Data]) -> dict[str, Any]:
    name = spec["data"]["name"]
    return {**spec, "data": {"values": data[name].records}}


def _scaling(svg: str, shown: str) -> str:
    """Return an SVG that fits the page, and says nothing itself: its figure has the caption."""
    classes = f'class="marks {shown}"' if shown else _MARKS
    return _SIZE.sub(
        lambda found: (
            f'<svg {found["rest"].replace(_MARKS, classes)}aria-hidden="true" '
            f'style="max-width:{_GROWS * float(found["width"]):.0f}px;width:100%;height:auto"'
        ),
        svg,
        count=1,
    )
