"""Generated traces: what must hold for any profile, and that a seed decides everything."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from replay.errors import InputError
from replay.trace.parquet import write_trace
from replay.trace.tree import build_tree
from replay.workload.generate import at_rate, generate, requests_per_session
from replay.workload.summary import seen_share
from tests.profiles import CHAT, chat, named, profiles, trace_of, uniform


def prompts(trace):
    """Every prompt as a tuple of (segment, offset) tokens, and every response."""
    made = []
    for row in trace.frame.iter_rows(named=True):
        pairs = zip(row["segments"], row["segment_tokens"], strict=True)
        prompt = [(segment, i) for segment, tokens in pairs for i in range(tokens)]
        response = [(row["response_segment"], i) for i in range(row["output_tokens"])]
        made.append((prompt, response))
    return made


def shared(a, b):
    """How many leading tokens two prompts have in common."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


@settings(max_examples=60)
@given(profiles())
def test_segments_add_up_to_the_prompt(data):
    frame = trace_of(data).frame
    assert (frame["segment_tokens"].list.sum() == frame["input_tokens"]).all()
    assert (frame["segments"].list.len() == frame["segment_tokens"].list.len()).all()


@settings(max_examples=60)
@given(profiles())
def test_prompt_and_response_fit_into_the_window(data):
    frame = trace_of(data).frame
    assert (frame["input_tokens"] + frame["output_tokens"]).max() <= data["context"]["limit"]
    assert frame["input_tokens"].min() >= 1


@settings(max_examples=40)
@given(profiles())
def test_arrivals_are_sorted_and_parents_come_first(data):
    frame = trace_of(data).frame
    assert frame["arrival_ns"].is_sorted()
    assert frame["arrival_ns"][0] == 0
    assert (frame["parent_request_id"] < frame["request_id"]).all()
    parents = frame.select("request_id", "session_id", "turn")
    linked = frame.drop_nulls("parent_request_id").join(
        parents, left_on="parent_request_id", right_on="request_id", suffix="_before"
    )
    assert (linked["session_id"] == linked["session_id_before"]).all()
    assert (linked["turn"] == linked["turn_before"] + 1).all()


@settings(max_examples=60)
@given(profiles())
def test_a_trace_has_exactly_the_requests_asked_for(data):
    assert trace_of(data).requests == data["requests"]


@settings(max_examples=40)
@given(profiles(truncate="keep_system"))
def test_a_follow_up_holds_the_prompt_and_the_response_before_it(data):
    data["context"]["limit"] = 10_000
    trace = trace_of(data)
    made, frame = prompts(trace), trace.frame
    history = {client["name"]: client["history"] for client in data["clients"]}
    for row in frame.drop_nulls("parent_request_id").iter_rows(named=True):
        before, answer = made[row["parent_request_id"]]
        prompt = made[row["request_id"]][0]
        if row["kind"] == "continue" and history[row["client"]]:
            assert prompt[: len(before) + len(answer)] == before + answer
            assert len(prompt) > len(before) + len(answer)
        elif row["kind"] in ("regenerate", "retry"):
            assert prompt == before
    assert frame["forgotten_tokens"].sum() == 0


@settings(max_examples=60)
@given(profiles())
def test_what_a_follow_up_leaves_out_is_counted(data):
    """Prompt plus forgotten tokens is the history, whatever the window does."""
    data["context"]["keep_share"] = 1.0
    trace = trace_of(data)
    history = {client["name"]: client["history"] for client in data["clients"]}
    rows = list(trace.frame.iter_rows(named=True))
    for row in rows:
        if row["parent_request_id"] is None or not history[row["client"]]:
            continue
        before = rows[row["parent_request_id"]]
        whole = before["input_tokens"] + before["forgotten_tokens"]
        now = row["input_tokens"] + row["forgotten_tokens"]
        if row["kind"] == "continue":
            assert now > whole + before["output_tokens"]
        elif row["kind"] in ("regenerate", "retry"):
            assert now <= whole


