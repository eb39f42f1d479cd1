"""A picture as a page: one file, its data in it, light, dark and on paper, without a network."""

from __future__ import annotations

from pathlib import Path

from replay.report.frame.drawing import AS_WIDE_AS_ITS_PLACE
from replay.report.frame.html import framed
from replay.report.pictures.picture import CONFIG, Picture, plain

_HERE = Path(__file__).parent


def page_text(picture: Picture) -> str:
    """Return the page, its scripts and data in it."""
    tables = {
        name: {"columns": frame.columns, "rows": [plain(row) for row in frame.rows()]}
        for name, frame in picture.tables.items()
    }
    specs = {
        str(place): {**view, **AS_WIDE_AS_ITS_PLACE} for place, view in enumerate(picture.views)
    }
    return framed(
        _HERE / "picture.html.j2",
        title=picture.finding,
        style=(_HERE / "picture.css").read_text("utf-8"),
        content={"config": CONFIG, "specs": specs, "data": tables},
        finding=picture.finding,
        subtitle=picture.subtitle,
        views={name: _said(picture, int(name)) for name in specs},
        tables=tables,
    )


def _said(picture: Picture, place: int) -> str:
    """Return what a view says: the finding, and its own title where there are several."""
    own = picture.views[place].get("title")
    text = own if isinstance(own, str) else (own or {}).get("text", "")
    return f"{picture.finding} {text}".strip() if len(picture.views) > 1 else picture.finding
