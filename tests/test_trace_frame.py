"""The canonical trace, its Parquet file, and how a file's format is recognised."""

import io
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from replay.errors import InputError, OutputError, OutputExistsError, TraceError, UnknownNameError
from replay.schema import TRACE
from replay.trace.describe import CONTENT_FACTS
from replay.trace.frame import TraceMeta, canonical_trace
from replay.trace.parquet import METADATA_KEY, read_trace, write_trace
from replay.trace.readers import READERS, load_trace
from replay.trace.sessions import LINKS, infer_sessions
from tests import random_traces
from tests.trace_samples import row, trace_of

META = TraceMeta("t", "t", "0" * 64, "test", 512, "test")
TEXT = f"{row(0, 1024, 3, [0, 1], model='a')}\n{row(5, 700, 4, [0, 2], model='b')}\n"


def frame(**columns):
    rows = len(next(iter(columns.values())))
    base = {"arrival_ns": [0] * rows, "input_tokens": [5] * rows, "output_tokens": [1] * rows}
    return pl.DataFrame(base | columns)


def refusal(table, meta=META):
    with pytest.raises(TraceError) as caught:
        canonical_trace(table, meta)
    return str(caught.value)


def test_rows_are_sorted_by_arrival_and_ties_keep_their_order():
    trace = canonical_trace(frame(arrival_ns=[9, 0, 9, 0], input_tokens=[1, 2, 3, 4]), META)
    assert trace.frame["input_tokens"].to_list() == [2, 4, 1, 3]
    assert trace.frame["request_id"].to_list() == [0, 1, 2, 3]


def test_parents_follow_their_requests_when_rows_are_sorted():
    table = frame(arrival_ns=[9, 0, 5], parent_request_id=[2, None, 1])
    trace = canonical_trace(table, META)
    assert trace.frame["parent_request_id"].to_list() == [None, 0, 1]


def test_types_are_cast_and_own_columns_come_last_unchanged():
    trace = canonical_trace(frame(kind=["x", None]), META)
    assert trace.frame.schema == {
        "request_id": pl.Int64, "arrival_ns": pl.Int64, "input_tokens": pl.Int32,
        "output_tokens": pl.Int32, "kind": pl.String,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"input_tokens": [5.0]}, "column input_tokens must be Int32 (got Float64)"),
        ({"input_tokens": [None]}, "column input_tokens must be Int32 (got Null)"),
        ({"input_tokens": [1, None]}, "column input_tokens has 1 nulls"),
        ({"input_tokens": [2**31]}, "column input_tokens has values that are not Int32"),
        ({"input_tokens": [5, 0]}, "request 1: input_tokens must be at least 1 (got 0)"),
        ({"output_tokens": [0]}, "request 0: output_tokens must be at least 1 (got 0)"),
        ({"output_tokens": [3, 2**24 + 1]}, "request 1: output_tokens must be at most 16,777,216"),
        ({"arrival_ns": [0, 2**61 + 1]}, "request 1 arrives 73 years after the first one"),
        ({"arrival_ns": [-1]}, "request 0: arrival_ns must be at least 0 (got -1)"),
        ({"turn": ["a"]}, "column turn must be Int32 (got String)"),
        ({"block_ids": [[-1]]}, "column block_ids has values that are not List(UInt64)"),
        ({"block_ids": [["a"]]}, "column block_ids must be List(UInt64) (got List(String))"),
        ({"request_id": [1, 0]}, "request_id must count 0, 1, 2 ... in file order"),
        ({"request_id": [0, 1], "arrival_ns": [5, 4]}, "request 1 arrives before request 0"),
        ({"parent_request_id": [0]}, "request 0: parent_request_id must be of an earlier request"),
        ({"parent_request_id": [9, None]}, "request 0: parent_request_id must be of an earlier"),
        ({"arrival_ns": []}, "no requests"),
    ],
)
def test_a_frame_that_is_no_trace_is_refused(columns, message):
    assert message in refusal(frame(**columns))


def test_all_missing_columns_are_named_at_once():
    text = refusal(pl.DataFrame({"arrival_ns": [0]}))
    assert "column input_tokens is missing" in text
    assert "column output_tokens is missing" in text