@settings(max_examples=40)
@given(profiles(truncate="keep_system"))
def test_the_head_of_a_prompt_is_never_forgotten(data):
    trace = trace_of(data)
    made = prompts(trace)
    parts = {client["name"]: client["head"] for client in data["clients"]}
    for row in trace.frame.drop_nulls("parent_request_id").iter_rows(named=True):
        certain = sum("probability" not in part for part in parts[row["client"]])
        if not certain or row["turn"] == 0:
            continue
        before, now = made[row["parent_request_id"]][0], made[row["request_id"]][0]
        head = [token for token in now if token[0] in {segment for segment, _ in before}]
        assert shared(before, now) > 0
        assert head[0] == now[0] == before[0]


@settings(max_examples=40)
@given(profiles(truncate="reject"))
def test_nothing_is_forgotten_when_the_window_ends_sessions(data):
    assert trace_of(data).frame["forgotten_tokens"].sum() == 0


@settings(max_examples=30)
@given(profiles())
def test_the_tree_of_a_generated_trace_is_that_of_its_tokens(data):
    """Segments are exact: the share seen before is the one a set of prefixes finds."""
    data["requests"] = min(data["requests"], 40)
    trace = trace_of(data)
    known, seen, total = set(), 0, 0
    for prompt, response in prompts(trace):
        total += len(prompt)
        # Of a response all but the last token leave KV.
        text = tuple(prompt + response[:-1])
        seen += sum(text[: i + 1] in known for i in range(len(prompt)))
        known |= {text[: i + 1] for i in range(len(text))}
    assert seen_share(build_tree(trace)) == pytest.approx(seen / total)


