"""A run as time series: the format's rules, and the same numbers as in the tables."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from datetime import datetime
from fractions import Fraction

import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.report.export.metrics import COUNTERS, GAUGES, HISTOGRAMS
from replay.report.export.targets import DASHBOARD
from tests import run_fixture

LINE = re.compile(r'([a-zA-Z_:]\w*(?::\w+)*)\{((?:\w+="(?:[^"\\\n]|\\.)*",?)*)\} (\S+) (\S+)')
SUFFIXES = {
    "counter": ("_total",), "gauge": ("",), "info": ("_info",),
    "histogram": ("_bucket", "_count", "_sum"),
}  # fmt: skip
START = 1_767_225_600  # 2026-01-01


def parse(text):
    """Return {family: (type, {(sample, labels): [(time, value)]})}; checks the format's rules."""
    families, name, type = {}, None, None
    *lines, last = text.splitlines()
    assert last == "# EOF"
    assert text.endswith("\n")
    for line in lines:
        if line.startswith("# TYPE "):
            _, _, name, type = line.split(" ", 3)
            assert name not in families, f"{name} stands in two places"
            families[name] = (type, defaultdict(list))
        elif line.startswith("# UNIT "):
            assert line.split(" ")[2:] == [name, name.rpartition("_")[2]]
        elif line.startswith("# "):
            assert line.startswith(f"# HELP {name} ")
        else:
            sample, labels, value, at = LINE.fullmatch(line).groups()
            assert sample in [name + suffix for suffix in SUFFIXES[type]], line
            points = families[name][1][sample, labels]
            assert not points or points[-1][0] < Fraction(at), line
            points.append((Fraction(at), Fraction(value)))
    return families


def series(families, sample, **labels):
    """Return the points of the one series of a sample with these labels."""
    found = [
        points
        for _, all_series in families.values()
        for (name, text), points in all_series.items()
        if name == sample
        and all(f'{key}="{value}"' in text.split(",") for key, value in labels.items())
    ]
    (points,) = found
    return points


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_fixture.write(tmp_path_factory.mktemp("run") / "run")


