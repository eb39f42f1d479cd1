"""Tables of any columns: what a mapping may say, and what a table must then hold."""

import io
import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ConfigError, InputError, ReplayError, TraceError, UnknownNameError
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.columns import read_columns
from replay.trace.readers.options import ReadOptions
from tests.reader_fuzz import any_json, json_lines, mutated, source_of

LENGTHS = "input_tokens: prompt, output_tokens: out"
PLAIN = f"columns: {{arrival: {{name: ts, unit: s}}, {LENGTHS}, session: user}}"
BLOCKS = f"columns: {{arrival: {{name: ts, unit: ms}}, {LENGTHS}, block_ids: ids}}\nblock_size: 4"
CSV = "ts,prompt,out,user,kind\n0.5,8,3,a,x\n1.25,10,3,b,y\n1.000000001,6,1,a,z\n"


@pytest.fixture
def trace_of(tmp_path):
    """A function from text, or bytes, and a mapping to the trace."""

    def trace_of(data: str | bytes, mapping: str = PLAIN, **options) -> Trace:
        path = tmp_path / "m.yaml"
        path.write_text(mapping)
        return read_columns(source_of(data, "a.csv"), ReadOptions(columns=path, **options))

    return trace_of


def parquet(**columns) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


def test_a_csv_becomes_requests_in_order_of_time_and_keeps_its_other_columns(trace_of):
    trace = trace_of(CSV)
    assert trace.frame["arrival_ns"].to_list() == [0, 500_000_001, 750_000_000]
    assert trace.frame["input_tokens"].to_list() == [8, 6, 10]
    assert trace.frame["turn"].to_list() == [0, 1, 0]
    assert trace.frame["source_session_id"].to_list() == ["a", "a", "b"]
    assert trace.frame["source_kind"].to_list() == ["x", "z", "y"]
    assert trace.meta.content == "unknown: lengths only"


def test_quoted_values_blank_lines_and_line_ends_change_nothing(trace_of):
    quoted = (
        'ts,"prompt",out,user,kind\r\n\r\n0.5,"8",3,a,x\r\n1.25,10,3,b,y\r\n1.000000001,6,1,a,z'
    )
    assert trace_of(quoted).frame.equals(trace_of(CSV).frame)


def test_another_delimiter_may_be_named(trace_of):
    assert trace_of(CSV.replace(",", "\t"), f'{PLAIN}\ndelimiter: "\\t"').requests == 3


def test_rows_of_json_are_read_by_names_with_points(trace_of):
    rows = [
        {"t": {"at": 5}, "usage": {"in": 7, "out": 2}, "u": 3, "m": "x", "n": 1},
        {"t": {"at": 4.5}, "usage": {"in": 6, "out": 1}, "u": "3", "m": None, "n": 2},
    ]
    trace = trace_of(
        "\n".join(map(json.dumps, rows)),
        "columns: {arrival: {name: t.at, unit: ms}, input_tokens: usage.in, "
        "output_tokens: usage.out, session: u, model: m}",
    )
    assert trace.frame["arrival_ns"].to_list() == [0, 500_000]
    assert trace.frame["session_id"].to_list() == [0, 0]
    assert trace.frame["model"].to_list() == [None, "x"]
    assert trace.frame["n"].to_list() == [2, 1]


def test_parquet_is_read_with_its_types_and_structs(trace_of):
    data = parquet(
        ts=[datetime(2025, 1, 1, 0, 0, 1), datetime(2025, 1, 1)],
        usage=[{"in": 5, "out": 1}, {"in": 6, "out": 2}],
        ids=[[-1, 2], [3, 2**62]],
        took=[0.25, 1.5],
        more=[[1], [2]],
    )
    trace = trace_of(
        data,
        "columns: {arrival: {name: ts, unit: iso}, input_tokens: usage.in, "
        "output_tokens: usage.out, block_ids: ids, recorded_ttft: {name: took, unit: ms}}\n"
        "block_size: 4",
    )
    assert trace.frame["arrival_ns"].to_list() == [0, 10**9]
    assert trace.meta.clock_start_ns == 1_735_689_600 * 10**9
    assert trace.frame["block_ids"].to_list() == [[3, 2**62], [2**64 - 1, 2]]
    assert trace.frame["recorded_ttft_ns"].to_list() == [1_500_000, 250_000]
    assert "keys without one plain type were left out: 'more'" in trace.meta.notes


