"""The Bailian reader: single blocks chained, sessions by parent, and every fault with its line."""

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers import bailian, load_trace
from replay.trace.readers.bailian import looks_like_bailian, read_bailian
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from tests.reader_fuzz import mutated


def line(chat_id=1, parent_chat_id=-1, timestamp=0.0, input_length=20, output_length=3,
         type="text", turn=1, hash_ids=(5, 6), **more):  # fmt: skip
    return json.dumps(
        {
            "chat_id": chat_id, "parent_chat_id": parent_chat_id, "timestamp": timestamp,
            "input_length": input_length, "output_length": output_length, "type": type,
            "turn": turn, "hash_ids": list(hash_ids), **more,
        }
    )  # fmt: skip


CHAT = (
    line(10, -1, 0.5),
    line(11, -1, 0.75, 16, 2, "search", 1, [6]),
    line(12, 10, 61.114, 40, 2, "text", 2, [5, 6, 7]),
    line(13, 10, 62.0, 21, 1, "text", 2, [5, 6]),
)


def trace_of(*lines, **options) -> Trace:
    data = b"\n".join(one if isinstance(one, bytes) else one.encode() for one in lines)
    return read_bailian(Source("b.jsonl", "b.jsonl", data, "0" * 64), ReadOptions(**options))


def test_ids_are_chained_and_partial_blocks_told_apart():
    ids = trace_of(*CHAT).frame["block_ids"].to_list()
    assert ids[0] == [0, 1]  # 5, and 4 tokens of 6
    assert ids[1] == [2]  # 6 at the start is another block than 6 behind 5
    assert ids[2] == [0, 3, 4]  # a full 6 behind 5 is another block than a partial one
    assert ids[3] == [0, 5]  # and so is one of 5 tokens


def test_times_are_exact_and_sessions_follow_parents():
    frame = trace_of(*CHAT).frame
    assert frame["arrival_ns"].to_list() == [0, 250_000_000, 60_614_000_000, 61_500_000_000]
    assert frame["session_id"].to_list() == [0, 1, 0, 0]
    assert frame["turn"].to_list() == [0, 0, 1, 2]
    assert frame["parent_request_id"].to_list() == [None, None, 0, 0]
    assert frame["source_turn"].to_list() == [1, 1, 2, 2]
    assert frame["type"].to_list() == ["text", "search", "text", "text"]


def test_a_parent_that_is_not_there_starts_a_session_and_is_noted():
    trace = trace_of(line(1, 99), line(2, 1, 1.0))
    assert trace.frame["session_id"].to_list() == [0, 0]
    assert trace.frame["parent_request_id"].to_list() == [None, 0]
    assert "1 requests start a session, though they name a parent" in trace.meta.notes


def test_both_ways_of_parsing_give_the_same(monkeypatch):
    quick = trace_of(*CHAT)
    monkeypatch.setattr(bailian, "_parse_plain", lambda data: None)
    slow = trace_of(*CHAT)
    assert quick.frame.equals(slow.frame.select(quick.frame.columns))


def test_a_turn_that_skips_one_is_noted():
    trace = trace_of(line(1), line(2, 1, 1.0, turn=3), line(3, 1, 2.0, turn=2))
    assert "1 requests have a turn that is not the one after their parent's" in trace.meta.notes


def test_a_parent_is_the_request_named_whatever_the_order_of_the_file():
    trace = trace_of(line(2, 1, 5.0, turn=2), line(1), line(3, 2, 9.0, turn=3))
    assert trace.frame["chat_id"].to_list() == [1, 2, 3]
    assert trace.frame["parent_request_id"].to_list() == [None, 0, 1]
    assert trace.frame["session_id"].to_list() == [0, 0, 0]
    assert any("not in order of time (1 rows" in note for note in trace.meta.notes)


@pytest.mark.parametrize(
    "seconds", ["7199.123456789", "0.1", "61", "3e-9", "1e300", "0.1234567891"]
)
def test_digits_are_taken_as_written_by_both_parsers_or_left_to_the_slow_one(seconds):
    text = line(timestamp=1.5).replace("1.5", seconds)
    exact = int(Decimal(seconds) * 10**9)
    plain = bailian._parse_plain(text.encode())
    if plain is not None:
        assert plain.frame["arrival_ns"].to_list() == [exact]
    if exact < 2**63:
        assert bailian._parse_lines(text.encode(), ProblemList("b")).frame["arrival_ns"][0] == exact
    assert (plain is None) == (seconds in ("1e300", "0.1234567891"))


