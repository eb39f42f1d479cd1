"""The SQL behind each figure, counted again in plain Python over a run made by hand."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from fractions import Fraction

import pytest

from replay.report.db import RunDatabase
from replay.report.page.build import sql_of
from replay.report.page.look import EVICTED, PARTS, REUSED
from replay.runs.open import open_run
from tests import dense_run, run_fixture

ROWS = dense_run.rows()
DONE = [row for row in ROWS if row["status"] == "completed"]
PAIRED = [row for row in DONE if row["no_cache_status"] == "completed"]
COLUMN_OF = {
    "reused: same session": lambda row: row["session_hit_tokens"],
    "reused: other requests": lambda row: row["cross_request_hit_tokens"],
    "evicted, avoidable": lambda row: row["avoidable_miss_tokens"],
    "evicted, unavoidable": lambda row: row["capacity_miss_tokens"] - row["avoidable_miss_tokens"],
    "being computed": lambda row: row["in_flight_tokens"],
    "rounding": lambda row: row["granularity_tokens"],
    "not kept for it": lambda row: row["policy_miss_tokens"],
    "not looked up": lambda row: row["disabled_tokens"],
    "never seen": lambda row: row["cold_tokens"],
}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with RunDatabase(open_run(dense_run.write(tmp_path_factory.mktemp("sql") / "run"))) as opened:
        yield opened


def objects(database, name):
    table = database.query(sql_of(name)).table()
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def rank(values, share):
    found = sorted(values)
    return found[max(math.ceil(Fraction(share) * len(found)) - 1, 0)]


def test_parts_are_the_prompt_and_every_part_has_a_name_and_a_colour(database):
    rows = objects(database, "causes")
    assert sum(row["tokens"] for row in rows) == sum(row["input_tokens"] for row in DONE)
    for row in rows:
        assert row["tokens"] == sum(map(COLUMN_OF[row["part"]], DONE))
        assert row["part"] in PARTS
    assert [row["part"] for row in rows] == [part for part in PARTS if part in COLUMN_OF and any(
        map(COLUMN_OF[part], DONE))]  # fmt: skip
    assert set(REUSED + EVICTED) <= set(PARTS)


def test_what_the_optimum_keeps_may_be_unknown(tmp_path):
    rows = [{**row, "avoidable_miss_tokens": None} for row in ROWS]
    folder = run_fixture.write(tmp_path / "run", requests=rows)
    with RunDatabase(open_run(folder)) as database:
        found = {row["part"]: row["tokens"] for row in objects(database, "causes")}
    assert found["evicted"] == sum(row["capacity_miss_tokens"] for row in DONE)
    assert "evicted, avoidable" not in found


def test_waits_are_ranked_side_by_side(database):
    rows = objects(database, "waits")
    for side, values in (
        ("with cache", [row["ttft_ns"] for row in DONE]),
        ("without cache", [row["no_cache_ttft_ns"] for row in PAIRED]),
    ):
        found = {row["share"]: row["ms"] for row in rows if row["side"] == side}
        assert len(found) == 200
        for share, ms in found.items():
            assert ms == rank(values, Fraction(round(200 * share), 200)) / 1e6, (side, share)


def test_savings_are_those_of_requests_that_completed_both_times(database):
    found = {row["statistic"]: row for row in objects(database, "savings")}
    on, off = ([row[name] for row in PAIRED] for name in ("ttft_ns", "no_cache_ttft_ns"))
    assert found["mean"]["ttft_ms"] == pytest.approx(sum(on) / len(on) / 1e6)
    assert found["mean"]["saved_share"] == pytest.approx((sum(off) - sum(on)) / sum(off))
    for name, share in (("median", "1/2"), ("90%", "9/10"), ("99%", "99/100")):
        assert found[name]["ttft_ms"] == rank(on, share) / 1e6
        assert found[name]["no_cache_ttft_ms"] == rank(off, share) / 1e6


def test_waits_over_the_run_leave_out_a_cut_window(database):
    rows = objects(database, "waits_over_time")
    width = rows[0]["to_s"] - rows[0]["from_s"]
    last_s = max(row["arrival_ns"] for row in DONE) / 1e9
    assert all(row["to_s"] <= last_s for row in rows)
    assert 3 <= len({row["from_s"] for row in rows}) <= 48
    for row in rows:
        inside = [
            one for one in DONE if one["arrival_ns"] // int(width * 1e9) == row["from_s"] / width
        ]
        name = "ttft_ns" if row["side"] == "with cache" else "no_cache_ttft_ns"
        values = [one[name] for one in inside if one in PAIRED or name == "ttft_ns"]
        share = "1/2" if row["statistic"] == "median" else "9/10"
        assert row["ms"] == rank(values, share) / 1e6
        assert row["requests"] == len(inside)
    requests = sum(row["requests"] for row in rows if row["statistic"] == "median") / 2
    assert requests / len({row["from_s"] for row in rows}) >= 100


def test_causes_over_the_run_are_stacked_without_gaps(database):
    rows = objects(database, "causes_over_time")
    width_s = rows[0]["to_s"] - rows[0]["from_s"]
    tops = defaultdict(float)
    for row in rows:
        assert row["low"] == pytest.approx(tops[row["from_s"]])
        assert row["high"] - row["low"] == pytest.approx(row["tokens"] / width_s)
        tops[row["from_s"]] = row["high"]
        inside = [one for one in DONE if row["from_s"] <= one["arrival_ns"] / 1e9 < row["to_s"]]
        assert row["tokens"] == sum(map(COLUMN_OF[row["part"]], inside))


SIZES = {"1": (1, 1), "2": (2, 2), "3-4": (3, 4), "5-8": (5, 8), "9+": (9, 10**9)}
LENGTHS = {"<1k": (1, 999), "1-2k": (1000, 1999), "2-4k": (2000, 3999), "4-8k": (4000, 7999),
           "8-16k": (8000, 15_999), "16k+": (16_000, 10**9)}  # fmt: skip


def check_groups(rows, label, group_of):
    members = defaultdict(list)
    for one in DONE:
        if (group := group_of(one)) is not None:
            members[group].append(one)
    assert {row[label] for row in rows} == set(members)
    for row in rows:
        inside = members[row[label]]
        tokens = sum(map(COLUMN_OF[row["part"]], inside))
        assert row["requests"] == len(inside)
        assert row["tokens"] == tokens
        assert row["token_share"] == pytest.approx(
            tokens / sum(one["input_tokens"] for one in inside)
        )
    return list(dict.fromkeys(row[label] for row in rows))


def between(ranges, number):
    return next(name for name, (low, high) in ranges.items() if low <= number <= high)


def test_groups_by_turn(database):
    def turn(row):
        return None if row["turn"] is None else "6+" if row["turn"] >= 5 else str(row["turn"] + 1)

    order = check_groups(objects(database, "turns"), "turn", turn)
    assert order == ["1", "2", "3", "4", "5", "6+"]


def test_groups_by_length_of_the_session(database):
    counts = defaultdict(int)
    for row in ROWS:
        counts[row["session_id"]] += 1

    def size(row):
        return None if row["session_id"] is None else between(SIZES, counts[row["session_id"]])

    order = check_groups(objects(database, "session_lengths"), "session_requests", size)
    assert order == ["1", "2", "3-4", "5-8", "9+"]


def test_groups_by_length_of_the_prompt(tmp_path):
    rows = [
        {
            **row, "input_tokens": 40 * row["input_tokens"],
            "cold_tokens": 39 * row["input_tokens"] + row["cold_tokens"],
        }
        for row in run_fixture.request_rows()
    ]  # fmt: skip
    done = [row for row in rows if row["status"] == "completed"]
    with RunDatabase(open_run(run_fixture.write(tmp_path / "run", requests=rows))) as database:
        found = objects(database, "prompt_lengths")
    for row in found:
        inside = [
            one for one in done if between(LENGTHS, one["input_tokens"]) == row["prompt_tokens"]
        ]
        assert row["requests"] == len(inside)
        assert row["tokens"] == sum(map(COLUMN_OF[row["part"]], inside))
    assert list(dict.fromkeys(row["prompt_tokens"] for row in found)) == [
        name
        for name in LENGTHS
        if any(between(LENGTHS, one["input_tokens"]) == name for one in done)
    ]


def test_groups_by_a_column_keep_five_values_and_the_rest(database):
    tokens = defaultdict(int)
    for row in DONE:
        tokens[row["tenant"]] += row["input_tokens"]
    most = sorted(tokens, key=lambda name: (-tokens[name], name))[:5]
    order = check_groups(
        objects(database, "by_tenant"),
        "value",
        lambda row: row["tenant"] if row["tenant"] in most else "others",
    )
    assert order == [*most, "others"]


def test_prefixes_lie_below_their_parents_and_beside_their_siblings(database):
    rows = {row["prefix_id"]: row for row in objects(database, "prefixes")}
    source = {row["prefix_id"]: row for row in run_fixture.prefix_rows()}
    best = sorted(
        (row for row in source.values() if row["requests"] > 1),
        key=lambda row: (-row["hit_tokens"], row["prefix_id"]),
    )[:60]
    assert {row["prefix_id"] for row in best} <= set(rows)
    for number, row in rows.items():
        given = source[number]
        assert row["to_request"] - row["from_request"] == given["requests"]
        size = (given["stop_tokens"] - given["start_tokens"]) * (given["requests"] - 1)
        kept = min(given["hit_tokens"] / size, 1) if size else None
        assert row["kept"] == pytest.approx(kept)
        above = given["parent_prefix_id"]
        siblings = [
            one for one in rows if source[one]["parent_prefix_id"] == above and one != number
        ]
        if above is not None:
            assert row["from_request"] >= rows[above]["from_request"]
        for other in siblings:
            apart = (rows[other]["to_request"] <= row["from_request"]
                     or row["to_request"] <= rows[other]["from_request"])  # fmt: skip
            assert apart, (number, other)


def test_the_engine_is_told_in_at_most_two_hundred_intervals(tmp_path):
    names = [column for column in run_fixture.timeline_rows()[0] if column not in (
        "start_ns", "width_ns", "busy_ns")]  # fmt: skip
    rows = [
        {name: (at * 7 + place) % 50 for place, name in enumerate(names)}
        | {"start_ns": at * 10**9, "width_ns": 10**9, "busy_ns": 0 if at < 3 else 10**9}
        for at in range(500)
    ]
    with RunDatabase(open_run(run_fixture.write(tmp_path / "run", timeline=rows))) as database:
        found = objects(database, "engine")
    assert len(found) == 167
    assert {row["width_s"] for row in found} == {3.0}
    for at, row in enumerate(found):
        inside = rows[3 * at : 3 * at + 3]
        busy = sum(one["busy_ns"] for one in inside)
        assert row["from_s"] == 3.0 * at
        assert row["most_waiting"] == max(one["waiting_max_requests"] for one in inside)
        assert row["preemptions"] == sum(one["preemptions"] for one in inside)
        assert row["evicted_blocks_per_s"] == sum(one["evicted_blocks"] for one in inside) / 3
        if busy:
            assert row["running"] == sum(one["running_request_ns"] for one in inside) / busy
            assert row["held_blocks"] == sum(one["used_block_ns"] for one in inside) / busy
        else:
            assert (row["running"], row["held_blocks"]) == (0, None)


def test_the_curve_is_of_all_requests(database):
    rows = {(row["policy"], row["capacity_blocks"]): row for row in objects(database, "curve")}
    tokens = sum(row["input_tokens"] for row in ROWS)
    for given in run_fixture.curve_rows():
        row = rows[given["policy"], given["capacity_blocks"]]
        assert row["token_hit_rate"] == given["hit_tokens"] / tokens
        assert row["capacity_gib"] == given["capacity_blocks"] * 16 * 131_072 / 2**30


def test_evicted_tokens_by_how_soon_they_were_wanted(database):
    rows = objects(database, "wanted_again")
    lost = [row for row in DONE if row["evicted_ns"] is not None and row["capacity_miss_tokens"]]
    after = [max((row["arrival_ns"] - row["evicted_ns"]) / 1e9, 0) for row in lost]
    assert len(lost) > 20
    assert max(after) > 1
    assert sum(row["tokens"] for row in rows) == sum(row["capacity_miss_tokens"] for row in lost)
    for row in rows:
        inside = [
            one for one, seconds in zip(lost, after, strict=True)
            if row["from_s"] * (1 - 1e-9) <= max(seconds, 1) < row["to_s"] * (1 - 1e-9)
        ]  # fmt: skip
        assert row["tokens"] == sum(map(COLUMN_OF[row["part"]], inside))
    whole = sum(row["capacity_miss_tokens"] for row in lost)
    by_age = sorted(zip(after, (row["capacity_miss_tokens"] for row in lost), strict=True))
    so_far = itertools.accumulate(tokens for _, tokens in by_age)
    half = next(age for (age, _), upto in zip(by_age, so_far, strict=True) if 2 * upto >= whole)
    assert rows[0]["half_within_s"] == pytest.approx(half)


BANDS = {
    "fastest half": (0, 0.5),
    "to 90%": (0.5, 0.9),
    "to 99%": (0.9, 0.99),
    "slowest 1%": (0.99, 1),
}


def test_what_waits_are_made_of(database):
    for side, names, members in (
        ("with cache", ("ttft_ns", "queue_ns", "prefill_ns"), DONE),
        ("without cache", ("no_cache_ttft_ns", "no_cache_queue_ns", "no_cache_prefill_ns"), PAIRED),
    ):
        whole = [row[names[0]] for row in members]
        share = {wait: sum(other <= wait for other in whole) / len(whole) for wait in set(whole)}
        rows = [row for row in objects(database, "waits_made_of") if row["side"] == side]
        for row in rows:
            low, high = BANDS[row["band"]]
            inside = [one for one in members if low < share[one[names[0]]] <= high]
            name = names[1] if row["part"] == "queue" else names[2]
            assert row["requests"] == len(inside)
            assert row["ms"] == pytest.approx(sum(one[name] for one in inside) / len(inside) / 1e6)
        assert {row["part"] for row in rows} == {"queue", "prefill"}  # no overhead anywhere


def test_the_slowest_and_those_that_lost_most(database):
    slowest = sorted(DONE, key=lambda row: (-row["ttft_ns"], row["request_id"]))[:12]
    assert [row["request_id"] for row in objects(database, "slowest")] == [
        row["request_id"] for row in slowest
    ]
    lost = sorted(DONE, key=lambda row: (-row["capacity_miss_tokens"], row["request_id"]))[:12]
    assert [row["request_id"] for row in objects(database, "most_evicted")] == [
        row["request_id"] for row in lost
    ]


def test_how_many_waited_longer(database):
    (row,) = objects(database, "slower")
    slower = [one for one in PAIRED if one["no_cache_ttft_ns"] < one["ttft_ns"]]
    assert row == {"slower": len(slower), "paired": len(PAIRED)}
    assert slower
