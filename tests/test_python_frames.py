"""DataFrames of every kind become the trace that their rows say, or an error that names the row."""

from __future__ import annotations

import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import replay
from replay.api.frames import as_pandas, as_polars
from replay.trace.readers import load_trace

ROWS = {
    "ts": [0.0, 0.5, 2.0, 2.25],
    "prompt": [128, 150, 64, 64],
    "answer": [10, 20, 5, 7],
    "user": ["ann", "bob", "ann", "ann"],
    "hashes": [["x", "y"], ["x", "y", "z"], ["x"], ["q"]],
    "region": ["eu", "us", None, "eu"],
}
MAPPING = {
    "arrival": {"name": "ts", "unit": "s"},
    "input_tokens": "prompt",
    "output_tokens": "answer",
    "session": "user",
    "block_ids": "hashes",
}
NAMES = {"arrival": "ts", "input_tokens": "prompt", "output_tokens": "answer"}
START = datetime.datetime(2025, 1, 31, 12, tzinfo=datetime.UTC)


class ArrowOnly:
    """Hands out its rows as Arrow's PyCapsule interface has it, and can do nothing else."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


class ProtocolOnly:
    """Hands out its rows by the older dataframe protocol alone."""

    def __init__(self, frame: object) -> None:
        self._frame = frame

    def __dataframe__(self, *arguments: object, **keywords: object) -> object:
        return self._frame.__dataframe__(*arguments, **keywords)


def frame() -> pl.DataFrame:
    return pl.DataFrame(ROWS)


def made(data: object, **changes: object) -> replay.Trace:
    return replay.from_frame(data, **{"columns": MAPPING, "block_size": 64, **changes})


def said(data: object, error: type[Exception] = replay.TraceError, **changes: object) -> str:
    with pytest.raises(error) as raised:
        made(data, **changes)
    return f"{raised.value.message} | {raised.value.hint}"


def test_a_frame_is_the_trace_that_a_file_of_it_is(tmp_path):
    columns = tmp_path / "columns.yaml"
    columns.write_text(
        "columns: {arrival: {name: ts, unit: s}, input_tokens: prompt, output_tokens: answer,\n"
        "          session: user, block_ids: hashes}\nblock_size: 64\n"
    )
    frame().write_parquet(tmp_path / "t.parquet")
    read = replay.load_trace(tmp_path / "t.parquet", columns=columns)
    assert_frame_equal(made(frame()).frame(), read.frame())
    assert_frame_equal(made(frame(), columns=columns, block_size=None).frame(), read.frame())
    whole = {"columns": MAPPING, "block_size": 64}
    assert_frame_equal(made(frame(), columns=whole, block_size=None).frame(), read.frame())
    assert made(frame()).frame()["region"].to_list() == ["eu", "us", None, "eu"]


@pytest.mark.parametrize("kind", [ArrowOnly, pl.DataFrame.lazy, lambda one: one.to_dict()])
def test_any_kind_of_frame_is_taken(kind):
    assert_frame_equal(made(kind(frame())).frame(), made(frame()).frame())


@pytest.mark.filterwarnings("ignore:The Dataframe Interchange Protocol")
def test_pandas_is_taken_without_another_library():
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame(ROWS)
    assert_frame_equal(made(given).frame(), made(frame()).frame())
    other = pd.DataFrame({name: ROWS[name] for name in ("ts", "prompt", "answer")})
    lengths = {"arrival": MAPPING["arrival"], "input_tokens": "prompt", "output_tokens": "answer"}
    by_protocol = made(ProtocolOnly(other), columns=lengths, block_size=None)
    assert by_protocol.frame()["input_tokens"].to_list() == ROWS["prompt"]


def test_pandas_keeps_its_types_and_its_gaps():
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame(
        {
            "zone": pd.to_datetime(["2025-01-31T12:00:00+02:00", None], utc=True),
            "floats": [1.5, None],
            "whole": pd.array([2**62 + 1, None], dtype="Int64"),
            "kind": pd.Categorical(["a", None]),
            "lists": [[1, 2], None],
            "span": pd.to_timedelta([1500, None], unit="ms"),
            "truth": pd.array([True, None], dtype="boolean"),
        }
    )
    got = as_polars(given)
    assert got["zone"].to_list() == [datetime.datetime(2025, 1, 31, 10, tzinfo=datetime.UTC), None]
    assert got["floats"].to_list() == [1.5, None]
    assert got["whole"].to_list() == [2**62 + 1, None]
    assert got["kind"].to_list() == ["a", None]
    assert got["lists"].to_list() == [[1, 2], None]
    assert got["span"].to_list() == [datetime.timedelta(seconds=1.5), None]
    assert got["truth"].to_list() == [True, None]
    back = as_pandas(got)
    assert back["whole"].dtype == "Int64"
    assert int(back["whole"][0]) == 2**62 + 1
    assert as_polars(back)["lists"].to_list() == [[1, 2], None]


def test_a_column_of_several_types_is_told_with_its_row():
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame({**ROWS, "prompt": [128, "150", 64, 64]})
    assert "'prompt' has values of several types: row 1 is str" in said(given, replay.InputError)


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(
            "ts", [START + datetime.timedelta(seconds=at) for at in ROWS["ts"]]
        ).dt.convert_time_zone("Asia/Tokyo"),
        pl.Series(
            "ts", [START.replace(tzinfo=None) + datetime.timedelta(seconds=s) for s in ROWS["ts"]]
        ),
        pl.Series("ts", [datetime.timedelta(seconds=at) for at in ROWS["ts"]]),
        pl.Series("ts", [(START + datetime.timedelta(seconds=s)).isoformat() for s in ROWS["ts"]]),
    ],
    ids=["zone", "naive", "span", "text"],
)
def test_a_time_whose_type_says_its_unit_needs_no_other(column):
    trace = made(frame().with_columns(column), columns={**MAPPING, "arrival": "ts"})
    assert trace.frame()["arrival_ns"].to_list() == [0, 500_000_000, 2_000_000_000, 2_250_000_000]
    start = None if column.dtype == pl.Duration else int(START.timestamp()) * 10**9
    assert trace.source.meta.clock_start_ns == start


def test_counts_that_pandas_made_floats_are_integers_again():
    floats = frame().with_columns(pl.col("prompt", "answer").cast(pl.Float64))
    assert_frame_equal(made(floats).frame(), made(frame()).frame())
    holes = floats.with_columns(prompt=pl.Series([128.0, float("nan"), 64.0, 64.5]))
    told = said(holes)
    assert "the DataFrame, row 1: lacks prompt" in told
    assert "the DataFrame, row 3: prompt must be an integer (got 64.5)" in told
    assert "row 0" not in told


def test_faulty_rows_are_put_aside_where_that_is_allowed():
    holes = frame().with_columns(answer=pl.Series([10, -1, 5, 7]))
    assert "the DataFrame, row 1: answer must be" in said(holes)
    trace = made(holes, max_rejected="25%")
    assert trace.requests == 3
    assert trace.frame("rejected").select("line").item() == 1
    assert "1 rows were put aside: frame('rejected') has them" in trace.notes


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"columns": {**MAPPING, "arrival": "ts"}}, replay.InputError, "holds Float64, which says"),
        ({"columns": {**MAPPING, "session": "usr"}}, replay.UnknownNameError, "did you mean user?"),
        ({"columns": {**MAPPING, "sesion": "user"}}, replay.ConfigError, "did you mean session?"),
        ({"columns": {**MAPPING, "input_tokens": 3}}, replay.ConfigError, "must be text (got 3)"),
        ({"columns": None, "block_size": None}, replay.InputError, "no column arrival_ns"),
        ({"block_size": None}, replay.ConfigError, "block_ids need a block_size"),
        ({"block_size": 32}, replay.TraceError, "row 0: a prompt of 128 tokens in blocks of 32"),
        ({"max_rejected": 2}, replay.InputError, "no share between 0 and 1"),
        ({"format_in": "openai"}, replay.InputError, "leave columns and block_size out"),
        ({"tokenizer": "t.json"}, replay.InputError, "nothing without format_in"),
    ],
)
def test_what_cannot_be_a_trace_says_why(changes, error, words):
    assert words in said(frame(), error, **changes)


def test_what_is_no_frame_is_refused():
    for data in ([1, 2], "t.jsonl", None):
        with pytest.raises(replay.InputError, match="not a DataFrame"):
            replay.from_frame(data)
    with pytest.raises(replay.InputError, match="has no rows"):
        made(frame().clear())
    with pytest.raises(replay.InputError, match="not a trace"):
        replay.describe(3)


def test_chains_are_told_by_row():
    ids = [["x", "y"], ["y", "x", "z"], ["x"], ["q"]]
    assert "row 1: block id" in said(frame().with_columns(hashes=pl.Series(ids)))
    unchained = made(frame().with_columns(hashes=pl.Series(ids)), block_ids_chained=False)
    assert unchained.frame()["block_ids"].list.len().to_list() == [2, 3, 1, 1]


def test_canonical_columns_need_no_mapping():
    first = made(frame())
    wanted = ["arrival_ns", "input_tokens", "output_tokens", "block_ids", "session_id", "turn"]
    again = replay.from_frame(first.frame().select(wanted), block_size=64)
    assert_frame_equal(again.frame().select(wanted), first.frame().select(wanted))
    rates = [replay.describe(one).frame()["ideal_token_hit_rate"][0] for one in (first, again)]
    assert rates[0] == rates[1] > 0
    with pytest.raises(replay.InputError, match="need a block_size"):
        replay.from_frame(first.frame().select(wanted))


def test_rows_may_be_the_objects_of_a_format(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"timestamp": 0, "input_length": 600, "output_length": 9, "hash_ids": [1, 2]}\n'
        '{"timestamp": 50, "input_length": 512, "output_length": 3, "hash_ids": [1]}\n'
    )
    trace = replay.from_frame(pl.read_ndjson(path), format_in="mooncake")
    assert_frame_equal(trace.frame(), load_trace(path).frame)
    wrong = pl.read_ndjson(path).with_columns(input_length=pl.Series([600, -1]))
    with pytest.raises(replay.TraceError, match="the DataFrame, row 1: "):
        replay.from_frame(wrong, format_in="mooncake")
    with pytest.raises(replay.UnknownNameError, match="unknown trace format"):
        replay.from_frame(wrong, format_in="moon")


def test_a_frame_is_known_by_its_rows():
    one, same, other = frame(), frame(), frame().with_columns(answer=pl.Series([10, 20, 5, 8]))
    assert made(one).source.meta.sha256 == made(same).source.meta.sha256
    assert made(one).source.meta.sha256 != made(other).source.meta.sha256
    halves = pl.concat([one[:2], one[2:]], rechunk=False)
    assert made(halves).source.meta.sha256 == made(one).source.meta.sha256
