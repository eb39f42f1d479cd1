"""Written traces: read back, they say the same; a failed write leaves nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError, OutputError, OutputExistsError, UnknownNameError
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace
from replay.trace.readers import READERS, load_trace
from replay.trace.readers.mooncake import read_mooncake
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import read_source
from replay.trace.tokens import tokens_of
from replay.trace.writers import WRITERS, save_trace, writer_named
from replay.trace.writers.mooncake import write_mooncake
from replay.units import NS_PER_MS
from replay.writing.whole import whole_file
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of
from tests.shared_data import CONVERSATION, needs

ONE = {"arrival_ns": 0, "block_ids": [7, 8], "input_tokens": 6, "output_tokens": 3}

UNITS = {
    "arrival_ns": 0, "segments": [3, 4], "segment_tokens": [2, 4], "response_segment": 5,
    "input_tokens": 6, "output_tokens": 3, "session_id": 0,
}  # fmt: skip


def numbered(lists) -> list[list[int]]:
    """Ids counted as first seen, so that equal sharing gives equal lists."""
    seen: dict[int, int] = {}
    return [[seen.setdefault(one, len(seen)) for one in ids] for ids in lists]


def check_same(read: Trace, written: Trace) -> None:
    for name in ("input_tokens", "output_tokens"):
        assert read.frame[name].equals(written.frame[name])
    arrivals = written.frame["arrival_ns"] // NS_PER_MS * NS_PER_MS
    assert read.frame["arrival_ns"].equals(arrivals)
    assert numbered(read.frame["block_ids"]) == numbered(written.frame["block_ids"])


@settings(max_examples=40)
@given(drawn=rows(last_arrival_ns=40 * NS_PER_MS), add=st.sampled_from([0, 1000, 2**63]))
def test_mooncake_read_back_has_the_lengths_arrivals_and_sharing(tmp_path_factory, drawn, add):
    drawn = [{**row, "block_ids": [one + add for one in row["block_ids"]]} for row in drawn]
    trace = trace_of(drawn)
    path = tmp_path_factory.mktemp("written") / "trace.jsonl"
    write_mooncake(trace, path, block_size=BLOCK)
    read = read_mooncake(read_source(path), ReadOptions(block_size=BLOCK))
    check_same(read, trace)
    if add < 2**63:
        assert read.frame["block_ids"].equals(trace.frame["block_ids"])


@settings(max_examples=20)
@given(drawn=unit_rows(), size=st.sampled_from([1, 3, 16, 512]))
def test_a_trace_of_segments_is_written_as_blocks_of_the_size_asked(tmp_path_factory, drawn, size):
    trace = unit_trace_of(drawn)
    path = tmp_path_factory.mktemp("written") / "trace.jsonl"
    write_mooncake(trace, path, block_size=size)
    check_same(
        read_mooncake(read_source(path), ReadOptions(block_size=size)), block_ids_of(trace, size)
    )


def test_a_line_has_the_four_keys_of_the_format_alone(tmp_path):
    trace = trace_of([{**ONE, "session_id": 4}, {**ONE, "arrival_ns": 2_999_999}])
    write_mooncake(trace, tmp_path / "t.jsonl", block_size=BLOCK)
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"timestamp": time, "input_length": 6, "output_length": 3, "hash_ids": [7, 8]}
        for time in (0, 2)
    ]


@pytest.mark.slow
@needs(CONVERSATION)
def test_the_conversation_trace_survives_mooncake_unchanged(tmp_path):
    trace = load_trace(CONVERSATION)
    assert write_mooncake(trace, tmp_path / "again.jsonl") == []
    again = load_trace(tmp_path / "again.jsonl")
    assert again.frame.equals(trace.frame)


@pytest.mark.parametrize("name", [writer.name for writer in WRITERS])
def test_every_format_written_is_recognised_and_read(tmp_path, name):
    writer = writer_named(name)
    trace = block_ids_of(unit_trace_of([UNITS]), 512)
    path = save_trace(trace, tmp_path / f"trace{writer.suffixes[0]}")
    assert path == tmp_path / f"trace{writer.suffixes[0]}"
    check_same(block_ids_of(load_trace(path), 512), trace)
    assert name in [reader.name for reader in READERS]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_a_file_that_is_there_is_kept_unless_forced(tmp_path, writer):
    path = tmp_path / "kept"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="is there already"):
        writer.write(unit_trace_of([UNITS]), path)
    assert path.read_text() == "mine"
    writer.write(unit_trace_of([UNITS]), path, force=True)
    assert path.read_bytes() != b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_a_folder_that_is_missing_is_an_output_error(tmp_path, writer):
    with pytest.raises(OutputError, match="cannot write"):
        writer.write(unit_trace_of([UNITS]), tmp_path / "no" / "trace")


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    def write() -> None:
        with whole_file(tmp_path / "out", force=False) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="cannot write"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")

    def write() -> None:
        with whole_file(path, force=True) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_trace_of_lengths_alone_cannot_be_written_as_mooncake(tmp_path):
    trace = trace_of([ONE])
    bare = dataclasses.replace(trace, frame=trace.frame.drop("block_ids"))
    with pytest.raises(InputError, match="says nothing of content"):
        write_mooncake(bare, tmp_path / "t.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_format_named_wins_over_the_suffix(tmp_path):
    path = save_trace(trace_of([ONE]), tmp_path / "t.jsonl", format_name="parquet")
    assert path.read_bytes().startswith(b"PAR1")


def test_an_unknown_format_lists_those_known(tmp_path):
    with pytest.raises(UnknownNameError) as caught:
        save_trace(trace_of([ONE]), tmp_path / "t", format_name="mooncak")
    assert caught.value.known == ["llmservingsim", "mooncake", "parquet"]


def test_a_suffix_of_no_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no trace format is known by this suffix"):
        save_trace(trace_of([ONE]), tmp_path / "trace.csv")
    assert list(Path(tmp_path).iterdir()) == []


@settings(max_examples=30)
@given(drawn=unit_rows())
def test_token_ids_read_back_are_the_same_to_the_nanosecond(tmp_path_factory, drawn):
    trace = tokens_of(unit_trace_of(drawn))
    path = tmp_path_factory.mktemp("written") / "trace.tokens.jsonl"
    lost = writer_named("llmservingsim").write(trace, path)
    assert lost[0].startswith("columns ")
    read = load_trace(path)
    for name in ("arrival_ns", "input_tokens", "output_tokens", "tokens"):
        assert read.frame[name].equals(trace.frame[name]), name
    unknown = [None] * trace.requests
    responses = read.frame.get_column("response_tokens", default=None)
    assert (unknown if responses is None else responses.to_list()) == (
        trace.frame["response_tokens"].to_list()
    )


def test_a_trace_of_block_ids_has_no_tokens_to_write(tmp_path):
    write = writer_named("llmservingsim").write
    with pytest.raises(InputError, match="holds token ids"):
        write(trace_of([ONE]), tmp_path / "t")
    with pytest.raises(InputError, match="holds tokens, no blocks"):
        write(unit_trace_of([UNITS]), tmp_path / "t", block_size=16)
    assert list(tmp_path.iterdir()) == []
