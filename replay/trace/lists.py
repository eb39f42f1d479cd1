"""List columns from flat arrays."""

from __future__ import annotations

import numpy as np
import polars as pl


def list_column(values: np.ndarray, counts: np.ndarray) -> pl.Series:
    """Return a list column: row r holds the next `counts[r]` values, null where that is zero."""
    rows = pl.Series("row", np.repeat(np.arange(len(counts), dtype=np.uint32), counts))
    lists = (
        pl.DataFrame({"row": rows.set_sorted(), "values": values})
        .group_by("row", maintain_order=True)  # a run of equal keys that are sorted is one slice
        .agg("values")
        .get_column("values")
    )
    if len(lists) == len(counts):
        return lists
    place = pl.Series(np.cumsum(counts > 0) - 1)
    return lists.gather(place.set(pl.Series(counts == 0), None))
