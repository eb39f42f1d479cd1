"""The pictures as SVG, drawn here: for mail, archives and wherever scripts are not wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from replay.report.page.drawn import Data, View
from replay.report.page.vega import CONFIG

WIDTHS = {"full": 1020, "half": 490, "third": 310}
_SIZE = re.compile(r'<svg (?P<rest>[^>]*?)width="(?P<width>[\d.]+)" height="(?P<height>[\d.]+)"')


def svg_of(view: View, data: Mapping[str, Data], width: str) -> str:
    """Return a view as SVG that shrinks with its place and is coloured by the page around it.

    `data` are the rows of its figure's queries by name, `width` is full, half or third.
    """
    import vl_convert

    spec = {**_with_rows(dict(view.spec), data), "width": WIDTHS[width], "config": CONFIG}
    return _scaling(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))


def _with_rows(spec: dict[str, Any], data: Mapping[str, Data]) -> dict[str, Any]:
    name = spec["data"]["name"]
    return {**spec, "data": {"values": data[name].records}}


def _scaling(svg: str) -> str:
    """Return an SVG that fits the page, and says nothing itself: its figure has the caption."""
    return _SIZE.sub(
        lambda found: (
            f'<svg {found["rest"]}aria-hidden="true" style="max-width:{found["width"]}px;'
            f'width:100%;height:auto"'
        ),
        svg,
        count=1,
    )
