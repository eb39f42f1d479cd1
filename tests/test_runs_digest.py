"""The result digest: equal for equal results, however they are held, different for any other."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from replay.runs.digest import result_digest
from replay.schema import TABLES

GOLDEN = "3bd93ef36d5b83cc05c916fbc269f400de3ca02fd30969786733f063ee2a7b72"
WITHOUT_STEPS = "58fd0bff53f5249cbf2c231d040b9e506afba5160fd8a71e2f2a1d5d69360a50"
ROWS = 30


def frame(table: str) -> pl.DataFrame:
    """Return a table with a number for each cell, nulls among them."""
    columns = {}
    for at, column in enumerate(TABLES[table]):
        values = [None if (row + at) % 7 == 0 else row * at for row in range(ROWS)]
        dtype = getattr(pl, column.dtype)
        columns[column.name] = pl.Series(values, dtype=pl.Int64).cast(dtype)
    return pl.DataFrame(columns)


def tables() -> dict[str, pl.DataFrame]:
    return {name: frame(name) for name in TABLES}


def requests() -> pl.DataFrame:
    return frame("requests")


def with_column(**columns: pl.Series) -> dict[str, pl.DataFrame]:
    return {"requests": requests().with_columns(**columns)}


def labels(values: list, dtype: pl.DataType | type | None = None) -> dict[str, pl.DataFrame]:
    """Return tables with a source column of these values, repeated."""
    return with_column(label=pl.Series((values * ROWS)[:ROWS], dtype=dtype))


def test_the_digest_of_known_tables_never_changes() -> None:
    assert result_digest(tables()) == GOLDEN


def test_a_table_that_a_run_has_not_counts_for_nothing() -> None:
    kept = {name: table for name, table in tables().items() if name != "steps"}
    assert result_digest(kept) == WITHOUT_STEPS  # as before there was such a table


def test_chunks_do_not_count() -> None:
    chunked = {name: pl.concat([f[:3], f[3:]], rechunk=False) for name, f in tables().items()}
    assert chunked["requests"].n_chunks() == 2
    assert result_digest(chunked) == GOLDEN


def test_threads_do_not_count() -> None:
    code = "from tests.test_runs_digest import *; print(result_digest(tables()))"
    command = [sys.executable, "-c", code]
    env = {"POLARS_MAX_THREADS": "1", "PATH": ""}
    root = Path(__file__).parents[1]
    done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == GOLDEN


def test_the_order_tables_are_given_in_does_not_count() -> None:
    assert result_digest(dict(reversed(tables().items()))) == GOLDEN


def test_an_all_null_column_counts_as_one_of_its_type() -> None:
    typed = with_column(turn=pl.Series([None] * ROWS, dtype=pl.Int32))
    assert result_digest(with_column(turn=pl.Series([None] * ROWS))) == result_digest(typed)


def test_the_parquet_layout_does_not_count(tmp_path: Path) -> None:
    read = {}
    for name, written in tables().items():
        written.write_parquet(tmp_path / name, compression="lz4", row_group_size=4)
        read[name] = pl.read_parquet(tmp_path / name)
    assert result_digest(read) == GOLDEN


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([""], [None]),
        ([0.0], [None]),
        ([0.0], [-0.0]),
        ([False], [None]),
        ([[1], [2]], [[1, 2], []]),
        ([[]], [None]),
        ([{"x": 1}], [{"x": 2}]),
        ([{"x": 1}], [{"y": 1}]),
        ([b"a"], [b"b"]),
        ([datetime.date(2026, 1, 1)], [datetime.date(2026, 1, 2)]),
    ],
)
def test_different_values_differ(one: list, other: list) -> None:
    dtype = pl.Series(one).dtype
    given = labels(other) if dtype.is_nested() and other != [None] else labels(other, dtype)
    assert result_digest(labels(one, dtype)) != result_digest(given)


def test_types_count() -> None:
    assert result_digest(labels([1], pl.Int32)) != result_digest(labels([1], pl.Int64))


def test_numbers_wider_than_a_machine_word_count() -> None:
    one, other = labels([2**70], pl.Int128), labels([2**71], pl.Int128)
    assert result_digest(one) != result_digest(other)


def test_column_names_count() -> None:
    column = pl.Series([1] * ROWS)
    assert result_digest(with_column(a=column)) != result_digest(with_column(b=column))


def test_row_order_counts() -> None:
    assert result_digest({"requests": requests().reverse()}) != result_digest(
        {"requests": requests()}
    )


def test_categories_count_as_their_text() -> None:
    text = labels(["a", "b"], pl.String)
    assert result_digest(labels(["a", "b"], pl.Categorical)) == result_digest(text)


def test_rows_beyond_one_slice_count() -> None:
    many = pl.concat([requests()] * 9000)  # more than the rows fed to the hash at once
    changed = many.with_columns(
        hit_tokens=pl.when(pl.int_range(pl.len()) == many.height - 1)
        .then(pl.lit(1, pl.Int64))
        .otherwise("hit_tokens")
    )
    assert result_digest({"requests": many}) != result_digest({"requests": changed})
