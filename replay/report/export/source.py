"""The queries that exports are made with."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


def sql_file(name: str) -> str:
    """Return the SQL of `sql/NAME.sql`."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
