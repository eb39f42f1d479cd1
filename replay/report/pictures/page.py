"""A picture as a page: one file, its data in it, light, dark and on paper, without a network."""

from __future__ import annotations

import json
from pathlib import Path

from replay.report.bundle import vega_script
from replay.report.pictures.picture import CONFIG, Picture, plain
from replay.report.tokens import variables

_HERE = Path(__file__).parent


def page_text(picture: Picture) -> str:
    """Return the page, its scripts and data in it."""
    from jinja2 import Environment, FileSystemLoader

    tables = {
        name: {"columns": frame.columns, "rows": [plain(row) for row in frame.rows()]}
        for name, frame in picture.tables.items()
    }
    data = {"tables": tables, "views": list(picture.views), "config": CONFIG}
    template = Environment(loader=FileSystemLoader(_HERE), autoescape=True).get_template(
        "picture.html.j2"
    )
    return template.render(
        finding=picture.finding,
        subtitle=picture.subtitle,
        views=[_said(picture, place) for place in range(len(picture.views))],
        tables=tables,
        style=variables() + (_HERE / "picture.css").read_text(encoding="utf-8"),
        data=json.dumps(data).replace("<", "\\u003c"),
        vega=vega_script(),
        script=(_HERE / "picture.js").read_text(encoding="utf-8"),
    )


def _said(picture: Picture, place: int) -> str:
    """Return what a view says: the finding, and its own title where there are several."""
    own = picture.views[place].get("title")
    text = own if isinstance(own, str) else (own or {}).get("text", "")
    return f"{picture.finding} {text}".strip() if len(picture.views) > 1 else picture.finding
