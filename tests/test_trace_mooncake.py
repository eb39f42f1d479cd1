"""The Mooncake reader: what it takes, what it refuses, and where it says the fault is."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError, TraceError
from replay.trace.problems import ProblemList
from replay.trace.readers import load_trace, mooncake
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from tests.trace_samples import CONVERSATION, mooncake_text, needs_conversation, row, trace_of

FULL = row(0, 512, 3, [0])
NEXT = row(1000, 700, 4, [0, 1])


def refusal(text, block_size=512):
    with pytest.raises(TraceError) as caught:
        trace_of(text, block_size)
    return caught.value


def test_columns_are_canonical_and_times_are_nanoseconds():
    trace = trace_of(f"{FULL}\n{NEXT}\n", 512)
    assert trace.frame.rows() == [(0, 0, 512, 3, [0]), (1, 1_000_000_000, 700, 4, [0, 1])]
    assert trace.frame.columns == [
        "request_id", "arrival_ns", "input_tokens", "output_tokens", "block_ids",
    ]  # fmt: skip
    assert trace.meta.block_size == 512


def test_rows_with_one_timestamp_keep_file_order():
    trace = trace_of("".join(row(7, n, 1, [n]) + "\n" for n in (3, 1, 2)), 512)
    assert trace.frame["input_tokens"].to_list() == [3, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        f"{FULL}\n{NEXT}",
        f"{FULL}\r\n{NEXT}\r\n",
        f"\n{FULL}\n  \n\n{NEXT}\n\n",
        f"{FULL[:-1]} }}\n  {NEXT}\n",
        FULL.replace("hash_ids", "hash\\u005fids") + f"\n{NEXT}\n",
    ],
    ids=["no last line feed", "CRLF", "blank lines", "spaces", "escaped key"],
)
def test_harmless_differences_are_accepted(text):
    assert trace_of(text, 512).frame.equals(trace_of(f"{FULL}\n{NEXT}\n", 512).frame)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (row(timestamp="12"), "timestamp must be a number (got '12')"),
        (row(timestamp=True), "timestamp must be a number (got True)"),
        (row(input_length=5.0), "input_length must be an integer (got 5.0)"),
        (row(output_length=True), "output_length must be an integer (got True)"),
        (row(timestamp=None), "timestamp must be a number (got None)"),
        (row(timestamp=-1), "timestamp must be between 0 and 9223372036854 (got -1)"),
        (row(timestamp=10**13), "timestamp must be between 0 and"),
        (row(timestamp=10**30), f"between 0 and 9223372036854 (got {10**30})"),
        (row(input_length=0, hash_ids=[]), "input_length must be between 1 and"),
        (row(output_length=2**30), "output_length must be between 1 and 16777216 (got 1073741824)"),
        (row(output_length=0), "output_length must be between 1 and 16777216 (got 0)"),
        (row(hash_ids=["1"]), "hash_ids[0] must be an integer (got '1')"),
        (row(hash_ids=[None]), "hash_ids[0] must be an integer (got None)"),
        (row(hash_ids=[-4]), "a block id must be between 0 and 2^63 - 1 (got -4)"),
        (row(hash_ids=[2**63]), "hash_ids[0] is out of range"),
        (row(hash_ids=[]), "input_length 5 in blocks of 512 needs 1 hash_ids (got 0)"),
        (row(hash_ids=[8, 9]), "input_length 5 in blocks of 512 needs 1 hash_ids (got 2)"),
        (
            '{"timestamp": 0, "input_length": 5}',
            "lacks output_length (got 'timestamp'",
        ),
        (row()[:-1] + ', "timestamp": 0}', "key 'timestamp' given twice"),
        (row()[:-1] + ', "x": NaN}', "not valid JSON: NaN is not a number"),
        (row() + " x", "not valid JSON: extra data (got 'x')"),
        (row()[:-5], "not valid JSON:"),
        ("5", "expected a JSON object (got 5)"),
        ('{"a": ' + "[" * 9000 + "]" * 9000 + "}", ":2: "),
        (row(timestamp=0).replace("0,", "9" * 5000 + ",", 1), "out of range"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(line, message):
    error = refusal(f"{row()}\n{line}\n{row()}\n")
    assert str(error.problems[0]).startswith("sample.jsonl:2:")
    assert message in str(error)


def test_hash_ids_that_are_no_list_are_refused():
    line = FULL.replace("[0]", "7")
    assert "hash_ids must be a list of integers (got 7)" in str(refusal(f"{FULL}\n{line}\n"))


def test_bytes_that_are_not_utf8_are_refused_with_their_place():
    line = FULL.encode()[:-1] + b', "x": "\xff"}'
    error = refusal(FULL.encode() + b"\n" + line)
    column = line.index(b"\xff") + 1
    assert str(error) == f"sample.jsonl:2:{column}: not UTF-8 text (got byte 0xff)"


def test_a_fault_in_json_is_placed_by_column():
    (problem,) = refusal(f"{FULL}\n" + FULL.replace("512", "5x2") + "\n").problems
    assert (problem.line, problem.column) == (2, FULL.index("512") + 2)


def test_every_problem_of_a_file_is_counted():
    bad = [row(timestamp="x"), "{", row(output_length=0), row(hash_ids=[1, 2])] * 5
    error = refusal("\n".join([FULL, *bad]))
    assert len(error.problems) == 10
    assert "... and 10 more" in str(error)


def test_a_timestamp_that_goes_back_names_line_and_both_times():
    error = refusal(f"{row(5)}\n{row(4)}\n")
    assert "sample.jsonl:2: timestamp is before that of line 1 (got 4 after 5)" in str(error)
    assert "stable sort" in error.hint


def test_an_id_with_two_predecessors_names_both_lines():
    text = "\n".join([row(0, 1024, 1, [0, 1]), row(0, 1536, 1, [0, 2, 1])])
    assert str(refusal(text)) == (
        "sample.jsonl:2: block id 1 follows 2 here and follows 0 on line 1"
    )


def test_an_id_that_starts_one_prompt_and_follows_in_another_is_refused():
    text = "\n".join([row(0, 1024, 1, [0, 1]), row(0, 512, 1, [1])])
    assert "block id 1 starts the prompt here and follows 0 on line 1" in str(refusal(text))


def test_an_id_twice_in_a_request_is_refused():
    assert "block id 0 stands twice" in str(refusal(row(0, 1536, 1, [0, 1, 0])))


def test_an_id_that_is_full_and_partial_is_refused():
    text = "\n".join([row(0, 1024, 1, [0, 1]), row(0, 900, 1, [0, 1])])
    assert str(refusal(text)) == (
        "sample.jsonl:2: block id 1 is a partial block of 388 tokens here and full on line 1"
    )


def test_lines_are_right_behind_blank_ones():
    text = "\n\n".join([row(0, 1024, 1, [0, 1]), row(0, 900, 1, [0, 1])])
    assert str(refusal(text)).startswith("sample.jsonl:3:")


def test_ids_far_apart_are_checked_like_small_ones():
    far = 2**62
    text = "\n".join([row(0, 1024, 1, [5, far]), row(0, 1536, 1, [5, 6, far])])
    assert f"block id {far} follows 6 here and follows 5 on line 1" in str(refusal(text))


def test_another_block_size_that_fits_all_rows_is_hinted_at():
    text = mooncake_text([tuple(range(40)), tuple(range(70))], 16)
    assert refusal(text).hint == "every row fits a block size of 16"
    assert trace_of(text, 16).meta.block_size == 16


def test_scalar_keys_of_the_source_are_kept():
    text = "\n".join([row(model="a", load=1, warm=True), row(model="b", load=2.5, warm=None)])
    frame = trace_of(text, 512).frame
    assert frame.select("model", "load", "warm").rows() == [("a", 1.0, True), ("b", 2.5, None)]


def test_keys_of_no_plain_type_are_left_out_and_noted():
    trace = trace_of("\n".join([row(tools=[1], mixed=1), row(mixed="x")]), 512)
    assert not {"tools", "mixed"} & set(trace.frame.columns)
    assert trace.meta.notes == ("keys without one plain type were left out: 'tools', 'mixed'",)


def test_a_key_with_a_canonical_name_is_kept_under_another():
    trace = trace_of(row(request_id="r-1"), 512)
    assert trace.frame["source_request_id"].to_list() == ["r-1"]
    assert trace.frame["request_id"].to_list() == [0]


def test_sessions_of_the_source_become_turns_and_parents():
    trace = trace_of("\n".join(row(session_id=name) for name in "abab"), 512)
    frame = trace.frame
    assert frame["session_id"].to_list() == [0, 1, 0, 1]
    assert frame["turn"].to_list() == [0, 0, 1, 1]
    assert frame["parent_request_id"].to_list() == [None, None, 0, 1]
    assert trace.meta.sessions == "from the source"


def test_a_clock_that_starts_late_is_moved_to_zero_and_noted():
    trace = trace_of(f"{row(27_482)}\n{row(27_483)}\n", 512)
    assert trace.frame["arrival_ns"].to_list() == [0, 1_000_000]
    assert trace.meta.notes == ("the source's clock starts at 27.482 s; moved to zero",)


def requests_in(text):
    """Number of requests, or None where the text is refused as it should be."""
    try:
        return trace_of(text, 512).requests
    except TraceError:
        return None


json_ish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
rows_ish = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": st.integers(-1, 9) | json_ish,
        "input_length": st.integers(0, 1100) | json_ish,
        "output_length": st.integers(0, 9) | json_ish,
        "hash_ids": st.lists(st.integers(0, 5), max_size=3) | json_ish,
        "session_id": json_ish,
        "x": json_ish,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(rows_ish, min_size=1, max_size=4))
def test_any_json_gives_a_trace_or_a_trace_error(rows):
    assert requests_in("\n".join(json.dumps(line) for line in rows)) in (None, len(rows))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_give_a_trace_or_a_trace_error_and_both_parsers_agree(data):
    whole = f"{FULL}\n{NEXT}\n{row(2000, 3, 1, [7])}\n".encode()
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(start + 9, len(whole))))
    pieces = st.sampled_from(
        [b"", b"\n", b"\r", b"}", b"null", b"1e3", b'"', b"-", b"\\", b"7", b","]
    )
    text = whole[:start] + data.draw(pieces | st.binary(max_size=4)) + whole[stop:]
    fast = mooncake._parse_plain(text)
    if fast is not None:
        problems = ProblemList("x")
        slow = mooncake._parse_lines(text, problems)
        assert problems.total == 0
        assert fast.frame.equals(slow.frame)
        assert np.array_equal(fast.lines, slow.lines)
    assert requests_in(text) != 0


def test_a_gzip_file_is_unpacked(tmp_path):
    import gzip

    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress(f"{FULL}\n{NEXT}\n".encode()))
    assert load_trace(path).requests == 2


def test_a_damaged_gzip_file_is_refused(tmp_path):
    import gzip

    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress(f"{FULL}\n{NEXT}\n".encode())[:-9])
    with pytest.raises(InputError, match="ends early"):
        load_trace(path)


@needs_conversation
def test_the_conversation_trace_loads_whole():
    trace = load_trace(CONVERSATION)
    assert trace.requests == 12_031
    assert int(trace.frame["input_tokens"].sum()) == 144_793_823
    assert trace.frame["block_ids"].list.len().sum() == 288_500
    assert trace.meta.notes == ()


@needs_conversation
def test_the_slow_parser_reads_the_conversation_trace_alike():
    data = CONVERSATION.read_bytes()
    fast = mooncake._parse_plain(data)
    problems = ProblemList("x")
    assert fast is not None
    assert fast.frame.equals(mooncake._parse_lines(data, problems).frame)
    assert problems.total == 0


def rows_with_faults() -> list[str]:
    """Return ten rows, of which the third, the sixth and the eighth are faulty."""
    lines = [
        f'{{"timestamp": {1000 * i}, "input_length": 512, "output_length": 3, "hash_ids": [{i}]}}'
        for i in range(10)
    ]
    lines[2] = "not json"
    lines[5] = lines[5].replace('"input_length": 512', '"input_length": 0')
    lines[7] = lines[7].replace('"timestamp": 7000', '"timestamp": 10')
    return lines


def test_faulty_rows_are_put_aside_where_the_caller_allows_it(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(rows_with_faults()) + "\n")
    trace = load_trace(path, options=ReadOptions(max_rejected=0.3))
    assert trace.requests == 7
    assert trace.meta.rejected_rows == 3
    assert [(one.line, one.text) for one in trace.rejected] == [
        (line, rows_with_faults()[line - 1]) for line in (3, 6, 8)
    ]
    assert "not valid JSON" in trace.rejected[0].reason
    assert "input_length must be between 1" in trace.rejected[1].reason
    assert "timestamp is before that of line 7" in trace.rejected[2].reason


def test_more_faulty_rows_than_allowed_are_an_error_that_counts_them(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(rows_with_faults()) + "\n")
    with pytest.raises(TraceError, match=r":3:1: not valid JSON") as caught:
        load_trace(path, options=ReadOptions(max_rejected=0.25))
    assert "3 of 10 rows are faulty (30.00%)" in str(caught.value.hint)


def test_zstandard_is_unpacked_and_its_damage_named(tmp_path):
    good = "\n".join(line for at, line in enumerate(rows_with_faults()) if at not in (2, 5, 7))
    packed = zstandard.ZstdCompressor().compress(good.encode())
    path = tmp_path / "t.jsonl.zst"
    path.write_bytes(packed)
    assert load_trace(path).requests == 7
    path.write_bytes(packed[:6] + b"\0\0\0" + packed[9:])
    with pytest.raises(TraceError, match="damaged zstandard file"):
        load_trace(path)


def test_a_dash_is_standard_input(monkeypatch):
    text = rows_with_faults()[0].encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    trace = load_trace("-")
    assert (trace.requests, trace.meta.name) == (1, "standard input")


# --- times with decimals, rows without ids, faults that a tree would find


@pytest.mark.parametrize("spaced", [False, True], ids=["scanned", "walked"])
def test_times_with_decimals_are_read_by_their_digits(spaced):
    texts = ["0", "0.5", "12.000001", "1735689600000.1234569", "1735689600000.123457"]
    lines = [
        f'{{"timestamp": {text}, "input_length": 5, "output_length": 3, "hash_ids": [{at}]}}'
        for at, text in enumerate(texts)
    ]
    if spaced:
        lines = [line.replace('"hash', '"x": 1, "hash') for line in lines]
    text = "\n".join(lines)
    assert (mooncake._parse_plain(text.encode()) is None) is spaced
    assert trace_of(text, 512).frame["arrival_ns"].to_list() == [
        0, 500_000, 12_000_001, 1735689600000_123456, 1735689600000_123457,
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.decimals(0, 10**12, allow_nan=False, places=7), min_size=1, max_size=5))
def test_both_parsers_read_decimals_alike(times):
    lines = "".join(
        f'{{"timestamp": {time:f}, "input_length": 5, "output_length": 3, "hash_ids": [1]}}\n'
        for time in sorted(times)
    ).encode()
    fast, problems = mooncake._parse_plain(lines), ProblemList("x")
    slow = mooncake._parse_lines(lines, problems)
    assert fast is not None
    assert fast.frame.equals(slow.frame)
    assert slow.frame["arrival_ns"].to_list() == [int(time * 10**6) for time in sorted(times)]


def test_rows_without_ids_are_lengths_alone():
    text = row(0, 512, 3) + "\n" + row(50, 256, 4)
    for bare in (text.replace(', "hash_ids": [0]', ""), text.replace("[0]", "null")):
        trace = trace_of(bare, 512)
        assert trace.frame.columns == ["request_id", "arrival_ns", "input_tokens", "output_tokens"]
        assert (trace.meta.block_size, trace.has_content) == (None, False)


def test_rows_without_ids_among_others_share_nothing():
    text = "\n".join([FULL, row(1, 700, 3).replace("[0]", "null"), row(2, 512, 3, [0])])
    trace = trace_of(text, 512)
    ids = trace.frame["block_ids"].to_list()
    assert ids[0] == ids[2] == [0]
    assert len(set(ids[1])) == 2
    assert min(ids[1]) >= 2**63
    assert trace.meta.notes[-1].startswith("1 prompts have no block ids")
    assert trace_of(text, 512).frame.equals(trace.frame)


def test_ids_that_break_the_chain_are_told_by_line_when_other_rows_are_put_aside(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [row(0, 1024, 2, [1, 2, 3]), row(1, 768, 2, [1, 2]), row(2, 2048, 2, [1, 2, 3, 5])]
    path.write_text("\n".join(rows))
    trace = load_trace(path, options=ReadOptions(max_rejected=1.0))
    assert [(one.line, one.reason.split(" ")[0]) for one in trace.rejected] == [
        (1, "input_length"), (3, "block"),
    ]  # fmt: skip
    assert trace.requests == 1


def lines_in_blocks_of(size, lengths):
    ids = iter(range(10**6))
    rows = (
        {
            "timestamp": 0,
            "input_length": length,
            "output_length": 1,
            "hash_ids": [next(ids) for _ in range(-(-length // size))],
        }
        for length in lengths
    )
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("size", "lengths", "found"),
    [
        (16, [126, 112, 140], 16),  # no other size has as many blocks in every row
        (512, [126, 1024], 512),
        (16, [5, 7], 512),  # many fit: nothing is told, and the format's holds
    ],
)
def test_blocks_of_another_size_are_known_where_only_one_fits(size, lengths, found):
    trace = mooncake.read_mooncake(Source("t", "t", lines_in_blocks_of(size, lengths), ""))
    assert trace.meta.block_size == found
    assert ("the only size that fits" in " ".join(trace.meta.notes)) == (found != 512)


def test_a_row_that_contradicts_the_others_leaves_the_formats_size():
    data = lines_in_blocks_of(16, [126, 112]) + lines_in_blocks_of(512, [1024])
    with pytest.raises(TraceError, match="in blocks of 512 needs 1 hash_ids"):
        mooncake.read_mooncake(Source("t", "t", data, ""))