@pytest.mark.parametrize(
    ("unit", "text", "ns"),
    [
        ("s", "1700000000.123456789", 1_700_000_000_123_456_789),
        ("s", "1.7e9", 1_700_000_000 * 10**9),
        ("ms", "1700000000000.25", 1_700_000_000_000_250_000),
        ("us", "1700000000000000", 1_700_000_000 * 10**9),
        ("ns", "1700000000000000001", 1_700_000_000_000_000_001),
        ("iso", "2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("iso", "2023-11-14 22:13:20.9799601", 1_700_000_000_979_960_100),
        ("iso", "2023-11-14T23:13:20.5+01:00", 1_700_000_000_500_000_000),
    ],
)
def test_times_are_as_exact_as_they_are_written(trace_of, unit, text, ns):
    trace = trace_of(
        f"ts,prompt,out,user\n{text},1,1,a\n", PLAIN.replace("unit: s", f"unit: {unit}")
    )
    assert trace.meta.clock_start_ns == ns


@pytest.mark.parametrize("cell", ['"[1, 2, 3]"', "1 2 3", "1;2;3", '"1,2,3"', "[1|2|3]"])
def test_lists_in_csv_may_be_written_in_any_usual_way(trace_of, cell):
    trace = trace_of(f"ts,prompt,out,ids\n0,10,1,{cell}\n", BLOCKS)
    assert trace.frame["block_ids"].to_list() == [[1, 2, 3]]


def test_hashes_in_text_are_ids_alike_in_csv_json_and_parquet(trace_of):
    hashes = [["a3f", "77"], ["a3f", "b0"]]
    csv = "ts,prompt,out,ids\n0,8,1,a3f 77\n1,8,1,a3f b0\n"
    rows = [{"ts": at, "prompt": 8, "out": 1, "ids": ids} for at, ids in enumerate(hashes)]
    table = parquet(ts=[0, 1], prompt=[8, 8], out=[1, 1], ids=hashes)
    found = [
        trace_of(data, BLOCKS).frame["block_ids"].to_list()
        for data in (csv, "\n".join(map(json.dumps, rows)), table)
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0][0] == found[0][1][0]
    assert len({block for ids in found[0] for block in ids}) == 3


def test_a_partial_block_without_an_id_gets_one_that_never_comes_again(trace_of):
    trace = trace_of("ts,prompt,out,ids\n0,6,1,1\n1,6,1,1\n", BLOCKS)
    first, second = trace.frame["block_ids"].to_list()
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert trace.meta.notes[0].startswith("2 partial last blocks have no id")


def test_ids_of_blocks_alone_are_chained_on_reading(trace_of):
    text = "ts,prompt,out,ids\n0,8,1,1 2\n1,8,1,3 2\n2,8,1,1 2\n"
    with pytest.raises(TraceError, match="block id 2 follows 3 here and follows 1 on line 2"):
        trace_of(text, BLOCKS)
    first, second, third = trace_of(text, f"{BLOCKS}\nblock_ids_chained: false").frame["block_ids"]
    assert first.to_list() == third.to_list()
    assert not set(first) & set(second)


def test_token_ids_say_content_and_lengths(trace_of):
    trace = trace_of(
        "ts,ids,said\n0,1 2 3,4 5\n1,1 2,\n2,1 2 3 4,6\n",
        "columns: {arrival: {name: ts, unit: s}, tokens: ids, response_tokens: said}",
    )
    assert trace.frame["tokens"].to_list() == [[1, 2, 3], [1, 2, 3, 4]]
    assert trace.frame["output_tokens"].to_list() == [2, 1]
    assert [(one.line, one.reason) for one in trace.rejected] == [
        (3, "no response: a failed request")
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,3.7,1,a,k", "prompt must be an integer (got '3.7')"),
        ("0,5.0,1,a,k", "prompt must be an integer (got '5.0')"),
        ("0,1e3,1,a,k", "prompt must be an integer (got '1e3')"),
        ("0,0,1,a,k", "prompt must be between 1 and 16777216 (got '0')"),
        ("0,99999999999999999999,1,a,k", "prompt must be an integer (got '99999999999"),
        ("0,,1,a,k", "lacks prompt"),
        ("0,5,-1,a,k", "out must be between 0 and"),
        ("x,5,1,a,k", "ts must be a number (got 'x')"),
        ("-1,5,1,a,k", "ts is out of range (got '-1')"),
        ("nan,5,1,a,k", "ts must be a number (got 'nan')"),
        ("1e400,5,1,a,k", "ts is out of range"),
        (",5,1,a,k", "lacks ts"),
        ("0,5,1,a", "must have 5 values, as the header (got 4)"),
        ("0,5,1,a,k,l", "must have 5 values, as the header (got 6)"),
        ('0,5,1,"a"b,k', "not valid CSV"),
    ],
)
def test_a_bad_row_of_csv_is_refused_with_its_line(trace_of, row, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{CSV}{row}\n")
    assert str(caught.value).startswith("a.csv:5: ")
    assert message in str(caught.value)


def test_lines_are_right_behind_values_of_several_lines(trace_of):
    with pytest.raises(TraceError, match=r"a\.csv:4: lacks out"):
        trace_of('ts,prompt,out,user\n0,1,1,"two\nlines"\n0,1,,b\n')


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "5"}, "prompt must be an integer (got '5')"),
        ({"prompt": 5.0}, "prompt must be an integer (got 5.0)"),
        ({"prompt": True}, "prompt must be an integer (got True)"),
        ({"prompt": None}, "lacks prompt"),
        ({"ts": "1"}, "ts must be a number (got '1')"),
        ({"ts": 1e300}, "ts is out of range"),
        ({"ids": "12"}, "ids must be a list of integers (got '12')"),
        ({"ids": ["a", "b"]}, "ids must be a list of integers (got ['a', 'b'])"),
        ({"ids": [1, 2.5]}, "ids must be a list of integers (got [1, 2.5])"),
        ({"ids": [1, 2**64]}, "ids must hold integers of 64 bits"),
        ({"ids": [1, 2, 3]}, "a prompt of 8 tokens in blocks of 4 needs 2 block ids (got 3)"),
        ({"ids": [2, 1]}, "block id 2 starts the prompt here and follows 1 on line 1"),
    ],
)
def test_a_bad_row_of_json_is_refused_with_its_line(trace_of, row, message):
    good = {"ts": 0, "prompt": 8, "out": 1, "ids": [1, 2]}
    with pytest.raises(TraceError) as caught:
        trace_of("\n".join([json.dumps(good), json.dumps(good | row)]), BLOCKS)
    assert str(caught.value).startswith("a.csv:2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": [4.0, 1.5]}, ":1: prompt must be an integer (got 4.0)"),
        ({"prompt": [4, None]}, ":2: lacks prompt"),
        ({"prompt": ["4", "5"]}, ":1: prompt must be an integer (got '4')"),
        ({"ids": [[1], [None]]}, ":2: ids must hold ids alone (got null)"),
        ({"ids": [1, 2]}, "column ids must hold lists of ids (got Int64)"),
        ({"ts": [1.0, float("nan")]}, ":2: ts is out of range (got nan)"),
        ({"ts": [datetime(2025, 1, 1)] * 2}, ":1: ts must be a number (got datetime"),
    ],
)
def test_a_bad_row_of_parquet_is_refused_with_its_number(trace_of, columns, message):
    good = {"ts": [0, 1], "prompt": [4, 4], "out": [1, 1], "ids": [[1], [1]]}
    with pytest.raises(TraceError) as caught:
        trace_of(parquet(**(good | columns)), BLOCKS)
    assert message in str(caught.value)


