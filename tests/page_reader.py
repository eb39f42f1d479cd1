"""A page as a reader of its HTML sees it: figures, tables, scripts, and every address in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class SeenFigure:
    """A figure: its id, the text of its caption, the labels of its drawings, its tables."""

    name: str
    caption: str = ""
    labels: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    sql: list[str] = field(default_factory=list)
    svgs: int = 0
    narrow: int = 0  # once more, for phones and paper


class PageReader(HTMLParser):
    """Reads a page; `text` is what a person reads, without scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.figures: list[SeenFigure] = []
        self.headings: list[tuple[str, str]] = []
        self.addresses: list[str] = []
        self.policy = ""
        self.scripts: list[tuple[dict, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)
        self.addresses += [given[name] for name in ("href", "src", "action") if given.get(name)]
        if "id" in given:
            self.ids.append(given["id"])
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag == "figure":
            self.figures.append(SeenFigure(given.get("id", "")))
        if tag in ("h1", "h2", "h3"):
            self.headings.append((tag, ""))
        if tag == "script":
            self.scripts.append((given, ""))
        if "figure" in self.open and self.figures:
            seen = self.figures[-1]
            narrow = "narrow" in given.get("class", "").split()
            seen.svgs += tag == "svg" and not narrow
            seen.narrow += tag == "svg" and narrow
            if given.get("role") == "img":
                seen.labels.append(given.get("aria-label", ""))
            if "data-view" in given:
                seen.views.append(given["data-view"])
            if "data-table" in given or tag == "table":
                seen.tables.append(given.get("data-table", ""))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        if "script" in self.open:
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
            return
        if "style" in self.open:
            return
        self.text += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            tag, before = self.headings[-1]
            self.headings[-1] = (tag, before + data)
        if "h3" in self.open and "figure" in self.open:
            self.figures[-1].caption += data
        if "pre" in self.open and "figure" in self.open:
            self.figures[-1].sql.append(data)

    @property
    def content(self) -> dict:
        """The specs and rows that the scripts draw."""
        (text,) = (text for given, text in self.scripts if given.get("id") == "content")
        return json.loads(text)