def export(run, tmp_path, *options):
    path = tmp_path / "run.om"
    arguments = ["export", str(run), "-o", str(path), "--start", "2026-01-01", *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return parse(path.read_text())


@pytest.fixture(scope="module")
def families(run, tmp_path_factory):
    return export(run, tmp_path_factory.mktemp("made"), "--step", "1s")


def done():
    return [row for row in run_fixture.request_rows() if row["status"] == "completed"]


def test_all_metrics_are_there_once(families):
    known = [one.name for one in (*HISTOGRAMS, *COUNTERS, *GAUGES)] + ["vllm:cache_config"]
    assert list(families) == known


def test_a_histogram_counts_every_request_in_every_bucket(families):
    for le in ("0.02", "0.04", "0.1", "+Inf"):
        points = series(families, "vllm:time_to_first_token_seconds_bucket", le=le)
        for tick, (at, count) in enumerate(points):
            assert at == START + tick
            expected = [
                row
                for row in done()
                if row["arrival_ns"] + row["ttft_ns"] <= tick * 10**9
                and row["ttft_ns"] <= float(le) * 1e9
            ]
            assert count == len(expected)
    total = series(families, "vllm:time_to_first_token_seconds_sum")[-1][1]
    assert total * 10**9 == sum(row["ttft_ns"] for row in done())


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_buckets_hold_those_before_them_and_the_last_is_the_count(metric, families):
    names = [*map(repr, metric.buckets), "+Inf"]
    rows = [series(families, f"{metric.name}_bucket", le=le) for le in names]
    for at, column in enumerate(zip(*rows, strict=True)):
        counts = [count for _, count in column]
        assert counts == sorted(counts)
        assert counts[-1] == series(families, f"{metric.name}_count")[at][1]
    assert rows[-1][-1][1] > 0


def test_the_parts_of_a_request_add_up(families):
    def total(name):
        return series(families, f"vllm:{name}_seconds_sum")[-1][1] * 10**9

    assert total("request_inference_time") == total("request_prefill_time") + total(
        "request_decode_time"
    )
    assert total("e2e_request_latency") == sum(row["e2e_ns"] for row in done())
    with_pair = [row["no_cache_ttft_ns"] for row in done() if row["no_cache_status"] == "completed"]
    points = series(families, "replay:no_cache_time_to_first_token_seconds_sum")
    assert points[-1][1] * 10**9 == sum(with_pair)


def test_counters_end_at_what_the_tables_add_up_to(families):
    def end(name, **labels):
        return series(families, f"{name}_total", **labels)[-1][1]

    rows = done()
    assert end("vllm:prefix_cache_queries") == sum(row["input_tokens"] for row in rows)
    assert end("vllm:prefix_cache_hits") == sum(row["hit_tokens"] for row in rows)
    computed = end("vllm:prompt_tokens_by_source", source="local_compute")
    assert computed == sum(row["input_tokens"] - row["hit_tokens"] for row in rows)
    assert end("replay:prompt_tokens_missed", cause="cold") == sum(r["cold_tokens"] for r in rows)
    assert end("vllm:request_success", finished_reason="replayed") == len(rows)
    decoded = sum(one["decode_tokens"] for one in run_fixture.timeline_rows())
    first = sum(row["ttft_ns"] is not None for row in run_fixture.request_rows())
    assert end("vllm:generation_tokens") == decoded + first


def test_counters_never_fall_and_start_at_nothing(families):
    for type, all_series in families.values():
        for points in all_series.values() if type in ("counter", "histogram") else ():
            values = [value for _, value in points]
            assert values == sorted(values)
            assert values[0] == 0


def test_gauges_are_means_over_the_steps_of_an_interval(families):
    points = dict(series(families, "vllm:num_requests_running"))
    used = dict(series(families, "vllm:kv_cache_usage_perc"))
    for one in run_fixture.timeline_rows():
        at = START + (one["start_ns"] + one["width_ns"]) // 10**9
        assert float(points[at]) == one["running_request_ns"] / one["busy_ns"]
        assert float(used[at]) == pytest.approx(one["used_block_ns"] / one["busy_ns"] / 100)
    assert points[START] == 0
    idle = series(families, "replay:kv_cache_idle_perc")
    assert [at for at, _ in idle] == [START + 1, START + 2, START + 3]


def test_a_run_without_a_clock_has_counters_alone(tmp_path):
    run = run_fixture.write_untimed(tmp_path / "run")
    found = export(run, tmp_path, "--step", "1s")
    assert not [name for name in found if name.endswith("_seconds")]
    assert "vllm:num_requests_running" not in found
    hits = series(found, "vllm:prefix_cache_hits_total")
    assert hits[-1][1] == sum(row["hit_tokens"] for row in done())
    tokens = series(found, "vllm:generation_tokens_total")
    assert tokens[-1][1] == sum(row["output_tokens"] for row in done())


def test_the_default_clock_ends_when_the_run_was_made(run, tmp_path):
    path = tmp_path / "run.om.gz"
    result = CliRunner().invoke(main, ["export", str(run), "-o", str(path)])
    assert result.exit_code == 0
    found = parse(gzip.decompress(path.read_bytes()).decode())
    times = [at for at, _ in series(found, "vllm:cache_config_info")]
    assert times[1] - times[0] == 15
    made = json.loads((run / "manifest.json").read_text())["created_at"]
    assert times[-1] == int(datetime.fromisoformat(made).timestamp())


def test_a_step_that_makes_too_many_samples_is_refused(run, tmp_path):
    arguments = ["export", str(run), "-o", str(tmp_path / "a.om"), "--step", "1us"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, "samples of each series" in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_names_are_escaped(tmp_path):
    run = run_fixture.write(tmp_path / 'a "run" \\ b')
    found = export(run, tmp_path)
    labels = next(text for _, text in found["vllm:prompt_tokens"][1])
    assert r'run="a \"run\" \\ b"' in labels


def test_the_dashboard_shows_metrics_that_are_exported(run, families, tmp_path):
    target = tmp_path / "grafana.json"
    export(run, tmp_path, "--dashboard", str(target))
    assert target.read_bytes() == DASHBOARD.read_bytes()
    board = json.loads(target.read_text())
    names = {sample for _, all_series in families.values() for sample, _ in all_series}
    shown = set()
    for panel in board["panels"]:
        for query in panel["targets"]:
            found = set(re.findall(r"(?:vllm|replay):\w+", query["expr"]))
            assert found
            assert found <= names, query["expr"]
            shown |= found
    labels = re.findall(r"label_values\(([\w:]+), (\w+)\)", json.dumps(board["templating"]))
    assert labels == [("vllm:prefix_cache_queries_total", "run")]
    unseen = {one.name for one in (*COUNTERS, *GAUGES)} - {
        name.removesuffix("_total") for name in shown
    }
    assert unseen == {"vllm:prompt_tokens", "vllm:prompt_tokens_cached"}  # in by_source