def test_faulty_rows_may_be_put_aside_as_they_stand(trace_of):
    trace = trace_of(f"{CSV}x,1,1,a,k\n", max_rejected=0.25)
    assert [(one.line, one.text) for one in trace.rejected] == [(5, "x,1,1,a,k")]
    table = parquet(ts=[0, 1], prompt=[4, 0], out=[1, 1], user=["a", "b"])
    (aside,) = trace_of(table, max_rejected=0.5).rejected
    assert (aside.line, aside.text) == (2, "{'ts': 1, 'prompt': 0, 'out': 1, 'user': 'b'}")


def test_a_column_that_is_not_there_names_near_ones(trace_of):
    with pytest.raises(
        UnknownNameError, match=r"unknown column of a\.csv \(got 'prompts'\)"
    ) as caught:
        trace_of(CSV, PLAIN.replace("prompt", "prompts"))
    assert "did you mean prompt?" in caught.value.hint
    with pytest.raises(UnknownNameError) as caught:
        trace_of('{"ts": 1, "prompt": {"n": 1}, "out": 1}', PLAIN.replace("prompt", "prompt.m"))
    assert "prompt.n" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("ts,prompt,out,user\n", "no requests"),
        ("ts,ts,prompt,out,user\n1,1,1,1,a\n", "column 'ts' stands twice in the header"),
        (b"ts,prompt,out,user\n1,1,1,\xff\n", "a.csv:2: not UTF-8 text (got byte 0xff)"),
        (b"PAR1....PAR1", "damaged Parquet file"),
        ("[1]", "expected a JSON object"),
    ],
)
def test_a_file_that_is_no_table_is_refused(trace_of, data, message):
    with pytest.raises(TraceError) as caught:
        trace_of(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("columns: {arrival: ts}", "m.yaml:1:20: columns.arrival: must be a mapping of keys"),
        (
            PLAIN.replace("unit: s", "unit: h"),
            "columns.arrival.unit: must be 'ns', 'us', 'ms', 's' or 'iso' (got 'h')",
        ),
        (PLAIN.replace("session", "sesion"), "columns.sesion: unknown key"),
        (PLAIN.replace("input_tokens: prompt, ", ""), "needs input_tokens, or tokens to count"),
        (PLAIN.replace("output_tokens: out, ", ""), "needs output_tokens, or response_tokens"),
        (BLOCKS.replace("block_size: 4", "format: csv"), "block_ids need a block_size"),
        (f"{PLAIN}\nblock_size: 4", "block_size has no effect without columns.block_ids"),
        (f"{PLAIN}\nblock_ids_chained: false", "block_ids_chained has no effect without"),
        (f"{PLAIN}\nformat: xml", "format: must be 'csv', 'jsonl' or 'parquet' (got 'xml')"),
        (f"{PLAIN}\ndelimiter: '::'", "delimiter: must be one ASCII character"),
        (BLOCKS.replace("ids}", "ids, tokens: t}"), "block_ids and tokens exclude each other"),
        (PLAIN.replace("user}", "user, response_tokens: r}"), "mean nothing without tokens"),
    ],
)
def test_a_mapping_is_checked_at_its_place(trace_of, mapping, message):
    with pytest.raises(ConfigError) as caught:
        trace_of(CSV, mapping)
    assert "m.yaml:" in str(caught.value)
    assert message in str(caught.value)