def test_a_trace_written_and_read_again_is_the_same(tmp_path):
    trace = infer_sessions(trace_of(TEXT, 512))
    path = write_trace(trace, tmp_path / "trace.parquet")
    again = load_trace(path)
    assert_frame_equal(again.frame, trace.frame)
    assert again.frame.schema["block_ids"] == pl.List(pl.UInt64)
    assert again.meta.block_size == 512
    assert again.meta.sessions == trace.meta.sessions
    assert again.meta.content == trace.meta.content
    origin, *notes = again.meta.notes
    assert tuple(notes) == trace.meta.notes
    assert origin == "from sample.jsonl, mooncake format, sha256 000000000000"


def test_where_a_trace_came_from_is_noted_once(tmp_path):
    first = write_trace(trace_of(TEXT, 512), tmp_path / "a.parquet")
    second = write_trace(load_trace(first), tmp_path / "b.parquet")
    assert load_trace(second).meta.notes == load_trace(first).meta.notes


@settings(deadline=None, max_examples=15)
@given(random_traces.rows())
def test_any_trace_survives_parquet(drawn):
    trace = random_traces.trace_of(drawn)
    data = io.BytesIO()
    facts = {"schema_version": 1, **{name: getattr(trace.meta, name) for name in META_NAMES}}
    trace.frame.write_parquet(data, metadata={METADATA_KEY: json.dumps(facts)})
    assert_frame_equal(read_trace(data.getvalue(), "x", sha256="").frame, trace.frame)


META_NAMES = [name for name in TraceMeta.__slots__ if name != "path"]


def test_an_existing_file_is_not_overwritten(tmp_path):
    path = write_trace(trace_of(TEXT, 512), tmp_path / "trace.parquet")
    with pytest.raises(OutputExistsError):
        write_trace(trace_of(TEXT, 512), path)
    assert write_trace(trace_of(TEXT, 512), path, force=True) == path


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        write_trace(trace_of(TEXT, 512), tmp_path / "absent" / "trace.parquet")
    assert list(tmp_path.iterdir()) == []


def parquet(table, metadata=None):
    data = io.BytesIO()
    table.write_parquet(data, metadata=metadata)
    return data.getvalue()


def parquet_refusal(data, **options):
    with pytest.raises(TraceError) as caught:
        read_trace(data, "t.parquet", sha256="", **options)
    return str(caught.value)


def test_parquet_of_others_is_refused():
    assert parquet_refusal(parquet(frame(kind=["x"]))) == (
        "t.parquet: a Parquet file, but no trace of ours"
    )


def facts(**changes):
    known = {name: getattr(META, name) for name in META_NAMES}
    return {METADATA_KEY: json.dumps({"schema_version": 1, **known, **changes})}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({METADATA_KEY: "[1"}, "damaged Parquet file"),
        ({METADATA_KEY: "{}"}, "no trace of ours"),
        ({METADATA_KEY: '{"schema_version": 1}'}, "its metadata lacks name, sha256,"),
        (facts(schema_version=99), "trace schema 99 is newer than this version reads"),
        (facts(block_size="x"), "its metadata lacks block_size, or not as"),
        (facts(block_size=0), "its block size is below 1 (got 0)"),
        (facts(notes=None), "its metadata lacks notes, or not as"),
    ],
)
def test_parquet_with_wrong_metadata_is_refused(metadata, message):
    assert message in parquet_refusal(parquet(frame(kind=["x"]), metadata))


def test_parquet_that_lacks_a_column_is_refused():
    table = frame(kind=["x"]).drop("output_tokens")
    assert "column output_tokens is missing" in parquet_refusal(parquet(table, facts()))


def test_parquet_cut_short_anywhere_is_refused():
    data = parquet(frame(kind=["x"]), facts())
    for stop in range(4, len(data), 7):
        assert parquet_refusal(data[:stop]).startswith("t.parquet: ")


def test_parquet_with_ids_that_do_not_cover_the_prompt_is_refused():
    table = frame(input_tokens=[5], block_ids=[[1, 2]])
    assert "request 0: 5 tokens in blocks of 512 need 1 block ids (got 2)" in parquet_refusal(
        parquet(table, facts())
    )


