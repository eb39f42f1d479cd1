"""What became of requests, kept by column; and sums that leave 64 bits."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from replay.engine import outcome as module
from replay.engine.outcome import Harvest, LazyRows, Outcome, narrowed, smallest
from replay.engine.totals import exact_sum, total
from replay.kernels import layout

ROWS = st.integers(1, 12).flatmap(
    lambda rows: drawn.arrays(
        np.int64,
        (rows, layout.OUTCOME_FIELDS),
        elements=st.sampled_from([0, 0, 1, -1, 127, 128, -129, 40_000, -(2**31) - 1, 2**62]),
    )
)


@given(ROWS, st.integers(1, 5))
def test_a_table_by_column_reads_as_the_table(table, at_once):
    kept = Outcome(len(table))
    for start in range(0, len(table), at_once):
        kept.put(start, table[start : start + at_once])
    for field in range(layout.OUTCOME_FIELDS):
        assert kept[:, field].tolist() == table[:, field].tolist()
        assert kept[1:3, field].tolist() == table[1:3, field].tolist()
        assert kept[np.array([0, 0]), field].tolist() == [table[0, field]] * 2
    other = kept.changed({layout.HIT: table[:, layout.COLD]})
    assert other[:, layout.HIT].tolist() == table[:, layout.COLD].tolist()
    assert kept[:, layout.HIT].tolist() == table[:, layout.HIT].tolist()
    alone = kept.only(layout.STATUS)
    assert alone[:, layout.STATUS].tolist() == table[:, layout.STATUS].tolist()
    assert not alone[:, layout.HIT].any()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([], np.int8), ([-128, 127], np.int8), ([128], np.int16), ([-32769], np.int32),
     ([2**31], np.int64), ([-(2**63)], np.int64)],
)  # fmt: skip
def test_values_take_the_smallest_integers_that_hold_them(values, dtype):
    values = np.array(values, np.int64)
    assert smallest(values) == dtype
    assert narrowed(values).tolist() == values.tolist()


def test_rows_that_are_given_back_take_no_memory_and_others_stay():
    rows = LazyRows(10_000, 30)
    rows.table[:] = 7
    rows.release(100, 9_900)
    assert (rows.table[:100] == 7).all()
    assert (rows.table[9_900:] == 7).all()
    if rows._pages is not None:
        assert not rows.table[200:9_800].any()  # read anew, as of nobody


def test_only_what_is_done_with_all_before_it_is_taken_out(monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 1)
    harvest = Harvest(5)
    harvest.rows.table[:, layout.HIT] = [1, 2, 3, 4, 5]
    harvest.state.table[[0, 1, 3], layout.PHASE] = layout.DONE
    assert harvest.done(left_queue=5) == 2
    harvest.take(2)
    assert harvest.outcome[:, layout.HIT].tolist() == [1, 2, 0, 0, 0]
    assert harvest.done(left_queue=2) == 2
    assert harvest.take_all()[:, layout.HIT].tolist() == [1, 2, 3, 4, 5]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_sums_are_exact_whatever_their_size(values):
    assert exact_sum(np.array(values, np.int64)) == sum(values)
    assert total(pl.Series([*values, None], dtype=pl.Int64)) == sum(values)


def test_a_column_of_nulls_sums_to_nothing():
    assert total(pl.Series([None, None])) == 0
