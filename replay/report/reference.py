"""The reference pages of the docs, made from where tables and reports are defined.

`python -m replay.report.reference docs` writes them anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from replay.report.library import REPORTS, Report
from replay.report.run_tables import DUCKDB_TYPES
from replay.report.run_view import RUN_COLUMNS
from replay.report.tables import Table, markdown
from replay.schema import CARRIED, TABLES

GENERATED = "<!-- Generated from the code by `python -m replay.report.reference docs`. -->"

_TABLES = {
    "requests": "One row per request of the trace, in replay order. Where the trace has them, "
    f"{', '.join(f'`{name}`' for name in CARRIED[:-1])} and `{CARRIED[-1]}` follow "
    "([traces](traces.md)), then the columns of its source. SQL takes capitals for small letters, "
    "so a source's `Status` or `hit_tokens` is `source_Status` or `source_hit_tokens`.",
    "timeline": "What a timed run's engine did, in intervals of equal length. Divide an integral "
    "such as `running_request_ns` by `busy_ns` for the mean while busy, or by `width_ns` for the "
    "mean over time. Empty when untimed.",
    "curve": "What other capacities would have hit: LRU exact at up to 200 of them, the run's own, "
    "its half, double and fourfold among them; the optimum at a few, on long traces at the run's "
    "own only. Empty for session stores, with caching off and where the content is unknown.",
    "steps": "Every step of a timed run's engine, in order, where the run was made with `--steps`; "
    "else empty. `start_ns` is the end of the step before plus `idle_ns`. Blocks, requests and the "
    "ratio are those after the step was planned, which with async scheduling is before it starts. "
    "A run that keeps its steps has another digest, and the same other tables.",
    "prefixes": "The edges of the prefix tree that at least two prompts contain, in tree order.",
}
_MACROS = (
    ("ms(ns)", "nanoseconds as milliseconds"),
    ("ratio(part, whole)", "part / whole, null where whole is zero"),
    ("clock(ns, step_ns)", "a time as h:mm:ss, with milliseconds where steps are short"),
    (
        "round_width_ns(span_ns, most)",
        "the narrowest round width that cuts a span into at most about so many windows",
    ),
    ("completed", "the requests that completed"),
    (
        "paired",
        "of these, the ones that completed with caching off too, with `ttft_saving_ns`, the TTFT "
        "caching saved",
    ),
    (
        "prompt_parts",
        "of completed requests whose reuse is known, a row for each `part` of a prompt, with its "
        "`place` in a stack and its `tokens`",
    ),
    ("report.NAME", "each shipped report as a view, such as `report.hit_rate`"),
)


def tables_page() -> str:
    """Return docs/tables.md: every table, column, view and macro a query can use."""
    parts = [
        "# Tables of a run\n",
        GENERATED + "\n",
        "`replay query RUN SQL` sees these. Times are integer nanoseconds, sizes integer tokens, "
        "blocks or bytes; `DESCRIBE requests` shows the columns of one run. The Parquet files in "
        "the run directory hold the same columns.\n",
        "A sum of integers has up to 128 bits. A query written as Parquet has it as BIGINT where "
        "all values of the column fit, else as DECIMAL(38, 0), else as text, never as DOUBLE.\n",
    ]
    for name, columns in TABLES.items():
        parts += [f"## {name}\n", _TABLES[name] + "\n"]
        rows = [(c.name, DUCKDB_TYPES[c.dtype], c.unit, c.meaning) for c in columns]
        parts.append(_columns(rows))
    parts += [
        "## run\n",
        "One row: what the run's `manifest.json` says. Null where a run has no such thing.\n",
        _columns((c.name, c.type, c.unit, c.meaning) for c in RUN_COLUMNS),
        "## Views and macros\n",
        markdown(Table(("name", "meaning"), [(f"`{name}`", text) for name, text in _MACROS])),
    ]
    return "\n".join(parts)


def reports_section() -> str:
    """Return the generated end of docs/reports.md: every report, its columns and an example."""
    return "\n".join([GENERATED + "\n", *map(_report, REPORTS)])


def with_reports_section(page: str) -> str:
    """Return docs/reports.md with its generated end made anew."""
    return page.partition(GENERATED)[0] + reports_section()


def _report(report: Report) -> str:
    return "\n".join(
        [
            f"## {report.name}\n",
            f"{report.meaning}.\n" if not report.meaning.endswith("?") else f"{report.meaning}\n",
            *([report.details + "\n"] if report.details else []),
            _columns((c.name, c.type, c.unit, c.meaning) for c in report.columns),
            f"Example: {report.example}\n",
            f"```sql\n{report.example_sql}\n```\n",
        ]
    )


def _columns(rows: Iterable[tuple[str, str, str, str]]) -> str:
    cells = [(f"`{name}`", type, unit, meaning) for name, type, unit, meaning in rows]
    return markdown(Table(("column", "type", "unit", "meaning"), cells))


def _write(docs: Path) -> None:
    (docs / "tables.md").write_text(tables_page(), encoding="utf-8")
    reports = docs / "reports.md"
    reports.write_text(with_reports_section(reports.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