def test_parquet_with_ids_that_are_not_chained_is_refused():
    table = frame(input_tokens=[1024, 1024], block_ids=[[1, 2], [3, 2]])
    assert "block id 2 follows two ids: in request 0 and in request 1" in parquet_refusal(
        parquet(table, facts())
    )


def test_another_block_size_than_the_files_own_is_refused():
    data = parquet(frame(kind=["x"]), facts())
    assert "its block size is 512 (got 16)" in parquet_refusal(data, block_size=16)
    assert read_trace(data, "t", sha256="", block_size=512).meta.block_size == 512


def test_format_is_told_by_content_whatever_the_name(tmp_path):
    plain = tmp_path / "trace.parquet"
    plain.write_text(TEXT)
    assert load_trace(plain).meta.format == "mooncake"
    ours = write_trace(trace_of(TEXT, 512), tmp_path / "trace.jsonl")
    assert load_trace(ours).meta.format == "parquet"


def test_a_broken_file_is_read_by_its_suffix_to_say_what_is_wrong(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("{oops\n")
    with pytest.raises(TraceError, match=r"trace.jsonl:1:2: not valid JSON"):
        load_trace(path)


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    path = tmp_path / "trace.xyz"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    assert "not a known trace format" in str(caught.value)
    assert all(reader.name in caught.value.hint for reader in READERS)
    assert "--columns" in caught.value.hint
    path.write_text('\n{"prompt": 1, "ts": 2}\n')
    with pytest.raises(TraceError, match="its first object has prompt, ts"):
        load_trace(path)


def test_an_unknown_format_name_names_near_ones(tmp_path):
    with pytest.raises(UnknownNameError) as caught:
        load_trace(tmp_path / "absent", format_name="mooncak")
    known = ", ".join(sorted(one.name for one in READERS))
    assert caught.value.hint == f"did you mean mooncake, mooncake-agentic? known: {known}"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_every_format_says_what_it_is(reader):
    assert reader.meaning
    assert all(suffix.startswith(".") for suffix in reader.suffixes)


def test_a_missing_file_names_near_ones(tmp_path):
    (tmp_path / "conversation.jsonl").write_text(TEXT)
    with pytest.raises(InputError, match="no such trace file") as caught:
        load_trace(tmp_path / "conversaton.jsonl")
    assert caught.value.hint == "did you mean conversation.jsonl?"


def test_a_folder_without_traces_is_refused(tmp_path):
    with pytest.raises(InputError, match="no trace files there"):
        load_trace(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="the file is empty"):
        load_trace(path)


def test_a_byte_order_mark_is_harmless(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load_trace(path).requests == 2


def test_a_path_that_can_be_no_file_is_refused():
    with pytest.raises(InputError, match="cannot read"):
        load_trace("a\0b")


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_any_file_gives_a_trace_or_an_input_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "trace.bin"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_trace(path)


def test_notes_are_added_to_a_copy():
    assert META.noting("a", "b") == replace(META, notes=("a", "b"))
    assert META.notes == ()


DOCUMENT = (Path(__file__).parents[1] / "docs" / "traces.md").read_text()


@pytest.mark.parametrize("column", TRACE, ids=lambda column: column.name)
def test_every_column_is_documented_as_it_is_defined(column):
    line = f"| `{column.name}` | {column.dtype} | {column.unit} | {column.meaning} |"
    assert line.replace("|  |", "| |") in DOCUMENT


@pytest.mark.parametrize(
    "name",
    [
        *LINKS,
        *(name for group in ("ideal", "sources", "ceilings") for name in CONTENT_FACTS[group]),
    ],
)
def test_every_link_and_rate_is_documented(name):
    assert f"`{name}`" in DOCUMENT


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_every_format_is_documented(reader):
    page = Path(__file__).parents[1] / "docs" / "formats" / f"{reader.name}.md"
    assert page.read_text().startswith(f"# {reader.name}\n")


def test_segments_without_their_lengths_are_refused():
    frame = pl.DataFrame(
        {"arrival_ns": [0], "input_tokens": [4], "output_tokens": [1], "segments": [[1]]}
    )
    meta = TraceMeta(path="t", name="t", sha256="", format="t", block_size=None, content="")
    with pytest.raises(TraceError, match="segments and segment_tokens"):
        canonical_trace(frame, meta)
