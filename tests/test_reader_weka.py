"""The WEKA reader: nested sub-agents placed in time, ids of a session's own, the floor rule."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.readers.weka import looks_like_weka, read_weka
from replay.trace.reuse import edge_uses
from replay.trace.tree import build_tree
from tests.shared_data import SHARED, needs

CORPUS = SHARED / "traces" / "weka"


def request(t=0.0, tokens=10, out=3, hash_ids=(1, 2), type="n", **more):
    return {"t": t, "type": type, "in": tokens, "out": out, "hash_ids": list(hash_ids), **more}


def subagent(t, *requests, agent_id="a1"):
    return {"t": t, "type": "subagent", "agent_id": agent_id, "requests": list(requests)}


def session(*requests, id="s", block_size=4, **more):
    return {"id": id, "block_size": block_size, "hash_id_scope": "local",
            "requests": list(requests), **more}  # fmt: skip


def trace_of(*sessions, **options) -> Trace:
    data = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in sessions)
    source = Source("w.json", "w.json", data.encode(), "0" * 64)
    return read_weka(source, ReadOptions(**options))


NESTED = session(
    request(0.0, model="m", api_time=2.5, ttft=0.123456789),
    subagent(3.0, request(0.0, 4, 1, [7]), subagent(1.0, request(0.5, 8, 1, [7, 8]))),
    request(4.25, 13, 2, [1, 2, 3], type="s", think_time=1.75),
)


def test_sub_agents_are_placed_in_time_and_named():
    frame = trace_of(NESTED).frame
    assert frame["arrival_ns"].to_list() == [0, 3_000_000_000, 4_250_000_000, 4_500_000_000]
    assert frame["kind"].to_list() == ["main", "subagent", "main", "subagent"]
    assert frame["agent_id"].to_list() == [None, "a1", None, "a1/a1"]
    assert frame["session_id"].to_list() == [0, 1, 0, 2]
    assert frame["turn"].to_list() == [0, 0, 1, 0]
    assert frame["parent_request_id"].to_list() == [None, 0, 0, 1]
    assert frame["streamed"].to_list() == [False, False, True, False]


def test_recorded_times_are_exact():
    frame = trace_of(NESTED).frame
    assert frame["recorded_ttft_ns"].to_list() == [123_456_789, None, None, None]
    assert frame["recorded_e2e_ns"].to_list() == [2_500_000_000, None, None, None]
    assert frame["think_ns"].to_list() == [None, None, 1_750_000_000, None]


def test_partial_last_blocks_get_an_id_of_their_own():
    ids = trace_of(NESTED).frame["block_ids"].to_list()
    assert [len(one) for one in ids] == [3, 1, 4, 2]
    assert ids[2][:2] == ids[0][:2]
    assert len({ids[0][2], ids[2][3]} | set(ids[2][:3])) == 5
    assert ids[3][0] == ids[1][0]


def test_sessions_share_no_ids_on_lines_nor_in_files(tmp_path):
    one, two = session(request(), id="a"), session(request(), id="b")
    ids = trace_of(one, two).frame["block_ids"].to_list()
    assert not set(ids[0]) & set(ids[1])
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(json.dumps(one, indent=2))
    both = load_trace(tmp_path)
    assert (both.meta.format, both.requests) == ("weka", 2)
    assert both.frame["block_ids"].explode().n_unique() == 6


@pytest.mark.parametrize(("bad", "what"), [
    ({"id": "x", "requests": []}, "lacks block_size"),
    (session(request(), hash_id_scope="global"), "hash_id_scope must be 'local'"),
    (session(request(hash_ids=[1])), r"requests\[0\]: in 10 has 2 full blocks of 4 \(got 1 ids"),
    (session(request(hash_ids=[1, 2, 3])), "has 2 full blocks of 4"),
    (session(request(hash_ids=[1, "2"])), "hash_ids must hold integers alone"),
    (session(request(t=-1)), r"requests\[0\].t is out of range"),
    (session(request(t="now")), "t must be a number"),
    (session(request(type="x")), "type must be one of n, s, subagent"),
    (session(request(tokens=0, hash_ids=[])), "in must be between 1"),
    (session(7), r"requests\[0\] must be an object"),
    (session(subagent(0, {"t": 1})), r"requests\[0\].requests\[0\].type must be one of"),
    (session({"t": 0, "type": "subagent"}), r"requests\[0\].requests must be a list"),
    (session(request(), totals={"combined_tokens": {"input": 11}}),
     r"totals.combined_tokens: requests have 10 input tokens \(got 11\)"),
    (session(request(), request(1.0, hash_ids=[9, 2])), "block id 2 follows two different ids"),
])  # fmt: skip
def test_each_fault_is_told_with_its_line_and_puts_the_session_aside(bad, what):
    good = session(request())
    with pytest.raises(TraceError, match=f"w.json:2: .*{what}"):
        trace_of(good, bad)
    kept = trace_of(good, bad, good, max_rejected=0.5)
    assert [row.line for row in kept.rejected] == [2]
    assert kept.requests == 2


def test_block_sizes_must_agree():
    with pytest.raises(TraceError, match="different sizes"):
        trace_of(session(request()), session(request(hash_ids=[1]), block_size=8))


def test_requests_without_a_response_are_left_out_and_noted():
    trace = trace_of(session(request(out=0), subagent(1, request())))
    assert trace.requests == 1
    assert trace.frame["parent_request_id"].to_list() == [None]
    assert "1 requests were left out: no response: a failed request" in trace.meta.notes


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_file_ends_in_anything_but_a_trace_or_an_error(data):
    good = bytearray(json.dumps(NESTED).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ReplayError):
        assert read_weka(Source("w", "w", bytes(good), "")).requests


def test_its_files_are_recognised():
    assert looks_like_weka(json.dumps(NESTED).encode())
    assert not looks_like_weka(b'{"timestamp": 0, "hash_ids": []}')


@needs(CORPUS)
def test_the_corpus_loads_whole_and_hits_as_counted_block_by_block():
    total = hits = 0
    for path in sorted(CORPUS.glob("*.json")):
        trace = load_trace(path)
        assert (trace.meta.format, len(trace.rejected)) == ("weka", 0)
        seen: set[int] = set()
        for request_ids in trace.frame.sort("request_id")["block_ids"].to_list():
            hits += 64 * sum(one in seen for one in request_ids)
            seen.update(request_ids)
        total += int(trace.column("input_tokens").sum())
    assert (hits, total) == (64_376_640, 71_308_412)
    together = load_trace(CORPUS)
    uses = edge_uses(build_tree(together), 64)
    assert together.requests == 1070
    assert int(uses.hits_by_request(uses.tokens).sum()) == hits
    assert together.frame["session_id"].n_unique() == 62
