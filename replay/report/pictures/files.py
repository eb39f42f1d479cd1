"""The files that pictures go to: the suffix says the kind, and each appears whole or not at all.

Altair's vl-convert draws PNG and SVG without a browser; it comes with `pip install
'kvreplay[report]'`. None of it needs a network.
"""

from __future__ import annotations

import json
from pathlib import Path

from replay.errors import InputError
from replay.report.bundle import check_extra
from replay.report.pictures.picture import Picture
from replay.writing.whole import whole_file

SUFFIXES = (".png", ".svg", ".html", ".json")
_PNG_SCALE = 2


def check_plot(path: Path) -> None:
    """Raise InputError where a picture cannot be made: an unknown suffix, or a module missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: the suffix tells no kind of plot (got {path.suffix!r})",
            hint=f"use one of {', '.join(SUFFIXES)}",
        )
    check_extra("plots need")


def write_picture(picture: Picture, path: Path, *, force: bool = False) -> None:
    """Write a picture as the suffix of its file says.

    Raises what `check_plot` and writing a file raise.
    """
    check_plot(path)
    content = _content(picture, path.suffix.lower())
    with whole_file(path, force=force) as sink:
        sink.write(content)


def _content(picture: Picture, suffix: str) -> bytes:
    if suffix == ".json":
        return (json.dumps(picture.spec(), indent=1) + "\n").encode()
    if suffix == ".html":
        from replay.report.pictures.page import page_text

        return page_text(picture).encode()
    import vl_convert

    spec = picture.spec()
    if suffix == ".svg":
        return vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]).encode()
    return vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE, allowed_base_urls=[])
