"""A run as a timeline: each request once, no overlap, counters and evictions as in the run."""

from __future__ import annotations

import itertools
import shutil

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.cli import main
from replay.report.export.lanes import lanes
from tests import run_fixture
from tests.run_fixture import MS
from tests.trace_events import read_timeline, slice_at

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=40)
PARTS = ("queue", "prefill", "decode", "overhead", "waiting or in prefill")


@settings(max_examples=200)
@given(SPANS)
def test_no_two_spans_of_a_lane_overlap_and_there_is_no_lane_too_many(drawn):
    spans = sorted((start, start + length) for start, length in drawn)
    found = lanes(spans).tolist()
    for lane in set(found):
        mine = [span for span, at in zip(spans, found, strict=True) if at == lane]
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(mine))
    most = max((sum(a <= t < max(b, a + 1) for a, b in spans) for t in range(60)), default=0)
    assert len(set(found)) <= most
    assert set(found) == set(range(len(set(found))))


def rows():
    """Return the requests of the fixture, with overhead, evicted while their evictor is there."""
    found = run_fixture.request_rows()
    for row in found:
        if row["ttft_ns"] is not None:
            row["overhead_ns"] = 2 * MS
            row["ttft_ns"] += 2 * MS
        if row["e2e_ns"] is not None:
            row["e2e_ns"] += 2 * MS
    for row in found:
        if row["evicted_by_request_id"] is not None:
            by = found[row["evicted_by_request_id"]]
            row["evicted_ns"] = by["arrival_ns"] + (by["queue_ns"] or 0) + 1
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_fixture.write(tmp_path_factory.mktemp("run") / "run", requests=rows())


def export(run, output, *options):
    arguments = ["export", str(run), "-o", str(output), *options]
    return CliRunner().invoke(main, arguments)


def timeline(run, tmp_path, *options, name="t.json"):
    result = export(run, tmp_path / name, *options)
    assert result.exit_code == 0, result.output
    return read_timeline(tmp_path / name)