def test_a_mapping_makes_any_file_a_table_and_nothing_else_does(tmp_path):
    path, mapping = tmp_path / "t.jsonl", tmp_path / "m.yaml"
    path.write_text('{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [0]}')
    mapping.write_text(
        "columns: {arrival: {name: timestamp, unit: ms}, input_tokens: input_length, "
        "output_tokens: output_length}"
    )
    assert load_trace(path).meta.format == "mooncake"
    assert load_trace(path, options=ReadOptions(columns=mapping)).meta.format == "columns"
    with pytest.raises(InputError, match="needs --columns"):
        load_trace(path, format_name="columns")
    with pytest.raises(InputError, match="--columns means nothing to a trace in mooncake format"):
        load_trace(path, format_name="mooncake", options=ReadOptions(columns=mapping))


def test_a_csv_with_and_without_quotes_gives_the_same_columns(trace_of):
    rows = [f"{at}.{at:03},{at % 7 + 1},{at % 3},s{at % 5},{at % 2}" for at in range(200)]
    plain = "\n".join(["ts,prompt,out,user,flag", *rows])
    quoted = plain.replace("ts,", '"ts",', 1)
    assert trace_of(plain).frame.equals(trace_of(quoted).frame)


ids_ish = st.lists(st.integers(0, 3), max_size=3) | any_json
json_ish = st.fixed_dictionaries(
    {},
    optional={
        "ts": st.integers(0, 9) | any_json,
        "prompt": st.integers(0, 12) | any_json,
        "out": st.integers(0, 2) | any_json,
        "ids": ids_ish,
        "x": any_json,
    },
)
BLOCKS_CSV = 'ts,prompt,out,ids\n0,10,1,1 2 3\n1,6,2,[1]\n2,8,1,"1,2"\n'


@settings(max_examples=120, deadline=None)
@given(json_lines(json_ish) | mutated(CSV) | mutated(BLOCKS_CSV), st.booleans(), st.booleans())
def test_anything_gives_a_trace_or_a_refusal(tmp_path_factory, data, blocks, lenient):
    path = Path(tmp_path_factory.getbasetemp()) / ("blocks.yaml" if blocks else "plain.yaml")
    path.write_text(BLOCKS if blocks else PLAIN)
    options = ReadOptions(columns=path, max_rejected=0.5 if lenient else 0.0)
    try:
        assert read_columns(source_of(data, "a.csv"), options).requests > 0
    except ReplayError:
        return


def test_a_table_without_times_gets_assumed_ones_and_says_so(trace_of):
    mapping = PLAIN.replace("arrival: {name: ts, unit: s}, ", "")
    trace = trace_of("prompt,out,user\n8,3,a\n9,3,b\n20,3,a\n7,3,\n", mapping)
    assert trace.frame["input_tokens"].to_list() == [8, 9, 7, 20]
    assert trace.frame["arrival_ns"].to_list() == [0, 10**9, 2 * 10**9, 30 * 10**9]
    assert trace.meta.notes[0].startswith("the source has no times; assumed")
    assert not any("order of time" in note for note in trace.meta.notes)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_times_keep_the_digits_that_they_are_written_with(trace_of, kind):
    times = ["1735689600.123456789", "1735689600.12345679", "1735689600.123456999", "1735689601"]
    if kind == "csv":
        text = "ts,prompt,out,user\n" + "".join(f"{time},48,3,a\n" for time in times)
    else:
        text = "".join(f'{{"ts": {time}, "prompt": 48, "out": 3, "user": "a"}}\n' for time in times)
    assert trace_of(text).frame["arrival_ns"].to_list() == [0, 1, 210, 876543211]