def test_a_json_array_is_read_entry_by_entry():
    array = "[" + ",\n".join(CHAT) + "]"
    lines = trace_of(*CHAT).frame
    assert trace_of(array).frame.select(lines.columns).equals(lines)


@settings(max_examples=150, deadline=None)
@given(mutated("\n".join(CHAT)))
def test_what_the_quick_parser_takes_the_slow_one_reads_alike(text):
    quick, problems = bailian._parse_plain(text), ProblemList("b")
    if quick is not None:
        slow = bailian._parse_lines(text, problems)
        assert problems.total == 0
        assert quick.frame.equals(slow.frame.select(quick.frame.columns))
        assert quick.lines.tolist() == slow.lines.tolist()


def test_other_keys_are_kept():
    assert trace_of(line(region="eu"), line(2)).frame["region"].to_list() == ["eu", None]


@pytest.mark.parametrize(("bad", "what"), [
    ('{"chat_id": 1}', "lacks parent_chat_id"),
    (line(9, input_length=0), "input_length must be between 1"),
    (line(9, input_length=20.5), "input_length must be an integer"),
    (line(9, input_length="20"), "input_length must be an integer"),
    (line(9, output_length=-1), "output_length must be between 0"),
    (line(9, timestamp=-1.0), "(timestamp is out of range|arrival_ns must be between 0)"),
    (line(9, timestamp="1"), "timestamp must be a number"),
    (line(9, hash_ids=[5]), r"input_length 20 in blocks of 16 needs 2 hash_ids \(got 1\)"),
    (line(9, hash_ids=[5, -6]), "(between 0 and|must be between 0)"),
    (line(9, hash_ids=[5, "6"]), "hash_ids must hold integers alone"),
    (line(1), "chat_id 1 stands twice"),
    ("{oops", "not valid JSON"),
])  # fmt: skip
def test_each_fault_is_told_with_its_line(bad, what):
    with pytest.raises(TraceError, match=rf"b.jsonl:2(:\d+)?: .*{what}"):
        trace_of(line(), bad, line(3))
    kept = trace_of(line(), bad, line(3), max_rejected=0.5)
    assert [row.line for row in kept.rejected] == [2]
    assert kept.requests == 2


def test_another_block_size_is_named_where_one_fits():
    with pytest.raises(TraceError, match="in blocks of 16") as caught:
        trace_of(line(1, -1, 0.0, 500, hash_ids=[1]), line(2, -1, 1.0, 513, hash_ids=[1, 2]))
    assert "every row fits a block size of 512" in caught.value.hint
    assert trace_of(line(input_length=513), block_size=512).meta.block_size == 512


def test_failed_requests_are_put_aside():
    trace = trace_of(line(), line(2, output_length=0))
    assert (trace.requests, trace.rejected[0].line) == (1, 2)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_file_ends_in_anything_but_a_trace_or_an_error(data):
    good = bytearray("\n".join(CHAT).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ReplayError):
        assert trace_of(bytes(good)).requests


def test_its_files_are_recognised(tmp_path):
    assert looks_like_bailian(CHAT[0].encode())
    path = tmp_path / "qwen.jsonl"
    path.write_text("\n".join(CHAT))
    assert load_trace(path).meta.format == "bailian"


def test_rows_without_ids_are_lengths_in_conversations():
    bare = [json.dumps({**json.loads(line), "hash_ids": None}) for line in CHAT]
    trace = trace_of("\n".join(bare))
    assert (trace.has_content, trace.meta.block_size) == (False, None)
    assert trace.meta.content == "unknown: lengths only"
    assert trace.has_sessions


def test_a_row_without_ids_among_others_shares_nothing():
    rows = [json.loads(line) for line in CHAT]
    del rows[0]["hash_ids"]
    trace = trace_of("\n".join(map(json.dumps, rows)))
    ids = [set(one) for one in trace.frame["block_ids"].to_list()]
    assert all(not ids[0] & other for other in ids[1:])
    assert any("1 prompts have no block ids" in note for note in trace.meta.notes)
