"""The LMCache look-up reader: chunk hashes of full chunks, prompts that go on behind them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.lmcache_lookups import read_lmcache_lookups
from replay.trace.tree import build_tree
from tests.reader_fuzz import json_lines, mutated, reading, requests_or_refusal, rows_of

trace_of = reading(read_lmcache_lookups)
LONG = "0x" + "ab" * 32
AT = "1711929600.123456789"


def lookup(hashes=("0x1", LONG), tokens=520, *, at=AT, size=256, **more):
    row = {
        "timestamp": 0, "request_id": "r", "model_name": "m", "chunk_size": size, "seq_len": tokens,
        "dtypes": ["bfloat16"], "shapes": [[2, 32, 256, 1024]], "chunk_hashes": hashes, **more,
    }  # fmt: skip
    kept = {name: value for name, value in row.items() if value is not ...}
    return json.dumps(kept).replace('"timestamp": 0', f'"timestamp": {at}')


SAMPLE = "\n".join([lookup(), lookup(["0x1", "-0x2"], 512, at="1711929601"), lookup([], 30)])


def test_look_ups_are_requests_with_an_id_for_each_chunk():
    trace = trace_of(SAMPLE)
    assert trace.frame["arrival_ns"].to_list() == [0, 0, 876543211]
    assert trace.meta.clock_start_ns == 1711929600_123456789
    assert trace.frame["input_tokens"].to_list() == [520, 30, 512]
    ids = trace.frame["block_ids"].to_list()
    assert [len(one) for one in ids] == [3, 1, 2]
    assert ids[2] == [1, 2**64 - 2]
    assert ids[0][0] == 1
    assert (trace.meta.block_size, trace.meta.shared_ids) == (256, True)
    assert trace.frame["model"].to_list() == ["m", "m", "m"]
    assert any("2 partial last chunks" in note for note in trace.meta.notes)
    assert any("one token each" in note for note in trace.meta.notes)


def test_hit_tokens_are_whole_chunks_of_a_prefix_as_lmcache_itself_counts_them():
    rows = [lookup(["0xa", "0xb"], 600), lookup(["0xa", "0xb", "0xc"], 800), lookup(["0xa"], 300)]
    trace = trace_of("\n".join(rows))
    assert content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist() == [0, 512, 256]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lookup(["0x1"], 520), "seq_len 520 in chunks of 256 has 2 full ones (got 1 chunk_hashes)"),
        (lookup(["0x1", 7]), "chunk_hashes[1] must be text (got 7)"),
        (lookup("0x1"), "chunk_hashes must be a list of texts (got '0x1')"),
        (lookup(["0x1"], 200, size=128), "chunk_size is 256 on line 1 (got 128)"),
        (lookup(size=0), "chunk_size must be between 1"),
        (lookup(tokens=0), "seq_len must be between 1"),
        (lookup(at='"x"'), "timestamp must be a number"),
        (lookup(at="null"), "lacks timestamp"),
        (lookup(["0x5", LONG]), "follows"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(bad, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{lookup()}\n{bad}\n")
    assert str(caught.value).startswith("a.jsonl:2:")
    assert message in str(caught.value)


def test_rotated_files_are_one_log(tmp_path):
    for number, text in enumerate(SAMPLE.splitlines()):
        (tmp_path / f"lookup_hashes_{number}.jsonl").write_text(text)
    trace = load_trace(tmp_path)
    assert (trace.meta.format, trace.requests) == ("lmcache-lookups", 3)
    assert trace.frame["block_ids"].to_list()[2][0] == 1


ish = rows_of(
    timestamp=st.floats(0, 9),
    chunk_size=st.sampled_from([4, 8]),
    seq_len=st.integers(0, 20),
    chunk_hashes=st.lists(st.sampled_from(["0x1", "0x2", "zz"]), max_size=4),
)


@settings(max_examples=120, deadline=None)
@given(json_lines(ish) | mutated(SAMPLE))
def test_anything_gives_a_trace_or_a_refusal(text):
    assert requests_or_refusal(trace_of, text) != 0
