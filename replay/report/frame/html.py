"""The frame of every page: one file that needs nothing else and asks nobody for anything.

A page is a template that extends `frame.html.j2` and fills its block `body`. Elements of class
`vis` are drawn, by the name in `data-view`; those with `data-table` are filled once they are seen.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from replay.printable import drawable
from replay.report.bundle import vega_script
from replay.report.tokens import variables

HERE = Path(__file__).parent


def framed(
    template: Path, *, title: str, style: str, content: Mapping[str, Any] | None, **said: Any
) -> str:
    """Return the text of a page; `said` is what else its template says.

    `content` is what scripts draw: `config` and `specs` of Vega-Lite, these by name, and `data`,
    the columns and rows of each table that specs and page name. None leaves scripts out.
    """
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_shown,
    )
    templates.filters |= {"cell": _cell, "code": _code}
    scripts = [] if content is None else [vega_script(), (HERE / "frame.js").read_text("utf-8")]
    return templates.get_template(template.name).render(
        title=title,
        policy=_policy(scripts),
        style=variables() + (HERE / "frame.css").read_text("utf-8") + style,
        content="" if content is None else _json(content),
        scripts=scripts,
        **said,
    )


def _policy(scripts: Sequence[str]) -> str:
    """Return the content policy: no request anywhere, and no script but these."""
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _shown(value: Any) -> Any:
    """Return a text that stands in a page as it may be shown; what is markup already is ours."""
    import markupsafe

    return value if isinstance(value, markupsafe.Markup) else drawable(value)


def _json(content: Mapping[str, Any]) -> str:
    """Return JSON that no text in it can end the script with."""
    text = json.dumps(
        drawable(content), separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str
    )
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _code(text: str) -> str:
    """Return a text as HTML, what stands in backticks as code."""
    import markupsafe

    parts = text.split("`")
    marked = [
        markupsafe.Markup("<code>{}</code>").format(part) if at % 2 else markupsafe.escape(part)
        for at, part in enumerate(parts)
    ]
    return markupsafe.Markup("").join(marked)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