def test_every_request_is_drawn_once_for_as_long_as_it_is_there(run, tmp_path):
    drawn = {one.args["request_id"]: one for one in timeline(run, tmp_path).slices}
    end_ns = run_fixture.manifest()["totals"]["end_ns"]
    for row in rows():
        one = drawn.pop(row["request_id"], None)
        if row["status"] == "rejected":
            assert one is None
            continue
        start = row["arrival_ns"] // 1000
        last = row["arrival_ns"] + row["e2e_ns"] if row["e2e_ns"] else end_ns
        assert (one.start, one.end) == (start, max(last // 1000, start))
        assert one.args["hit_tokens"] == row["hit_tokens"]
        assert one.args.get("ttft_ns") == row["ttft_ns"]
    assert drawn == {}


def test_requests_that_had_not_arrived_when_the_run_stopped_are_not_drawn(tmp_path):
    end_ns = run_fixture.manifest()["totals"]["end_ns"]
    late = [row | {"arrival_ns": end_ns + 1} if row["request_id"] == 29 else row for row in rows()]
    run = run_fixture.write(tmp_path / "run", requests=late)
    drawn = {one.args["request_id"] for one in timeline(run, tmp_path).slices}
    assert 28 in drawn
    assert 29 not in drawn


def test_the_parts_of_a_request_fill_it_in_order(run, tmp_path):
    by_id = {row["request_id"]: row for row in rows()}
    for one in timeline(run, tmp_path).slices:
        parts = sorted(one.children, key=lambda part: part.start)
        assert [part.name for part in parts] == [n for n in PARTS if n in {p.name for p in parts}]
        assert parts[0].start == one.start
        assert parts[-1].end == one.end
        assert all(a.end == b.start for a, b in itertools.pairwise(parts))
        row, took = by_id[one.args["request_id"]], {p.name: p.end - p.start for p in parts}
        if row["queue_ns"] is not None:
            assert abs(took.get("queue", 0) * 1000 - row["queue_ns"]) <= 1000
            assert abs(took["prefill"] * 1000 - row["prefill_ns"]) <= 1000
        if row["status"] == "completed":
            assert took["overhead"] == 2000


def test_counters_are_the_means_of_the_intervals_and_end_at_nothing(run, tmp_path):
    counters = timeline(run, tmp_path).counters
    intervals = run_fixture.timeline_rows()
    names = {
        "requests running": "running_request_ns",
        "requests waiting": "waiting_request_ns",
        "KV blocks in use": "used_block_ns",
        "KV blocks cached and idle": "cached_block_ns",
    }
    for name, column in names.items():
        *points, last = counters[name]
        assert points == [
            (one["start_ns"] // 1000, one[column] / one["busy_ns"]) for one in intervals
        ]
        assert last == (3_000_000, 0)
    assert [v for _, v in counters["KV blocks evicted/s"]][:3] == [
        one["evicted_blocks"] for one in intervals
    ]


def test_an_interval_without_a_step_shows_nothing_running_and_keeps_what_is_cached(tmp_path):
    idle = run_fixture.timeline_rows()
    idle[1] |= dict.fromkeys([name for name in idle[1] if name not in ("start_ns", "width_ns")], 0)
    run = run_fixture.write(tmp_path / "run", timeline=idle)
    counters = timeline(run, tmp_path).counters
    assert counters["requests running"][1] == (1_000_000, 0)
    assert [at for at, _ in counters["KV blocks cached and idle"]] == [0, 2_000_000, 3_000_000]


def test_an_arrow_leads_from_who_evicted_to_who_missed(run, tmp_path):
    found = timeline(run, tmp_path)
    known = {row["request_id"]: row for row in rows() if row["evicted_ns"] is not None}
    told = {one["args"]["wanted_by_request_id"]: one for one in found.instants}
    shown = {one.args["request_id"] for one in found.slices}
    assert set(told) == set(known) & shown
    assert found.flows
    for request, ends in found.flows.items():
        by = known[request]["evicted_by_request_id"]
        start = next(end for end in ends if end["ph"] == "s")
        end = next(end for end in ends if end["ph"] == "f")
        assert slice_at(found, start).args["request_id"] == by
        assert slice_at(found, end).args["request_id"] == request
    expected = {r for r in told if known[r]["evicted_by_request_id"] in shown}
    assert set(found.flows) == expected


def test_a_window_shows_what_is_there_in_it(run, tmp_path):
    found = timeline(run, tmp_path, "--window", "1s..2s")
    spans = [(row["arrival_ns"], row["arrival_ns"] + row["e2e_ns"], row["request_id"])
             for row in rows() if row["e2e_ns"]]  # fmt: skip
    wanted = {at for start, end, at in spans if end >= 10**9 and start < 2 * 10**9}
    assert {one.args["request_id"] for one in found.slices} == wanted
    first, last = min(o.start for o in found.slices), max(o.end for o in found.slices)
    *points, _end = found.counters["requests running"]
    assert all(at + 10**6 > first and at <= last for at, _ in points)


def test_a_limit_takes_the_first_and_says_so(run, tmp_path):
    result = export(run, tmp_path / "t.json", "--limit", "5")
    assert "first of 28 in the window" in result.output
    found = read_timeline(tmp_path / "t.json")
    assert sorted(one.args["request_id"] for one in found.slices) == [0, 1, 2, 3, 4]


def test_a_compressed_file_is_the_same_each_time(run, tmp_path):
    plain = timeline(run, tmp_path)
    assert timeline(run, tmp_path, name="a.json.gz") == plain
    timeline(run, tmp_path, name="b.json.gz")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_what_must_be_read_first_is_in_the_file(tmp_path):
    run = run_fixture.write(tmp_path / "run", run_fixture.overloaded_manifest())
    about = timeline(run, tmp_path).about
    assert about["warnings"][0].startswith("OVERLOADED")
    assert "responses are unknown" in about["notes"]


def test_columns_of_the_trace_are_carried_whatever_they_are_called(tmp_path):
    odd = [
        row | {"export_start_us": float("nan"), "export_end_ns": 7, "name": "x"} for row in rows()
    ]
    run = run_fixture.write(tmp_path / "run", requests=odd)
    found = timeline(run, tmp_path)
    assert found.slices[0].args["name"] == "x"
    assert found.slices[0].start == 0


def test_an_untimed_run_has_no_timeline(tmp_path):
    run = run_fixture.write_untimed(tmp_path / "run")
    result = export(run, tmp_path / "t.json")
    assert result.exit_code == 2
    assert "untimed" in result.output
    assert not (tmp_path / "t.json").exists()


def test_a_window_after_the_end_is_refused(run, tmp_path):
    result = export(run, tmp_path / "t.json", "--window", "1h..2h")
    assert (result.exit_code, (tmp_path / "t.json").exists()) == (2, False)
    assert "the run ends at" in result.output


def test_perfettos_own_trace_processor_reads_what_was_written(run, tmp_path):
    processor = pytest.importorskip("perfetto.trace_processor", reason="perfetto is not installed")
    binary = shutil.which("trace_processor_shell")
    if binary is None:
        pytest.skip("no trace_processor_shell on the PATH, and none is fetched from the network")
    found = timeline(run, tmp_path)
    config = processor.TraceProcessorConfig(bin_path=binary)
    with processor.TraceProcessor(trace=str(tmp_path / "t.json"), config=config) as loaded:
        slices = {
            (row.name, row.ts, row.dur) for row in loaded.query("SELECT name, ts, dur FROM slice")
        }
        wanted = {
            (one.name, one.start * 1000, (one.end - one.start) * 1000) for one in found.all_slices()
        }
        assert wanted <= slices
        counted = loaded.query("SELECT count(*) AS n FROM counter")
        assert next(iter(counted)).n == sum(map(len, found.counters.values()))
        lost = loaded.query("SELECT sum(value) AS n FROM stats WHERE severity = 'data_loss'")
        assert next(iter(lost)).n in (0, None)
