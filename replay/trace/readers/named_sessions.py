"""Sessions by name: the source says who is talking, in text or numbers."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

SESSION = "source_session_id"  # the names of sessions, as the source has them


def but_its_session(values: Mapping[str, object], session: str | None) -> dict[str, object]:
    """Return a request's own values without a `session_id` that only says its session again."""
    again = session is not None and str(values.get("session_id")) == session
    return {name: value for name, value in values.items() if not again or name != "session_id"}


def with_turns(frame: pl.DataFrame, names: pl.Series) -> pl.DataFrame:
    """Return the frame with session_id, turn and parent_request_id from the names of sessions.

    Rows must be in order of arrival: a request's parent is the one before it in its session.
    Sessions count from 0 in order of first appearance; where the name is null, all three are.
    """
    distinct = names.drop_nulls().unique(maintain_order=True)
    codes = names.replace_strict(
        distinct, pl.int_range(len(distinct), eager=True), default=None, return_dtype=pl.Int64
    )
    rows = pl.Series("row", range(frame.height), dtype=pl.Int64)
    known = pl.col("session_id").is_not_null()
    turn = pl.col("row").cum_count().over("session_id").cast(pl.Int32) - 1
    parent = pl.col("row").shift(1).over("session_id")
    sessions = pl.DataFrame([codes.alias("session_id"), rows]).select(
        "session_id",
        turn=pl.when(known).then(turn),
        parent_request_id=pl.when(known).then(parent),
    )
    return frame.with_columns(sessions.get_columns())
