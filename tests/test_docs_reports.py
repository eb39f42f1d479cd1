"""The reference pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.report.library import REPORTS, report_names
from replay.report.reference import tables_page, with_reports_section
from replay.report.run_view import RUN_COLUMNS
from replay.schema import TABLES

DOCS = Path(__file__).parents[1] / "docs"
AGAIN = "run `python -m replay.report.reference docs`"


def test_the_page_of_tables_is_current():
    assert (DOCS / "tables.md").read_text(encoding="utf-8") == tables_page(), AGAIN


def test_the_page_of_reports_is_current():
    page = (DOCS / "reports.md").read_text(encoding="utf-8")
    assert page == with_reports_section(page), AGAIN


@pytest.mark.parametrize("name", TABLES)
def test_every_column_of_a_table_has_its_line(name):
    section = tables_page().split(f"## {name}\n")[1].split("\n## ")[0]
    assert all(f"| `{column.name}` |" in section for column in TABLES[name])


def test_every_fact_of_a_run_has_its_line():
    section = tables_page().split("## run\n")[1]
    assert all(f"| `{column.name}` | {column.type} |" in section for column in RUN_COLUMNS)


def test_every_report_has_its_section_and_example():
    page = (DOCS / "reports.md").read_text(encoding="utf-8")
    assert [line[3:] for line in page.splitlines() if line[3:] in report_names()] == report_names()
    assert all(report.example_sql in page for report in REPORTS)
