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


def session(*requests, id="s", block_size=4, hash_id_scope="local", **more):
    return {"id": id, "block_size": block_size, "hash_id_scope": hash_id_scope,
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
    (session(request(), hash_id_scope="any"), "hash_id_scope must be 'local' or 'global'"),
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
    with pytest.raises(TraceError, match=r"w\.json:2: block_size is 4 on line 1"):
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


# --- the clock of sub-agents, decided once for a file


def arrivals_s(*sessions):
    trace = trace_of(*sessions)
    times = {name: [] for name in trace.frame["source_session_id"].unique(maintain_order=True)}
    for name, at in trace.frame.select("source_session_id", "arrival_ns").rows():
        times[name].append(at / 1e9)
    return times, [note for note in trace.meta.notes if "sub-agents" in note]


ABSOLUTE = session(
    request(0.0), subagent(100.0, request(101.5), subagent(103.0, request(108.0))), request(112.0)
)


def test_times_within_sub_agents_count_from_the_start_where_none_is_before_its_spawn():
    times, notes = arrivals_s(ABSOLUTE)
    assert times == {"s": [0, 112], "s/a1": [101.5], "s/a1/a1": [108]}
    assert notes == [
        "times within sub-agents count from the start of the session: none is before its spawn"
    ]


@pytest.mark.parametrize("place", [0, 1])
def test_one_time_before_its_spawn_decides_for_the_whole_file(place):
    early = session(request(0.0), subagent(50.0, request(60.0), request(0.25)), id="e")
    rows = [ABSOLUTE, early]
    times, notes = arrivals_s(*(rows[place:] + rows[:place]))
    assert times["e/a1"] == [50.25, 110.0]
    assert times["s/a1"] == [201.5]
    assert times["s/a1/a1"] == [311.0]
    assert notes == ["times within sub-agents count from their spawn: some are before it otherwise"]


def test_a_file_without_sub_agents_says_nothing_of_their_clock():
    assert arrivals_s(session(request()))[1] == []


def test_a_spawn_that_is_rounded_up_by_less_than_a_microsecond_is_no_other_clock():
    rounded = session(request(0.0), subagent(10.0000004, request(10.0)))
    assert arrivals_s(rounded)[0]["s/a1"] == [10.0]


@needs(SHARED / "cases" / "formats")
def test_the_case_of_absolute_times():
    trace = load_trace(SHARED / "cases" / "formats" / "weka_absolute_subagent.json")
    assert trace.frame["arrival_ns"].to_list() == [0, 101_500_000_000, 108 * 10**9, 112 * 10**9]


# --- what ids mean, and rows without them


def test_ids_of_a_global_scope_mean_the_same_in_all_sessions_and_files(tmp_path):
    rows = [session(request(), id=name, hash_id_scope="global") for name in "ab"]
    trace = trace_of(*rows)
    ids = trace.frame["block_ids"].to_list()
    assert [one[:2] for one in ids] == [[1, 2], [1, 2]]
    assert ids[0][2] != ids[1][2]
    for row in rows:
        (tmp_path / f"{row['id']}.json").write_text(json.dumps(row))
    both = load_trace(tmp_path).frame["block_ids"].to_list()
    assert both[0][:2] == both[1][:2]
    assert both[0][2] != both[1][2]


def test_a_prompt_without_ids_shares_nothing():
    bare = request()
    del bare["hash_ids"]
    trace = trace_of(session(bare, request(1.0)))
    ids = trace.frame["block_ids"].to_list()
    assert [len(one) for one in ids] == [3, 3]
    assert not set(ids[0]) & set(ids[1])
    assert any("1 prompts have no block ids" in note for note in trace.meta.notes)
    alone = trace_of(session(bare))
    assert (alone.has_content, alone.meta.block_size) == (False, None)


def test_a_document_of_megabytes_on_one_line_is_recognised_by_its_start(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(
        json.dumps(session(*(request(float(at), note="x" * 1000) for at in range(1500))))
    )
    assert path.stat().st_size > 2**20
    assert load_trace(path).meta.format == "weka"
