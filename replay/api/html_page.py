"""Pages in Python: what `replay report RUN` and `replay compare A B` write with `--html FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from replay.api.given import Path_
from replay.writing.whole import whole_file

_HEIGHT_PX = 800  # of its window in a notebook


class Page:
    """A page: `html` is all of it, `write` makes it a file, and a notebook shows it in a frame.

    `warnings` must be read before any number, and stand first on the page too. `lack` says which
    stories of single requests the page of a run has not, and why, and is empty where none is
    missing; a comparison has no stories.
    """

    def __init__(self, html: str, *, title: str, warnings: Sequence[str], lack: str = "") -> None:
        self.html = html
        self.warnings: tuple[str, ...] = tuple(warnings)
        self.lack = lack
        self._title = title

    def write(self, path: Path_, *, force: bool = False) -> Path:
        """Write the page to a file, whole or not at all, and return its path.

        Raises OutputExistsError unless `force`, and OutputError.
        """
        with whole_file(Path(path), force=force) as sink:
            sink.write(self.html.encode("utf-8", "backslashreplace"))
        return Path(path)

    def __repr__(self) -> str:
        size = f"{len(self.html.encode('utf-8', 'backslashreplace')) / 1e6:.1f} MB"
        lines = [*self.warnings, f"Page of {self._title}, {size}", self.lack]
        return "\n".join(filter(None, lines))

    def _repr_html_(self) -> str:
        """Return the page in a frame: its scripts run there, and reach nothing of the notebook."""
        return (
            f'<iframe title="Page of {escape(self._title)}" sandbox="allow-scripts" '
            f'style="width:100%;height:{_HEIGHT_PX}px;border:0" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )
