"""The Tair reader: look-ups by chained keys, and the block size that fits them all."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.tair import looks_like_tair, read_tair
from replay.trace.reuse import edge_uses
from replay.trace.tree import build_tree
from tests.reader_fuzz import json_lines, mutated, reading, requests_or_refusal, rows_of

trace_of = reading(read_tair)
EPOCH_NS = 1_777_312_800_000_000_000


def get(keys=(101, 102), input_len=40, timestamp_ns=1000, **more):
    row = {
        "type": "get", "instance_id": "i", "trace_id": "t", "timestamp_ns": timestamp_ns,
        "keys": list(keys), "input_len": input_len, "query_type": "prefix_match",
        "block_mask": [], "sw_size": 0, "location_spec_names": [], **more,
    }  # fmt: skip
    return json.dumps({key: value for key, value in row.items() if value is not None})


def dialog(keys=(101, 102, 103), input_len=40, timestamp_us=1, output_len=12, **more):
    """A row of the older form: no type, microseconds, every block has a key."""
    return get(
        keys, input_len, None, type=None, timestamp_us=timestamp_us, output_len=output_len,
        tokens=[], total_keys=[*keys, 9], **more,
    )  # fmt: skip


LONG = tuple(range(200, 206))
SAMPLE = "\n".join([get(), get(LONG, 101, 3000, block_mask=2), get(timestamp_ns=2000)])
OLD = "\n".join([dialog(), dialog((*LONG, 7), 101, 5)])


def test_gets_become_requests_with_an_own_id_for_the_partial_block():
    trace = trace_of(SAMPLE)
    assert trace.frame["arrival_ns"].to_list() == [0, 1000, 2000]
    assert trace.frame["input_tokens"].to_list() == [40, 40, 101]
    assert [ids[:2] for ids in trace.frame["block_ids"].to_list()[:2]] == [[101, 102]] * 2
    assert trace.frame["local_hit_blocks"].to_list() == [None, None, 2]
    assert trace.meta.block_size == 16
    assert "blocks have 16 tokens: the only power of two that fits every row" in trace.meta.notes
    uses = edge_uses(build_tree(trace), 16)
    assert uses.hits_by_request(uses.tokens).tolist() == [0, 32, 0]


def test_responses_of_unknown_length_are_one_token_and_said_so():
    trace = trace_of(SAMPLE)
    assert trace.frame["output_tokens"].to_list() == [1, 1, 1]
    assert "the source has no lengths of responses; assumed: one token each" in trace.meta.notes


def test_dialog_turns_have_responses_and_a_key_for_every_block():
    trace = trace_of(OLD)
    assert trace.frame["arrival_ns"].to_list() == [0, 4000]
    assert trace.frame["output_tokens"].to_list() == [12, 12]
    assert trace.frame["block_ids"].to_list()[0] == [101, 102, 103]
    assert not any("partial last blocks" in note for note in trace.meta.notes)


def test_keys_below_zero_are_ids_as_tair_itself_has_them():
    trace = trace_of(get([-1, 5]), block_size=20)
    assert trace.frame["block_ids"].to_list() == [[2**64 - 1, 5]]


def test_writes_are_passed_over_and_other_look_ups_put_aside():
    write = json.dumps({"type": "write", "instance_id": "i", "timestamp_ns": 1, "keys": [1]})
    batch = get(query_type="batch_get")
    trace = trace_of("\n".join([write, SAMPLE, batch]))
    assert trace.requests == 3
    assert [(one.line, one.reason) for one in trace.rejected] == [
        (5, "no prefix look-up (query_type 'batch_get')")
    ]
    assert "1 writes to the cache were passed over" in trace.meta.notes


def test_times_since_1970_are_a_clock_that_files_share():
    trace = trace_of(get(timestamp_ns=EPOCH_NS + 1), block_size=16)
    assert trace.meta.clock_start_ns == EPOCH_NS + 1
    assert trace_of(SAMPLE).meta.clock_start_ns is None


def test_a_size_that_is_given_needs_no_finding():
    assert trace_of(get(), block_size=16).meta.block_size == 16


def test_keys_that_fit_several_sizes_ask_for_one():
    with pytest.raises(TraceError, match="fit blocks of several sizes") as caught:
        trace_of(get([1], 40))
    assert "say it by --trace-block-size" in caught.value.hint


def test_keys_that_fit_no_size_are_refused_and_a_given_size_names_the_row():
    text = f"{SAMPLE}\n{get([1, 2], 400)}"
    with pytest.raises(TraceError, match="no power of two is a block size"):
        trace_of(text)
    with pytest.raises(TraceError, match=r"a\.jsonl:4: input_len 400 in blocks of 16 needs 25 or"):
        trace_of(text, block_size=16)
    assert trace_of(text, block_size=16, max_rejected=0.25).requests == 3


def test_a_size_that_is_no_power_of_two_is_hinted_at():
    with pytest.raises(TraceError) as caught:
        trace_of(get(range(50), 1250))
    assert caught.value.hint.startswith("sizes from 25 to 25 fit")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (get(input_len="40"), "input_len must be an integer (got '40')"),
        (get(input_len=0), "input_len must be between 1"),
        (get(input_len=None), "lacks input_len (got 'type'"),
        (get(keys=["a"]), "keys must hold integers alone (got 'a')"),
        (get(keys=[2**64]), "keys must hold integers between"),
        (get(keys=[1]), "input_len 40 in blocks of 16 needs 2 or 3 keys (got 1)"),
        (get(keys=[102, 101]), "block id 102 starts the prompt here and follows 101 on line 1"),
        (get(timestamp_ns=1.5), "timestamp_ns must be an integer (got 1.5)"),
        (get(timestamp_ns=-1), "timestamp_ns must be between 0"),
        (get(timestamp_ns=None), "lacks timestamp_ns"),
        (dialog(timestamp_us=2**62), "timestamp_us must be between 0"),
        (dialog(output_len=-1), "output_len must be between 0"),
        (get(type="put"), "type must be one of get, request, dialog, write (got 'put')"),
        (get(query_type=5), "query_type must be text (got 5)"),
        (get(block_mask=[1]), "block_mask must hold truths, or be a number (got [1])"),
        (get(block_mask="x"), "block_mask must be an integer (got 'x')"),
        ('{"type": "get", "input_len": 4, "timestamp_ns": 1}', "lacks keys"),
        (get()[:-3], "not valid JSON"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(bad, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{get()}\n{bad}\n", block_size=16)
    assert str(caught.value).startswith("a.jsonl:2:")
    assert message in str(caught.value)


def test_both_forms_are_recognised_and_others_are_not(tmp_path):
    assert looks_like_tair(OLD.encode())
    assert not looks_like_tair(b'{"keys": [1], "input_len": 3, "instance_id": "i"}')
    path = tmp_path / "t.jsonl"
    path.write_text(SAMPLE)
    assert load_trace(path).meta.format == "tair"


rows_ish = rows_of(
    type=st.sampled_from(["get", "request", "write", None]),
    instance_id=st.just("i"),
    timestamp_ns=st.integers(0, 9),
    keys=st.lists(st.integers(-1, 3), max_size=3),
    input_len=st.integers(0, 40),
    output_len=st.integers(0, 2),
    block_mask=st.lists(st.booleans(), max_size=2) | st.integers(0, 3),
)


@settings(max_examples=120, deadline=None)
@given(json_lines(rows_ish) | mutated(SAMPLE) | mutated(OLD), st.sampled_from([None, 16]))
def test_anything_gives_a_trace_or_a_refusal(text, size):
    assert requests_or_refusal(trace_of, text, block_size=size) != 0


def dialog(output, at=1, keys=(1,), tokens=16):
    return json.dumps(
        {"instance_id": "i", "timestamp_us": at, "keys": list(keys), "input_len": tokens,
         "output_len": output, "query_type": "prefix_match"}
    )  # fmt: skip


def test_outputs_that_are_zero_in_every_row_are_no_failures():
    trace = trace_of("\n".join([dialog(0), dialog(0, 5, [1, 3], 32)]))
    assert trace.frame["output_tokens"].to_list() == [1, 1]
    assert any("assumed: one token each" in note for note in trace.meta.notes)


def test_an_output_of_zero_among_others_is_a_failure():
    trace = trace_of("\n".join([dialog(0), dialog(4, 5, [1, 3], 32)]), block_size=16)
    assert trace.frame["output_tokens"].to_list() == [4]
    assert [one.line for one in trace.rejected] == [1]


def test_a_length_that_is_not_said_is_assumed_whatever_others_say():
    rows = [get([101], 16), dialog(4, 5, [101], 16), dialog(0, 6, [101], 16)]
    trace = trace_of("\n".join(rows), block_size=16)
    assert trace.frame["output_tokens"].to_list() == [1, 4]
