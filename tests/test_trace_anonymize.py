"""Anonymised traces: the same sharing, lengths and order; no way back from the ids."""

from __future__ import annotations

from hashlib import blake2b

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError
from replay.trace.anonymize import anonymize
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.readers import load_trace
from replay.trace.sessions import infer_sessions
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of
from tests.shared_data import CONVERSATION, needs
from tests.test_trace_writers import numbered

KEY = bytes(range(32))


def tokens_trace(prompts) -> Trace:
    frame = pl.DataFrame(
        {
            "arrival_ns": [1000 * at for at in range(len(prompts))],
            "input_tokens": [len(prompt) for prompt in prompts],
            "output_tokens": 2,
            "tokens": pl.Series(prompts, dtype=pl.List(pl.UInt32)),
            "user": "someone",
        }
    )
    meta = TraceMeta(path="t", name="t", sha256="", format="t", block_size=None, content="tokens")
    return canonical_trace(frame, meta)


def ids(trace: Trace, size: int = BLOCK, **more) -> list[list[int]]:
    return anonymize(trace, size, key=KEY, **more).trace.frame["block_ids"].to_list()


@settings(max_examples=40)
@given(drawn=rows(), size=st.sampled_from([BLOCK, 2, 8]))
def test_block_ids_share_as_before(drawn, size):
    trace = trace_of(drawn)
    made = anonymize(trace, size).trace
    assert numbered(made.frame["block_ids"]) == numbered(
        block_ids_of(trace, size).frame["block_ids"]
    )
    for name in ("arrival_ns", "input_tokens", "output_tokens"):
        assert made.frame[name].equals(trace.frame[name])


@settings(max_examples=40)
@given(drawn=unit_rows(), size=st.sampled_from([1, 3, 16]))
def test_segments_share_as_before(drawn, size):
    trace = unit_trace_of(drawn)
    made = anonymize(trace, size).trace
    assert numbered(made.frame["block_ids"]) == numbered(
        block_ids_of(trace, size).frame["block_ids"]
    )


def test_ids_of_tokens_are_a_keyed_chain_over_the_blocks_own_tokens():
    found = ids(tokens_trace([[1, 2, 3, 4, 5]]))[0]
    first = blake2b(
        b"".join(t.to_bytes(4, "little") for t in (1, 2, 3, 4)), digest_size=32, key=KEY
    )
    second = blake2b(first.digest() + (5).to_bytes(4, "little"), digest_size=32, key=KEY)
    mask = 2**63 - 1
    expected = [int.from_bytes(d.digest()[:8], "little") & mask for d in (first, second)]
    assert found == expected


def test_files_of_one_key_share_ids_and_those_of_two_keys_share_none():
    one, two = tokens_trace([[1, 2, 3, 4, 9]]), tokens_trace([[7], [1, 2, 3, 4, 8]])
    assert ids(one)[0][0] == ids(two)[1][0]
    assert ids(one)[0][1] != ids(two)[1][1]
    fresh = anonymize(one, BLOCK).trace.frame["block_ids"].to_list()
    assert not set(fresh[0]) & set(ids(one)[0])


def test_nothing_else_is_left_and_what_went_is_named():
    made = anonymize(tokens_trace([[1, 2, 3, 4, 5]]), BLOCK, key=KEY)
    kept = ["request_id", "arrival_ns", "input_tokens", "output_tokens", "block_ids"]
    assert made.trace.frame.columns == kept
    assert made.removed == ("tokens", "user")
    assert made.trace.meta.notes == ()
    assert (made.trace.meta.name, made.trace.meta.sha256) == ("anonymized", "")


@settings(max_examples=30)
@given(jitter=st.integers(1, 10_000), rounding=st.integers(1, 5_000))
def test_jitter_and_rounding_keep_the_order(jitter, rounding):
    trace = tokens_trace([[at, at + 1] for at in range(30)])
    made = anonymize(trace, BLOCK, key=KEY, jitter_ns=jitter, round_ns=rounding).trace
    assert made.frame["block_ids"].to_list() == ids(trace)
    arrival = made.column("arrival_ns")
    assert (arrival % rounding == 0).all()
    assert abs(arrival - trace.column("arrival_ns")).max() <= 2 * jitter + rounding


def test_what_cannot_be_anonymized_is_refused():
    trace = tokens_trace([[1, 2]])
    with pytest.raises(InputError, match="16 bytes or more"):
        anonymize(trace, 4, key=b"short")
    with pytest.raises(InputError, match="at least 1 ns"):
        anonymize(trace, 4, round_ns=0)
    lengths = trace.changed(trace.frame.drop("tokens"))
    with pytest.raises(InputError, match="says nothing of content"):
        anonymize(lengths, 4)
    assert anonymize(trace, 4, key=bytes(100)).trace.requests == 1


@needs(CONVERSATION)
def test_a_replay_of_the_anonymized_conversation_trace_hits_the_same(tmp_path):
    from replay.config.load import load_scenario
    from replay.config.overrides import parse_setting
    from replay.engine.run import execute, prepare_trace

    trace = load_trace(CONVERSATION)
    made = anonymize(trace, 512).trace
    settings_ = ["engine.mode=untimed", "cache.capacity=20000blocks"]
    scenario = load_scenario(None, [parse_setting(text) for text in settings_])
    found = [
        execute(prepare_trace(infer_sessions(one), scenario)).tables["requests"]
        for one in (trace, made)
    ]
    columns = ["hit_tokens", "session_hit_tokens", "cross_request_hit_tokens", "evicted_blocks"]
    assert found[0].select(columns).equals(found[1].select(columns))
    assert found[0]["hit_tokens"].sum() > 10_000_000