def test_a_seed_gives_the_same_file_byte_for_byte(tmp_path):
    paths = [write_trace(trace_of(CHAT), tmp_path / f"{run}.parquet") for run in (1, 2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_another_seed_gives_another_trace():
    first, second = trace_of(CHAT), trace_of(chat(seed=1))
    assert not first.frame.equals(second.frame)
    assert first.meta.sha256 != second.meta.sha256


@pytest.mark.parametrize("more", [{"requests": 3_000}, {"requests": None, "duration": "20m"}])
def test_a_shorter_trace_is_the_beginning_of_a_longer_one(more):
    short = trace_of(chat(warm_up="30s")).frame
    assert trace_of(chat(warm_up="30s", **more)).frame.head(short.height).equals(short)


def test_a_duration_bounds_the_arrivals():
    frame = trace_of(chat(requests=None, duration="5m", warm_up="2m")).frame
    assert 280 < frame["arrival_ns"].max() / 1e9 < 300
    assert frame.height == pytest.approx(300 * 2 * 1 / 0.3, rel=0.15)


def test_a_warm_up_brings_sessions_in_the_middle_of_theirs():
    cold, warm = (
        trace_of(chat(requests=100)).frame,
        trace_of(chat(requests=100, warm_up="2m")).frame,
    )
    assert cold["parent_request_id"].null_count() == cold.filter(turn=0).height
    orphans = warm.filter(pl.col("parent_request_id").is_null() & (pl.col("turn") > 0))
    assert orphans.height > 20
    assert (orphans["kind"] == "continue").all()
    assert orphans["segments"].list.len().min() >= 4  # their history is whole


def test_sessions_count_up_as_they_come():
    sessions = trace_of(chat(warm_up="1m")).frame["session_id"]
    first = sessions.unique(maintain_order=True)
    assert first.to_list() == list(range(len(first)))


def test_ticks_round_arrivals_down_and_keep_order():
    fine = trace_of(CHAT).frame
    coarse = trace_of(chat(arrivals={"sessions_per_s": 2.0, "tick": "3s"})).frame
    assert set((coarse["arrival_ns"] % 3_000_000_000).to_list()) == {0}
    assert coarse.drop("arrival_ns").equals(fine.drop("arrival_ns"))


def test_clients_are_mixed_by_weight():
    data = chat(requests=20_000)
    data["clients"] = [
        {"name": name, "weight": weight, "first_tokens": 10, "response_tokens": 5}
        for name, weight in (("a", 1), ("b", 3))
    ]
    assert (trace_of(data).frame["client"] == "b").mean() == pytest.approx(0.75, abs=0.01)


def test_the_rate_asked_for_is_met():
    at_ten = at_rate(named(chat(requests=20_000, warm_up="3m")), 10.0)
    span_s = generate(at_ten).column("arrival_ns")[-1] / 1e9
    assert 20_000 / span_s == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match="rate must be above 0"):
        at_rate(named(CHAT), rate)


def test_requests_per_session_is_the_mean_of_the_hazard():
    # 1 + .7 + .7^2 + ... = 1 / .3
    assert requests_per_session(named(CHAT).profile) == pytest.approx(1 / 0.3, rel=0.03)


def test_a_window_that_nothing_fits_into_is_an_error():
    data = chat({"first_tokens": 500, "head": []}, context={"limit": 400, "truncate": "reject"})
    with pytest.raises(InputError, match="first prompts fits into the window"):
        trace_of(data)


def test_a_duration_without_arrivals_is_an_error():
    with pytest.raises(InputError, match="no request arrives within the duration"):
        trace_of(chat(requests=None, duration="1ms"))


@pytest.mark.parametrize(
    "length",
    [
        {"requests": None, "duration": "300000h"},
        {"warm_up": "300000h"},
    ],
)
def test_a_trace_that_no_memory_holds_is_refused(length):
    with pytest.raises(InputError, match="no trace may have more than"):
        trace_of(chat(**length))


def test_rejected_sessions_are_noted():
    trace = trace_of(chat(context={"limit": 300, "truncate": "reject"}))
    assert any("their sessions ended" in note for note in trace.meta.notes)


def test_the_meta_says_what_the_trace_is():
    meta = trace_of(CHAT).meta
    assert (meta.format, meta.name, meta.block_size) == ("generated", "test", None)
    assert len(meta.sha256) == 64


def test_a_sliding_window_keeps_the_newest_messages():
    data = chat({"max_requests": 40, "head": []}, context={"limit": 200, "truncate": "sliding"})
    data["clients"][0]["follow_up"]["chance"] = 1.0
    for _, session in trace_of(data).frame.group_by("session_id"):
        rows = session.sort("turn").iter_rows(named=True)
        for before, row in pairwise(rows):
            whole = [*before["segments"], before["response_segment"]]
            kept = row["segments"][:-1]
            assert kept == whole[len(whole) - len(kept) :]


def test_a_smaller_share_to_keep_makes_room_for_turns():
    """Forgetting half at once, most turns that follow still share a prefix with the last."""

    def common(keep_share):
        data = chat(
            {"max_requests": 60},
            requests=3_000,
            context={"limit": 400, "keep_share": keep_share},
        )
        data["clients"][0]["follow_up"]["chance"] = 1.0
        return seen_share(build_tree(trace_of(data)))

    assert common(0.5) > common(1.0) + 0.1


def test_forgotten_history_grows_along_a_session():
    data = chat({"max_requests": 30}, requests=3_000, context={"limit": 400})
    data["clients"][0]["follow_up"]["chance"] = 1.0
    frame = trace_of(data).frame.sort("session_id", "turn")
    grown = frame.select(pl.col("forgotten_tokens").diff().over("session_id")).to_series()
    assert grown.drop_nulls().min() >= 0
    assert frame["forgotten_tokens"].max() > 400


def test_a_message_longer_than_the_window_loses_its_end():
    data = chat({"first_tokens": 5_000}, context={"limit": 300})
    frame = trace_of(data).frame.filter(turn=0)
    assert (frame["input_tokens"] + frame["output_tokens"] == 300).all()
    assert np.array_equal(frame["forgotten_tokens"].unique(), [0])


def test_documents_of_a_session_are_its_own():
    data = chat({"head": [{"own_tokens": uniform(50, 60)}]})
    heads = trace_of(data).frame.select("session_id", pl.col("segments").list.first()).unique()
    assert heads["segments"].n_unique() == heads["session_id"].n_unique() == heads.height


def test_a_client_may_have_a_window_of_its_own():
    data = chat({"max_requests": 30, "context": {"limit": 400}}, context={"limit": 100_000})
    frame = trace_of(data).frame
    assert (frame["input_tokens"] + frame["output_tokens"]).max() <= 400
    assert frame["forgotten_tokens"].max() > 0


def test_the_window_of_a_client_leaves_others_alone():
    data = chat({"max_requests": 30, "context": {"limit": 400}}, context={"limit": 100_000})
    data["clients"].append({**chat()["clients"][0], "name": "other"})
    frame = trace_of(data).frame.filter(client="other")
    assert frame["forgotten_tokens"].max() == 0
