"""Columns of the trace that a page groups by: tenants, models, and what else has few values."""

from __future__ import annotations

from replay.report.db import RunDatabase
from replay.schema import REQUESTS, column_names

PREFERRED = ("tenant", "model", "adapter", "kind", "priority", "skips_lookup")
OURS = ("link",)  # added by replay itself: what made it infer a session
MOST = 3  # a row of the page
MOST_VALUES = 200
_GROUPING = ("VARCHAR", "BOOLEAN", "INTEGER", "BIGINT", "TINYINT", "SMALLINT")


def told_columns(database: RunDatabase) -> list[str]:
    """Return up to three columns of the source that say for whom requests were, known ones first.

    A column of numbers counts only under a name that is known; one of a single value, or of so
    many that each would be its own group, says nothing.
    """
    relation = database.query("FROM requests LIMIT 0")
    own = {*column_names(REQUESTS), *OURS}
    types = {
        name: kind
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if name not in own and kind in _GROUPING and (kind == "VARCHAR" or name in PREFERRED)
    }
    if not types:
        return []
    counts = ", ".join(f"count(DISTINCT {_quoted(name)})" for name in types)
    found = database.query(f"SELECT count(*), {counts} FROM completed").table().rows[0]
    requests, distinct = found[0], dict(zip(types, found[1:], strict=True))
    chosen = [
        name for name, values in distinct.items() if 2 <= values <= min(MOST_VALUES, requests / 5)
    ]
    return sorted(chosen, key=lambda name: PREFERRED.index(name) if name in PREFERRED else 99)[
        :MOST
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
