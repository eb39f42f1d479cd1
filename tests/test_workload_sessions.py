"""Sessions: how often each kind of request follows, when, and how lengths and times correlate."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.profiles import chat, trace_of, uniform

WIDE = {"distribution": "lognormal", "mu": 5, "sigma": 0.8, "min": 1, "max": 100_000}


def frame_of(client, *, follow_up=None, requests=30_000, **changes):
    """The requests of the test client, each beside the one before it."""
    data = chat(client, requests=requests, **{"context": {"limit": 10_000_000}, **changes})
    data["clients"][0]["follow_up"] |= follow_up or {}
    frame = trace_of(data).frame
    before = frame.select(
        pl.col("request_id").alias("parent_request_id"),
        pl.col("arrival_ns", "input_tokens", "output_tokens").name.suffix("_before"),
    )
    return frame.join(before, on="parent_request_id", how="left", maintain_order="left")


def new_tokens(frame):
    return frame["segment_tokens"].list.last().to_numpy()


def gap_s(frame):
    return (frame["arrival_ns"] - frame["arrival_ns_before"]).to_numpy() / 1e9


def rank_correlation(a, b):
    return np.corrcoef(*(np.argsort(np.argsort(x, kind="stable")) for x in (a, b)))[0, 1]


def share_after(frame, turn):
    """Share of sessions that go on after a turn, of those that the end of the trace leaves time."""
    sessions = frame["session_id"].n_unique() // 2
    early = frame.filter(pl.col("session_id") < sessions)
    return early.filter(turn=turn + 1).height / early.filter(turn=turn).height


def test_chances_go_by_turn_and_the_last_repeats():
    frame = frame_of({}, follow_up={"chance": [0.2, 0.6, 0.9]})
    shares = [share_after(frame, turn) for turn in range(5)]
    assert shares == pytest.approx([0.2, 0.6, 0.9, 0.9, 0.9], abs=0.04)


def test_chances_may_depend_on_the_length_of_the_prompt():
    rows = [{"below": 500, "chance": 0.2}, {"chance": 0.8}]
    client = {"first_tokens": uniform(1, 799), "head": [{"pool": "system"}]}
    frame = frame_of(client, follow_up={"chance": None, "by_input_tokens": rows})
    first = frame.filter((pl.col("turn") == 0) & (pl.col("session_id") < 10_000))
    followed = first["request_id"].is_in(frame["parent_request_id"].drop_nulls().implode())
    short = (first["input_tokens"] < 500).to_numpy()
    followed = followed.to_numpy()
    assert followed[short].mean() == pytest.approx(0.2, abs=0.02)
    assert followed[~short].mean() == pytest.approx(0.8, abs=0.02)


def test_a_session_may_have_a_drawn_number_of_requests():
    counts = {"distribution": "zipf", "exponent": 0, "min": 2, "max": 5}
    frame = frame_of({}, follow_up={"chance": None, "requests": counts})
    early = frame.filter(pl.col("session_id") < 7_000)
    sizes = early.group_by("session_id").len()["len"].to_numpy()
    np.testing.assert_allclose(np.bincount(sizes, minlength=6)[2:6] / len(sizes), 0.25, atol=0.02)


def test_a_session_ends_after_the_most_requests():
    assert frame_of({"max_requests": 4}, follow_up={"chance": 1.0})["turn"].max() == 3


def test_kinds_compete_for_what_follows():
    client = {
        "branch": {"chance": 0.2, "keep_share": 0.5, "tail_tokens": 30, "gap": 5},
        "regenerate": {"chance": 0.1, "gap": 3},
        "retry": {"chance": 0.05, "gap": 1},
    }
    frame = frame_of(client, follow_up={"chance": 0.3})
    kinds = frame.filter(pl.col("turn") > 0)["kind"].value_counts(normalize=True)
    shares = dict(kinds.iter_rows())
    wanted = {"continue": 30, "branch": 20, "regenerate": 10, "retry": 5}
    assert shares == {kind: pytest.approx(part / 65, abs=0.02) for kind, part in wanted.items()}
    gaps = {kind: gap_s(frame.filter(kind=kind)) for kind in wanted}
    assert {kind: float(np.round(gap.mean(), 6)) for kind, gap in gaps.items()} == {
        "continue": 10.0, "branch": 5.0, "regenerate": 3.0, "retry": 1.0,
    }  # fmt: skip


def test_a_branch_keeps_the_head_and_a_share_of_the_rest():
    client = {"branch": {"chance": 0.5, "keep_share": 0.25, "tail_tokens": 7, "gap": 5}}
    frame = frame_of(client, follow_up={"chance": 0.3}, requests=2_000)
    branches = frame.filter(kind="branch")
    kept = 100 + np.rint(0.25 * (branches["input_tokens_before"].to_numpy() - 100))
    np.testing.assert_array_equal(branches["input_tokens"].to_numpy(), kept + 7)
    assert (branches["segments"].list.first() == 0).all()


def test_a_regenerated_response_is_another_one():
    frame = frame_of({"regenerate": {"chance": 0.3, "gap": 3}}, requests=1_000)
    assert frame["response_segment"].n_unique() == frame.height
    again = frame.filter(kind="regenerate")
    assert (again["input_tokens"] == again["input_tokens_before"]).all()


def test_without_history_every_prompt_is_head_and_message():
    frame = frame_of({"history": False}, requests=1_000)
    assert (frame["segments"].list.len() == 2).all()
    assert (frame["input_tokens"] <= 150).all()


def test_successive_responses_correlate_in_rank():
    frame = frame_of({"response_tokens": WIDE, "response_correlation": 0.65})
    linked = frame.drop_nulls("output_tokens_before")
    found = rank_correlation(*(linked[c] for c in ("output_tokens", "output_tokens_before")))
    assert found == pytest.approx(0.65, abs=0.02)


def test_a_response_may_correlate_with_its_first_prompt():
    frame = frame_of({"first_tokens": WIDE, "response_tokens": WIDE, "prompt_correlation": -0.5})
    first = frame.filter(turn=0)
    found = rank_correlation(first["input_tokens"], first["output_tokens"])
    assert found == pytest.approx(-0.5, abs=0.02)


def test_think_time_correlates_with_what_is_read_and_written():
    think = {
        "seconds": {**WIDE, "max": 10_000},
        "new_tokens_correlation": 0.22,
        "response_correlation": 0.6,
    }
    client = {"response_tokens": WIDE}
    frame = frame_of(client, follow_up={"new_tokens": WIDE, "think_time": think}, warm_up="2h")
    linked = frame.drop_nulls("output_tokens_before")
    gaps = gap_s(linked)
    assert rank_correlation(gaps, new_tokens(linked)) == pytest.approx(0.22, abs=0.04)
    assert rank_correlation(gaps, linked["output_tokens_before"]) == pytest.approx(0.6, abs=0.04)


def test_think_time_may_count_from_the_response():
    think = {"seconds": 10, "after": "response"}
    client = {
        "response_tokens": WIDE,
        "response_time": {"first_token_s": 0.5, "per_token_s": 0.02},
    }
    frame = frame_of(client, follow_up={"think_time": think}, requests=2_000)
    linked = frame.drop_nulls("output_tokens_before")
    wanted = 10.5 + 0.02 * linked["output_tokens_before"].to_numpy()
    np.testing.assert_allclose(gap_s(linked), wanted, atol=1e-6)


def test_popular_items_of_a_pool_are_shared_more():
    frame = frame_of({}, pools={"system": {"items": 4, "tokens": 30, "zipf": 1.0}}, requests=20_000)
    sessions = frame.group_by("session_id").agg(pl.col("segments").first().list.first())
    items = sessions["segments"].cast(pl.Int64).to_numpy()
    shares = np.bincount(items, minlength=4) / sessions.height
    np.testing.assert_allclose(shares, np.array([12, 6, 4, 3]) / 25, atol=0.02)


def test_items_may_have_weights_of_their_own():
    pools = {"system": {"items": 2, "tokens": 30, "weights": [1, 9]}}
    frame = frame_of({}, pools=pools, requests=20_000)
    first = frame.filter(turn=0)
    assert (first["segments"].list.first() == 1).mean() == pytest.approx(0.9, abs=0.02)


def test_a_part_of_the_head_may_be_left_out():
    client = {"head": [{"pool": "system", "probability": 0.3}]}
    first = frame_of(client, requests=20_000).filter(turn=0)
    assert (first["segments"].list.len() == 2).mean() == pytest.approx(0.3, abs=0.02)
