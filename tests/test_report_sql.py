"""The shipped reports over the run made by hand: counted again in plain Python, and pinned."""

from __future__ import annotations

import csv
import math
from collections import Counter
from fractions import Fraction

import pytest

from replay.report.db import RunDatabase
from replay.report.library import REPORTS, load_report, report_names, run_report, unmet_need
from replay.report.tables import write_table
from replay.runs.open import open_run
from tests import run_fixture
from tests.run_fixture import BLOCK, request_rows

ROWS = request_rows()
DONE = [row for row in ROWS if row["status"] == "completed"]
PAIRED = [row for row in DONE if row["no_cache_status"] == "completed"]
NAMES = report_names()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with RunDatabase(open_run(run_fixture.write(tmp_path_factory.mktemp("sql") / "run"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = run_fixture.write(
        tmp_path_factory.mktemp("sql") / "run", requests=run_fixture.ended_rows()
    )
    with RunDatabase(open_run(folder)) as opened:
        yield opened


def objects(database, name):
    table = run_report(database, name)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def total(rows, name):
    return sum(row[name] or 0 for row in rows)


def share(rows, name, of="input_tokens"):
    return total(rows, name) / total(rows, of)


def rank(values, quantile):
    """The nearest rank: the smallest value with at least this share of the values up to it."""
    found = sorted(values)
    return found[max(math.ceil(Fraction(quantile) * len(found)) - 1, 0)] if found else None


def rank_ms(rows, name, quantile):
    found = rank([row[name] for row in rows if row[name] is not None], quantile)
    return None if found is None else found / 1e6


def mean_ms(rows, name):
    return sum(row[name] for row in rows) / len(rows) / 1e6


def saving(row):
    return row["no_cache_ttft_ns"] - row["ttft_ns"]


def test_the_fixture_is_a_run_as_the_engine_leaves_one():
    for row in ROWS:
        causes = ("cold", "capacity_miss", "in_flight", "granularity", "policy_miss", "disabled")
        missed = sum(row[f"{cause}_tokens"] for cause in causes)
        assert row["hit_tokens"] + missed == row["input_tokens"]
        assert row["session_hit_tokens"] + row["cross_request_hit_tokens"] == row["hit_tokens"]
    assert {row["status"] for row in ROWS} == {"completed", "rejected", "unfinished"}


def test_summary_counts_requests_by_status(database):
    (row,) = objects(database, "summary")
    counts = (row["requests"], row["completed"], row["rejected"], row["unfinished"])
    assert counts == (30, 26, 2, 2)


@pytest.mark.parametrize(
    "name",
    ["input_tokens", "output_tokens", "hit_tokens", "session_hit_tokens", "preemptions",
     "cross_request_hit_tokens", "cold_tokens", "capacity_miss_tokens", "in_flight_tokens",
     "granularity_tokens", "policy_miss_tokens", "disabled_tokens", "recomputed_tokens"],
)  # fmt: skip
def test_summary_totals_are_those_of_completed_requests(database, name):
    assert objects(database, "summary")[0][name] == total(DONE, name)


def test_summary_causes_and_hits_add_up_to_the_prompts(database):
    (row,) = objects(database, "summary")
    names = (
        "hit", "cold", "capacity_miss", "in_flight", "granularity", "policy_miss", "disabled"
    )  # fmt: skip
    assert sum(row[f"{name}_tokens"] for name in names) == row["input_tokens"]


def test_summary_hit_rates_follow_their_definitions(database):
    (row,) = objects(database, "summary")
    full_blocks = sum(done["input_tokens"] // BLOCK for done in DONE)
    mean = sum(done["hit_tokens"] / done["input_tokens"] for done in DONE) / len(DONE)
    saved = total(DONE, "hit_tokens") - total(DONE, "recomputed_tokens")
    assert row["token_hit_rate"] == pytest.approx(share(DONE, "hit_tokens"), abs=1e-12)
    assert row["block_hit_rate"] == share(DONE, "hit_blocks", "input_blocks")
    assert row["full_block_hit_rate"] == total(DONE, "full_hit_blocks") / full_blocks
    assert row["request_hit_rate"] == sum(done["hit_tokens"] > 0 for done in DONE) / len(DONE)
    assert row["mean_request_token_hit_rate"] == pytest.approx(mean, abs=1e-9)
    assert row["prefill_reduction"] == saved / total(DONE, "input_tokens")


def test_summary_latencies_are_means_and_nearest_ranks(database):
    (row,) = objects(database, "summary")
    assert row["ttft_mean_ms"] == pytest.approx(mean_ms(DONE, "ttft_ns"))
    for percent in (50, 90, 99):
        expected = rank_ms(DONE, "ttft_ns", f"{percent}/100")
        assert row[f"ttft_p{percent}_ms"] == expected
    assert row["queue_mean_ms"] == pytest.approx(mean_ms(DONE, "queue_ns"))
    assert row["e2e_p50_ms"] == rank_ms(DONE, "e2e_ns", "1/2")
    assert row["e2e_p99_ms"] == rank_ms(DONE, "e2e_ns", "99/100")


def test_summary_itl_weighs_every_gap_between_tokens_alike(database):
    several = [row for row in DONE if row["output_tokens"] > 1]
    gaps = [row["itl_mean_ns"] for row in several for _ in range(row["output_tokens"] - 1)]
    (row,) = objects(database, "summary")
    assert row["itl_mean_ms"] == pytest.approx(sum(gaps) / len(gaps) / 1e6)


def test_summary_throughput_runs_from_first_arrival_to_last_token(database):
    until = max(row["arrival_ns"] + row["e2e_ns"] for row in DONE)
    since = min(row["arrival_ns"] for row in DONE)
    (row,) = objects(database, "summary")
    expected = total(DONE, "output_tokens") / ((until - since) / 1e9)
    assert row["output_tokens_per_s"] == pytest.approx(expected)


def test_summary_throughput_begins_with_the_first_completed_request(tmp_path):
    rows = run_fixture.request_rows()
    first = [row | {"status": "rejected"} if row["arrival_ns"] < 10**9 else row for row in rows]
    done = [row for row in first if row["status"] == "completed"]
    since = min(row["arrival_ns"] for row in done)
    assert since > 0
    until = max(row["arrival_ns"] + row["e2e_ns"] for row in done)
    with RunDatabase(open_run(run_fixture.write(tmp_path / "run", requests=first))) as database:
        (row,) = objects(database, "summary")
    expected = total(done, "output_tokens") / ((until - since) / 1e9)
    assert row["output_tokens_per_s"] == pytest.approx(expected)


def test_summary_savings_compare_each_request_with_itself(database):
    (row,) = objects(database, "summary")
    assert row["paired_requests"] == len(PAIRED) == 25
    assert row["no_cache_ttft_mean_ms"] == pytest.approx(mean_ms(PAIRED, "no_cache_ttft_ns"))
    assert row["no_cache_ttft_p90_ms"] == rank_ms(PAIRED, "no_cache_ttft_ns", "9/10")
    savings = [saving(one) for one in PAIRED]
    assert row["ttft_saving_mean_ms"] == pytest.approx(sum(savings) / len(savings) / 1e6)
    assert row["ttft_saving"] == sum(savings) / total(PAIRED, "no_cache_ttft_ns")
    assert min(savings) < 0  # one that got slower counts against the rest


def test_hit_rate_windows_are_equally_wide_and_hold_their_requests(database):
    windows = [row for row in objects(database, "hit_rate") if row["slice"] == "window"]
    width_ns = 500_000_000  # the narrowest that covers 7.29 s in two dozen
    expected: dict[int, list[dict]] = {}
    for row in DONE:
        expected.setdefault(row["arrival_ns"] // width_ns, []).append(row)
    assert windows[0]["bucket"] == "0:00:00.000-0:00:00.500"
    assert [row["requests"] for row in windows] == [len(expected[at]) for at in sorted(expected)]
    for window, at in zip(windows, sorted(expected), strict=True):
        assert window["token_hit_rate"] == share(expected[at], "hit_tokens")
        assert window["capacity_miss_share"] == share(expected[at], "capacity_miss_tokens")


def test_hit_rate_has_at_most_two_dozen_windows(tmp_path):
    rows = run_fixture.request_rows()
    rows = [rows[0], {**rows[1], "arrival_ns": 12_200_000_000, "status": "completed"}]
    with RunDatabase(open_run(run_fixture.write(tmp_path / "run", requests=rows))) as database:
        windows = [row for row in objects(database, "hit_rate") if row["slice"] == "window"]
    assert [row["bucket"] for row in windows] == ["0:00:00-0:00:01", "0:00:12-0:00:13"]


def test_hit_rate_by_turn_gathers_late_turns(database):
    turns = [row for row in objects(database, "hit_rate") if row["slice"] == "turn"]
    assert [row["bucket"] for row in turns] == [*map(str, range(10)), "10+"]
    for row in turns:
        wanted = range(10, 100) if row["bucket"] == "10+" else [int(row["bucket"])]
        found = [one for one in DONE if one["turn"] in wanted]
        assert row["requests"] == len(found)
        assert row["session_hit_share"] == share(found, "session_hit_tokens")


def test_prefix_caching_counts_events_and_tells_paired_savings(database):
    (row,) = objects(database, "prefix_caching")
    events = Counter(done["prefix_cache_event"] for done in DONE)
    assert row["conversational_hits"] == events["CONVERSATIONAL_HIT"]
    assert row["cross_request_hits"] == events["CROSS_REQUEST_HIT"]
    assert row["full_hits"] == events["FULL_HIT_NO_PREFILL_NEEDED"]
    assert row["misses"] == events["MISS_FULL"]
    assert row["unexpected_prompts"] == events["CONVERSATIONAL_MISS_UNEXPECTED_PROMPT"]
    hits = [done for done in DONE if done["hit_tokens"]]
    assert row["overall_hit_rate"] == len(hits) / len(DONE)
    rates = row["conversational_hit_rate"] + row["cross_request_hit_rate"]
    assert rates == pytest.approx(row["overall_hit_rate"])
    assert row["average_cached_prefix_length"] == total(hits, "hit_tokens") / len(hits)
    saved = total(DONE, "hit_tokens") - total(DONE, "recomputed_tokens")
    assert row["total_tokens_saved"] == saved
    assert row["prefill_reduction_ratio"] == saved / total(DONE, "input_tokens")
    pairs = [one for one in hits if one["no_cache_status"] == "completed"]
    off = total(pairs, "no_cache_ttft_ns")
    assert row["paired_hit_saving"] == pytest.approx((off - total(pairs, "ttft_ns")) / off)
    cut = [done for done in DONE if done["forgotten_tokens"]]
    assert row["truncated_requests"] == len(cut)
    assert row["truncated_token_hit_rate"] == share(cut, "hit_tokens")


def test_hit_rate_shares_of_a_line_add_up_to_one(database):
    names = ("session_hit", "cross_request_hit", "cold", "capacity_miss", "in_flight")
    for row in objects(database, "hit_rate"):
        shares = [
            row[f"{name}_share"] for name in (*names, "granularity", "policy_miss", "disabled")
        ]
        assert sum(shares) == pytest.approx(1)


def test_ttft_by_hit_share_uses_the_quarter_a_hit_ends_in(database):
    slices = [row for row in objects(database, "ttft") if row["slice"] == "hit share"]
    labels = ["0%", "(0-25%]", "(25-50%]", "(50-75%]", "(75-100%]"]
    for row in slices:
        quarter = labels.index(row["bucket"])
        found = [
            one for one in DONE
            if math.ceil(Fraction(4 * one["hit_tokens"], one["input_tokens"])) == quarter
        ]  # fmt: skip
        pairs = [one for one in found if one in PAIRED]
        assert row["requests"] == len(found)
        assert row["ttft_p90_ms"] == rank_ms(found, "ttft_ns", "9/10")
        assert row["paired_requests"] == len(pairs)
        savings = [saving(one) for one in pairs]
        assert row["saving_mean_ms"] == pytest.approx(sum(savings) / len(savings) / 1e6)
        assert row["saving_p50_ms"] == rank(savings, "1/2") / 1e6
        assert row["saving_share"] == sum(savings) / total(pairs, "no_cache_ttft_ns")
    assert sum(row["requests"] for row in slices) == len(DONE)


def test_ttft_over_all_agrees_with_the_summary(database):
    (summary,) = objects(database, "summary")
    overall = objects(database, "ttft")[0]
    assert (overall["slice"], overall["requests"]) == ("all", summary["completed"])
    for name in ("ttft_p50_ms", "ttft_p99_ms", "no_cache_ttft_p90_ms", "paired_requests"):
        assert overall[name] == summary[name]
    assert overall["saving_share"] == summary["ttft_saving"]


def test_sessions_are_counted_by_all_their_requests_and_judged_by_completed_ones(database):
    sizes = {"1": [0], "2": [1], "3-4": [2], "5-8": [3], "9-16": [4]}
    rows = objects(database, "sessions")
    assert [row["turns"] for row in rows] == list(sizes)
    for row in rows:
        found = [one for one in DONE if one["session_id"] in sizes[row["turns"]]]
        later = [one for one in found if one["turn"] > 0]
        pairs = [one for one in found if one in PAIRED]
        assert (row["sessions"], row["requests"]) == (1, len(found))
        assert row["input_tokens"] == total(found, "input_tokens")
        assert row["token_hit_rate"] == share(found, "hit_tokens")
        follow_up = share(later, "hit_tokens") if later else None
        assert row["follow_up_token_hit_rate"] == follow_up
        assert row["follow_up_ttft_p50_ms"] == rank_ms(later, "ttft_ns", "1/2")
        assert row["first_ttft_p50_ms"] == rank_ms(
            [one for one in found if one["turn"] == 0], "ttft_ns", "1/2"
        )
        saved = sum(map(saving, pairs)) / total(pairs, "no_cache_ttft_ns")
        assert row["saving_share"] == saved


def test_prefixes_are_the_twenty_that_saved_most(database):
    shared = [
        row for row in run_fixture.prefix_rows() if row["requests"] > 1 and row["hit_tokens"] > 0
    ]
    shared.sort(key=lambda row: (-row["hit_tokens"], row["prefix_id"]))
    found = objects(database, "prefixes")
    assert [row["prefix_id"] for row in found] == [row["prefix_id"] for row in shared[:20]]
    assert found[0]["hit_share"] == shared[0]["hit_tokens"] / total(ROWS, "hit_tokens")
    assert found[0]["last_block_id"] > 2**63


@pytest.mark.parametrize("name", NAMES)
def test_a_report_gives_the_rows_it_is_known_to_give(database, ended, name, tmp_path):
    of = ended if name == "memory" else database
    write_table(of.query(load_report(name).sql), "csv", tmp_path / "found.csv")
    found = list(csv.reader((tmp_path / "found.csv").read_text().splitlines()))
    expected = (run_fixture.EXPECTED / f"{name}.csv").read_text().splitlines()
    assert found == list(csv.reader(expected))


@pytest.mark.parametrize("report", REPORTS, ids=NAMES)
def test_a_header_documents_exactly_the_columns_and_types(database, report):
    result = database.query(report.sql)
    documented = [(column.name, column.type) for column in report.columns]
    assert documented == list(zip(result.columns, result.types, strict=True))


@pytest.mark.parametrize("report", REPORTS, ids=NAMES)
def test_every_line_of_the_column_list_is_a_column(report):
    listed = report.sql.split("-- Columns:\n")[1].split("\n--\n")[0].splitlines()
    assert len(report.columns) == len(listed)
    assert all(column.meaning for column in report.columns)


@pytest.mark.parametrize("report", REPORTS, ids=NAMES)
def test_the_example_of_a_header_runs(ended, report):
    assert ended.query(report.example_sql).table().rows


def test_what_is_of_all_requests_is_not_said_of_a_run_that_stopped_early(database, ended):
    assert not objects(database, "memory")
    assert "the run stopped before all requests ended" in unmet_need(database, "memory")
    assert unmet_need(ended, "memory") is None


@pytest.mark.parametrize("report", REPORTS, ids=NAMES)
def test_lines_are_shorter_than_eighty_columns(report):
    assert max(map(len, report.sql.splitlines())) < 80


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_changes_nothing(tmp_path, name):
    folder = run_fixture.write(tmp_path / "run")
    found = []
    for threads in (1, 2):
        with RunDatabase(open_run(folder), threads=threads) as database:
            found.append(run_report(database, name).rows)
    assert found[0] == found[1]


def nothing_completed():
    rows = request_rows()
    gone = [name for name in rows[0] if name.endswith("_ns") and name != "arrival_ns"]
    return [{**row, **dict.fromkeys(gone), "status": "rejected"} for row in rows]


# Names that a trace may bring and that reports use inside.
TAKEN = (
    "slice", "bucket", "position", "width_ns", "span_ns", "quarter", "turn_bucket", "no_cache_ns",
    "saving_ns", "ttft_saving_ns", "size", "turns", "sessions", "run", "requests", "completed",
    "lengths", "chosen", "ns", "part", "whole", "slice_order", "block_size", "time_window", "COLD",
)  # fmt: skip

UNUSUAL = {
    "untimed": lambda folder: run_fixture.write_untimed(folder),
    "nothing completed": lambda folder: run_fixture.write(folder, requests=nothing_completed()),
    "no requests": lambda folder: run_fixture.write(folder, requests=[], timeline=[], prefixes=[]),
    "no sessions": lambda folder: run_fixture.write(
        folder,
        requests=[{**row, "session_id": None, "turn": None} for row in request_rows()],
        prefixes=[{**row, "sessions": None} for row in run_fixture.prefix_rows()],
    ),
    "no prefixes": lambda folder: run_fixture.write(folder, prefixes=[]),
    "only requests": lambda folder: run_fixture.write_untimed(folder, prefixes=None),
    "one request": lambda folder: run_fixture.write(folder, requests=request_rows()[:1]),
    "names the reports use": lambda folder: run_fixture.write(
        folder,
        requests=[
            row | dict.fromkeys(TAKEN, "x")
            for row in request_rows()
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", UNUSUAL)
def test_every_report_works_on_an_unusual_run(tmp_path, kind, name):
    folder = UNUSUAL[kind](tmp_path / "run")
    with RunDatabase(open_run(folder)) as database:
        table = run_report(database, name)
        assert table.columns == tuple(column.name for column in load_report(name).columns)
        assert bool(table.rows) or name != "summary"
        if unmet_need(database, name):
            assert not table.rows


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_the_source_change_no_report(tmp_path, database, name):
    folder = UNUSUAL["names the reports use"](tmp_path / "run")
    with RunDatabase(open_run(folder)) as other:
        assert run_report(other, name).rows == run_report(database, name).rows


def test_requests_without_a_session_are_in_no_turn(tmp_path):
    with RunDatabase(open_run(UNUSUAL["no sessions"](tmp_path / "run"))) as database:
        assert {row["slice"] for row in objects(database, "hit_rate")} == {"window"}
        assert {row["slice"] for row in objects(database, "ttft")} == {"all", "hit share"}


def test_rates_of_nothing_are_null(tmp_path):
    with RunDatabase(open_run(UNUSUAL["nothing completed"](tmp_path / "run"))) as database:
        (row,) = objects(database, "summary")
    assert (row["completed"], row["input_tokens"], row["hit_tokens"]) == (0, 0, 0)
    assert row["token_hit_rate"] is None
    assert row["ttft_p50_ms"] is None


def test_an_untimed_run_has_rates_and_no_latencies(tmp_path, database):
    with RunDatabase(open_run(run_fixture.write_untimed(tmp_path / "run"))) as untimed:
        (row,) = objects(untimed, "summary")
    assert row["token_hit_rate"] == objects(database, "summary")[0]["token_hit_rate"]
    assert row["ttft_mean_ms"] is row["no_cache_overloaded"] is None
    assert row["overloaded"] is False
    assert row["paired_requests"] == 0
