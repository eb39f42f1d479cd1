"""Files before their format counts: packed, cut off, empty, commented, of no format at all."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError, TraceError
from replay.trace import limits
from replay.trace.readers import READERS, load_trace
from replay.trace.readers import unpack as unpacking
from replay.trace.readers.head import head_rows
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.shapes import INTEGER, LIST, RowShape, key
from replay.trace.readers.unpack import unpacked
from tests.shared_data import SHARED, needs
from tests.trace_samples import row

CASES = SHARED / "cases"
ROWS = [row(1000 * at, 500, 3, [at]) for at in range(50)]
TEXT = "".join(line + "\n" for line in ROWS).encode()


def zst(data: bytes, *, sized: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized).compress(data)


PACKERS = {"gzip": gzip.compress, "zstandard": zst, "streamed": lambda d: zst(d, sized=False)}
packers = pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)


@packers
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_members_are_read_whole_and_a_cut_is_refused_wherever_it_is(pack, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(TEXT)), max_size=3)))
    parts = [TEXT[a:b] for a, b in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]
    members = [pack(part) for part in parts]
    packed = b"".join(members)
    assert unpacked(packed, "f") == TEXT
    assert unpacked(packed + b"\0" * data.draw(st.integers(0, 20)), "f") == TEXT
    ends = {sum(map(len, members[: at + 1])) for at in range(len(members))}
    cut = data.draw(st.integers(2 if pack is gzip.compress else 4, len(packed) - 1))
    if cut in ends:  # a file of whole members tells nothing of those that followed
        assert TEXT.startswith(unpacked(packed[:cut], "f"))
    else:
        with pytest.raises(TraceError):
            unpacked(packed[:cut], "f")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_input_that_ends_early_is_refused_alike(tmp_path, suffix):
    path = tmp_path / f"t.jsonl{suffix}"
    whole = {"": bytes, ".gz": gzip.compress, ".zst": zst}[suffix](TEXT)
    path.write_bytes(whole)
    assert load_trace(path).requests == 50
    path.write_bytes(whole[:-20])
    with pytest.raises(TraceError, match="the file ends early"):
        load_trace(path)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_document_that_ends_early_says_so(tmp_path, indent):
    path = tmp_path / "t.json"
    whole = json.dumps([json.loads(line) for line in ROWS], indent=indent)
    path.write_text(whole[:-30])
    with pytest.raises(TraceError, match="the file ends early"):
        load_trace(path, format_name="bailian")


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_a_bomb_stops_at_the_bound_and_the_bound_is_an_option(tmp_path, pack, monkeypatch):
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(pack(b"\0" * 3_000_000))
    monkeypatch.setattr(limits, "_LEAST_BYTES", 1_000_000)
    with pytest.raises(TraceError, match="unpack to more than") as caught:
        load_trace(path)
    assert "--max-unpacked" in str(caught.value.hint)
    with pytest.raises(TraceError, match="not a known trace format"):
        load_trace(path, options=ReadOptions(max_unpacked_bytes=3_000_000))
    with pytest.raises(TraceError, match="unpack to more than"):
        load_trace(path, options=ReadOptions(max_unpacked_bytes=2_999_999))


def test_a_bomb_is_not_unpacked_first(monkeypatch):
    """What is held when the bound is met is about the bound, not what the file unpacks to."""
    bomb = zst(b"\0" * 100_000_000)
    held = []
    member = unpacking._zstandard_member()

    class Watched:
        eof, unused_data = False, b""

        def decompress(self, data: bytes) -> bytes:
            held.append(len(piece := member.decompress(data)))
            return piece

    monkeypatch.setattr(unpacking, "_zstandard_member", Watched)
    with pytest.raises(TraceError, match="unpack to more than"):
        unpacked(bomb, "f", most_bytes=2_000_000)
    assert sum(held) < 2_000_000 + 2**10 * 2**15


def test_the_usual_limit_grows_with_the_file_up_to_half_of_the_memory(monkeypatch):
    monkeypatch.setattr(limits, "half_of_memory", lambda: 2**32)
    assert limits.usual_limit_bytes(1) == 2**26
    assert limits.usual_limit_bytes(10**7) == 2 * 10**9
    assert limits.usual_limit_bytes(10**9) == 2**32


def test_an_empty_file_among_others_is_passed_over_with_a_note(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(TEXT)
    (tmp_path / "b.jsonl").write_bytes(b"")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b" \n"))
    trace = load_trace(tmp_path)
    assert trace.requests == 50
    assert trace.meta.notes[-1] == (
        "2 of 3 files are empty or hold no requests and were passed over: b.jsonl, c.jsonl.gz"
    )
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(TraceError, match=r"b\.jsonl: the file is empty"):
        load_trace(tmp_path)


BEFORE = {
    "a byte order mark": b"\xef\xbb\xbf",
    "blank lines": b"\n \n",
    "comments": b"# exported today\n// by me\n\n",
    "all of them": b"\xef\xbb\xbf\n# exported\r\n\n",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_what_stands_before_the_first_row_hinders_nothing(tmp_path, before):
    path = tmp_path / "t.jsonl"
    path.write_bytes(before + TEXT)
    assert load_trace(path).requests == 50
    path.write_bytes(before + TEXT + b"nonsense\n")
    with pytest.raises(TraceError, match=rf":{before.count(10) + 51}:1: not valid JSON"):
        load_trace(path)


@pytest.mark.parametrize("first", ["nonsense", '{"timestamp": 5}', "{", "null", '{"a": [1, 2'])
def test_a_faulty_first_row_does_not_hinder_recognition(tmp_path, first):
    path = tmp_path / "t.jsonl"
    path.write_bytes(first.encode() + b"\n" + TEXT)
    with pytest.raises(TraceError, match=r"t\.jsonl:1"):
        load_trace(path)
    trace = load_trace(path, options=ReadOptions(max_rejected=0.1))
    assert (trace.meta.format, trace.requests, trace.meta.rejected_rows) == ("mooncake", 50, 1)


def test_a_first_row_that_failed_does_not_hinder_recognition(tmp_path):
    failed = {"request": {"model": "m", "messages": []}, "response": {"error": "overloaded"}}
    good = {
        "request": {"model": "m", "messages": [{"role": "user", "content": "a b"}]},
        "response": {"choices": [{"message": {"role": "assistant", "content": "c"}}]},
    }
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (failed, good, good)))
    assert load_trace(path).requests == 2


@needs(CASES / "traffic")
@pytest.mark.parametrize(
    ("name", "requests"), [("first_row_failed.jsonl", None), ("multi_member.jsonl.gz", 7)]
)
def test_cases_of_logs_are_read(name, requests):
    trace = load_trace(CASES / "traffic" / name)
    assert requests in (None, trace.requests)


@needs(CASES / "traffic")
@pytest.mark.parametrize("name", ["truncated.jsonl.gz", "truncated.jsonl.zst"])
def test_cases_that_end_early_are_refused(name):
    with pytest.raises(TraceError, match="ends early"):
        load_trace(CASES / "traffic" / name)


# --- what a file of no format is told


def refusal(tmp_path: Path, text: str, name: str = "t.jsonl") -> str:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        load_trace(tmp_path / name)
    return str(caught.value)


def test_a_file_of_no_format_is_told_the_nearest_and_why_not(tmp_path):
    text = row(hash_ids=[1]).replace("[1]", '"1, 2"')
    assert "nearest is mooncake, but hash_ids must be a list (got '1, 2')" in refusal(
        tmp_path, text
    )
    tair = {"instance_id": "i", "keys": [1], "input_len": 5}
    assert "nearest is tair, but timestamp_us or timestamp_ns is missing" in refusal(
        tmp_path, json.dumps(tair)
    )
    table = "TIMESTAMP,ContextTokens\n2023-11-16 18:17:03,5\n"
    assert "nearest is azure, but the header lacks GeneratedTokens" in refusal(
        tmp_path, table, "t.csv"
    )
    assert "nearest" not in refusal(tmp_path, '{"colour": "red"}')


def test_keys_within_other_values_make_no_format(tmp_path):
    """A name inside a text or a nested object says nothing of the row."""
    inside = {"note": '"hash_ids": [1], "delay": 1', "made": {"timestamp": 0, "input_length": 4}}
    assert "not a known trace format" in refusal(tmp_path, json.dumps(inside))


def test_every_shape_takes_its_own_sample_however_much_of_it_there_is():
    shape = RowShape((key("a", kind=INTEGER), key("rows", kind=LIST)))
    document = json.dumps({"a": 1, "rows": [{"b": "x" * 50} for _ in range(50)], "c": 2}).encode()
    for end in range(20, len(document), 37):
        assert shape.fits(document[:end])
    assert not shape.fits(b'{"a": true, "rows": []}')
    assert shape.fits(b'{"z": 1}\n{"a": 1, "rows": []}\n')


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,12ab \\\n', max_size=60).map(str.encode))
def test_any_bytes_have_a_head(data):
    rows = head_rows(data)
    assert all(isinstance(one, dict) for one in rows)
    for reader in READERS:
        reader.sniff(data)
        for shape in reader.shapes:
            assert 0 <= shape.nearness(data).share <= 1


def test_deep_nesting_is_no_trouble():
    assert head_rows(b"[" * 100_000) == ()
    assert head_rows(b'{"a":' * 100_000)


def test_standard_input_is_bounded_too(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(zst(b" " * 10**6))))
    with pytest.raises(TraceError, match="unpack to more than"):
        load_trace("-", options=ReadOptions(max_unpacked_bytes=10**5))


def test_millions_of_blank_lines_cost_nothing_a_line(tmp_path, monkeypatch):
    """They are neither kept nor visited, by the kernel nor by the walk."""
    sizes = []
    empty = np.empty
    monkeypatch.setattr(
        "numpy.empty", lambda shape, *more: sizes.append(shape) or empty(shape, *more)
    )
    path = tmp_path / "t.jsonl"
    for last in (ROWS[0], ROWS[0].replace("}", ', "x": 1}')):
        path.write_bytes(b"\n" * 2_000_000 + last.encode())
        assert load_trace(path).requests == 1
    assert max(one if isinstance(one, int) else one[0] for one in sizes) < 100_000
    path.write_bytes(b"\n" * 2_000_000 + b"{")
    with pytest.raises(TraceError, match=":2000001:2: the file ends early"):
        load_trace(path)


@pytest.mark.parametrize("pattern", ["2**31", "a**", "*\0*", "[", "x/***/y"])
def test_a_pattern_that_is_none_is_refused(pattern, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        load_trace(pattern)


def test_files_without_a_suffix_of_traces_are_named(tmp_path):
    rows = '{"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [1]}\n'
    (tmp_path / "below").mkdir()
    for name in ("a.jsonl", "b.jsonl", "part-00000", "below/r.jsonl.1", ".hidden"):
        (tmp_path / name).write_text(rows)
    trace = load_trace(tmp_path)
    assert trace.requests == 2
    (note,) = (note for note in trace.meta.notes if "not read" in note)
    assert "2 files in the folder, below/r.jsonl.1, part-00000;" in note
    assert load_trace(tmp_path / "[bp]*").requests == 2
