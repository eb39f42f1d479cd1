"""Runs side by side: numbers equal to those of a plain twin, verdicts, refusals, rankings."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import replay
from replay.errors import InputError
from replay.report.compare import sentences
from replay.report.compare.compare import Comparison, compare_runs
from replay.report.compare.judge import METRICS, Judge, Metric
from replay.report.compare.names import TABLES
from replay.report.compare.sides import sides_of
from replay.report.tables import Table
from replay.runs.open import open_run
from tests import run_fixture
from tests.naive import compare as naive_compare

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
BAND = 1.08
FITTED = {"backend": "roofline", "prefill_error_p90_percent": 8.0, "decode_error_p90_percent": 5.0}
TIMED = Metric("ttft_mean_ms", "ms", of_time=True)


def rows_of(table: Table) -> list[dict]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def delta_of(found: Comparison) -> dict[str, dict]:
    return {row["metric"]: row for row in rows_of(found.tables["delta"])}


def requests_of(folder: Path) -> list[dict]:
    return pl.read_parquet(folder / "requests.parquet").to_dicts()


def other_rows(seed: int) -> tuple[list[dict], list[dict]]:
    """Return the requests of the fixture twice, the second time with other hits and times."""
    draw = random.Random(seed)
    one, other = run_fixture.request_rows(), run_fixture.request_rows()
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        a["tenant"] = b["tenant"] = None if i % 7 == 6 else f"tenant {i % 17:02}"
        if draw.random() < 0.5 and b["ttft_ns"] is not None:
            b["ttft_ns"] = int(b["ttft_ns"] * draw.choice([0.5, 0.95, 1.0, 1.05, 1.3]))
        if draw.random() < 0.4:
            b["hit_tokens"] = draw.randrange(b["input_tokens"])
        if draw.random() < 0.15:
            b["status"] = "unfinished"
    return one, other


def written(folder: Path, rows: list[dict], **changes: object) -> Path:
    record = run_fixture.manifest(**{"step_times": FITTED, **changes})
    return run_fixture.write(folder, record, requests=rows)


def compared(*folders: Path) -> Comparison:
    return compare_runs([open_run(folder) for folder in folders])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return folders of real runs of one trace: two types of KV, two policies, no time."""
    folder = tmp_path_factory.mktemp("compared")
    trace = replay.load_trace(SAMPLE)
    timed = {"gpu": "h100-sxm", "model": "llama-3.1-8b"}
    radix = {"cache.kind": "radix"}
    made = {
        "bf16": replay.run(trace, **timed),
        "fp8": replay.run(trace, **timed, kv_dtype="fp8"),
        "lru": replay.run(trace, **timed, set=radix, sensitivity=True),
        "slru": replay.run(trace, **timed, set=radix | {"cache.policy": "slru"}, sensitivity=True),
        "cache": replay.run(trace, untimed=True, capacity="5000blocks"),
    }
    return {name: run.save(folder / name) for name, run in made.items()}


def same(found: dict, told: dict, names: list[str] | None = None) -> None:
    """Check that numbers are the same but for how they were rounded, and all else exactly."""
    for name in names or told:
        value = told[name]
        expected = pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
        assert found[name] == expected, name


# --- the same numbers as counted one by one -------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_made_up_runs_equal_their_twin(tmp_path, seed):
    one, other = other_rows(seed)
    found = compared(written(tmp_path / "a", one), written(tmp_path / "b", other))
    check_against_twin(found, one, other)


def test_real_runs_equal_their_twin(runs):
    found = compared(runs["bf16"], runs["fp8"])
    error = open_run(runs["bf16"]).manifest["step_times"]
    band = 1 + max(error[f"{one}_error_p90_percent"] for one in ("prefill", "decode")) / 100
    check_against_twin(found, requests_of(runs["bf16"]), requests_of(runs["fp8"]), band)


def check_against_twin(found, one: list[dict], other: list[dict], band: float = BAND) -> None:
    a, b = naive_compare.completed(one, other)
    told = [naive_compare.metrics(done) for done in (a, b)]
    delta = delta_of(found)
    for name in told[0]:
        if told[0][name] is None:
            assert name not in delta
            continue
        expected = {"a": float(told[0][name]), "b": float(told[1][name])}
        same(delta[name], expected | {"difference": expected["b"] - expected["a"]})
        if name.endswith("_ms"):
            apart = naive_compare.differ(expected["a"], expected["b"], band)
            assert delta[name]["verdict"] == ("stands" if apart else "tie")
    gained = {(row["slice"], row["bucket"]): row for row in rows_of(found.tables["gained"])}
    expected_gained = naive_compare.gained(a, b, band)
    assert gained.keys() == expected_gained.keys()
    for key, row in expected_gained.items():
        same(gained[key], row)
    most = [(row["side"], row["request_id"]) for row in rows_of(found.tables["requests"])]
    assert most == naive_compare.most_changed(a, b, "ttft_ns", 1)


def test_totals_equal_independent_sql(runs):
    """Two policies: what `replay query` finds in each run, subtracted here."""
    sql = (
        "SELECT sum(hit_tokens) / sum(input_tokens) AS rate, avg(ttft_ns) / 1e6 AS ttft, "
        "sum(input_tokens - hit_tokens) AS computed FROM requests WHERE status = 'completed'"
    )
    before, after = (replay.query(runs[name], sql).frame().row(0) for name in ("lru", "slru"))
    delta = delta_of(compared(runs["lru"], runs["slru"]))
    for at, name in enumerate(("token_hit_rate", "ttft_mean_ms", "computed_tokens")):
        assert delta[name]["difference"] == pytest.approx(float(after[at]) - float(before[at]))
    assert delta["token_hit_rate"]["difference"] > 0


def test_all_tables_have_names_that_complete(runs):
    found = list(compared(runs["bf16"], runs["fp8"]).tables)
    assert found == [name for name in found if name in TABLES]
    ranked = compared(runs["bf16"], runs["fp8"], runs["bf16"]).tables
    assert {name for name in ranked if not name.startswith("delta_")} <= set(TABLES)


def test_the_timelines_are_on_one_clock(runs):
    found = compared(runs["bf16"], runs["fp8"])
    intervals = rows_of(found.tables["timeline"])
    width = {row["width_s"] for row in intervals}
    assert len(width) == 1
    for letter, name in (("a", "bf16"), ("b", "fp8")):
        cache = open_run(runs[name]).manifest["cache"]
        rows = pl.read_parquet(runs[name] / "timeline.parquet").to_dicts()
        told = naive_compare.timeline(
            rows, round(width.copy().pop() * 1e9), cache["capacity_blocks"], cache["block_size"]
        )
        mine = [row for row in intervals if row["run"] == letter]
        assert 100 < len(mine) == len(told) <= 201
        for row, expected in zip(mine, told, strict=True):
            same(row, expected)


# --- ties, and what stands ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bf16", "lru", "cache"])
def test_a_run_compared_with_itself_is_all_ties(runs, name):
    found = compared(runs[name], runs[name])
    assert {row["verdict"] for row in rows_of(found.tables["delta"])} == {"tie"}
    assert {row.get("verdict", "tie") for row in rows_of(found.tables["gained"])} == {"tie"}
    assert {row["difference"] for row in rows_of(found.tables["delta"])} == {0.0}
    assert found.tables["requests"].rows == found.tables["differences"].rows == []
    assert found.said == ("Nothing differs: all 2,132 requests came out the same in both.",)


def test_at_the_edges_of_the_error_the_sign_decides(runs):
    """As `replay run --sensitivity` judges caching on against off, run by run of the band."""
    bands = [open_run(runs[name]).manifest["sensitivity"]["runs"] for name in ("lru", "slru")]
    delta = delta_of(compared(runs["lru"], runs["slru"]))
    for name in ("ttft_mean_ms", "ttft_p50_ms", "ttft_p99_ms", "e2e_mean_ms"):
        signs = {
            other["metrics"][name] > one["metrics"][name] for one, other in zip(*bands, strict=True)
        }
        assert delta[name]["verdict"] == ("stands" if len(signs) == 1 else "tie")
    assert delta["token_hit_rate"]["verdict"] == "stands"
    # The difference of 6% is within the 8% of one run: only both at the edges can tell it.
    assert delta["ttft_mean_ms"]["verdict"] == "stands"
    assert delta["ttft_p90_ms"]["verdict"] == "tie"


def judge(tmp_path: Path, one: dict, other: dict) -> Judge:
    rows = run_fixture.request_rows()
    folders = [
        written(tmp_path / name, rows, **changes)
        for name, changes in (("one", one), ("other", other))
    ]
    return Judge(*sides_of([open_run(folder) for folder in folders]))


def test_on_one_gpu_the_larger_error_counts(tmp_path):
    found = judge(tmp_path, {}, {"step_times": FITTED | {"decode_error_p90_percent": 12.0}})
    assert found.verdict(TIMED, 100.0, 111.9) == "tie"
    assert found.verdict(TIMED, 112.1, 100.0) == "stands"


def test_on_two_gpus_the_errors_are_independent(tmp_path):
    gpu = run_fixture.manifest()["gpu"] | {"name": "a100-sxm-80gb"}
    found = judge(tmp_path, {}, {"gpu": gpu})
    assert found.verdict(TIMED, 100.0, 116.6) == "tie"
    assert found.verdict(TIMED, 100.0, 116.7) == "stands"


@pytest.mark.parametrize("times", [{"backend": "table"}, {"backend": "roofline"}])
def test_step_times_of_an_untold_error_are_not_judged(tmp_path, times):
    found = judge(tmp_path, {}, {"step_times": times})
    assert found.verdict(TIMED, 100.0, 900.0) == "unjudged"
    assert found.verdict(TIMED, 100.0, 100.0) == "tie"


def test_waits_of_an_overloaded_run_are_not_judged(tmp_path):
    overload = run_fixture.overloaded_manifest()["overload"]
    one, other = other_rows(1)
    found = compared(
        written(tmp_path / "calm", one), written(tmp_path / "full", other, overload=overload)
    )
    delta = delta_of(found)
    assert {row["verdict"] for name, row in delta.items() if name.endswith("_ms")} == {"overloaded"}
    assert {row["verdict"] for row in rows_of(found.tables["gained"])} <= {None, "tie"}
    assert {row["faster_in_b"] for row in rows_of(found.tables["gained"])} == {None}
    assert any("OVERLOADED" in line and line.startswith("full: ") for line in found.warnings)
    assert "a run is overloaded" in " ".join(found.said)
    assert "have their first token sooner" not in " ".join(found.said)


def test_what_runs_rest_on_is_said_once_or_by_whom(tmp_path):
    rows = run_fixture.request_rows()
    off = "x is uncalibrated: expect step times off by 20%"
    notes = {"notes": ["responses are unknown", "only here", off]}
    found = compared(written(tmp_path / "one", rows), written(tmp_path / "other", rows, **notes))
    assert found.assumed == (
        "the clock of the trace ticks in seconds", "responses are unknown", "other: only here",
    )  # fmt: skip
    assert found.warnings == (f"other: {off}",)


def test_tokens_without_time_are_exact(tmp_path):
    one, other = run_fixture.untimed_rows(), run_fixture.untimed_rows()
    other[1]["hit_tokens"] += 1
    untimed = run_fixture.manifest(mode="untimed", gpu=None, overload=None, no_cache_overload=None)
    folders = [
        run_fixture.write(tmp_path / name, untimed, requests=rows, timeline=None)
        for name, rows in (("one", one), ("other", other))
    ]
    found = compared(*folders)
    delta = delta_of(found)
    assert delta["token_hit_rate"]["verdict"] == "exact"
    assert delta["cold_share"]["verdict"] == "tie"
    assert not [name for name in delta if name.endswith("_ms")]
    assert "timeline" not in found.tables
    assert not [name for name in found.tables["gained"].columns if name.endswith("_ms")]
    most = [(row["side"], row["request_id"]) for row in rows_of(found.tables["requests"])]
    assert most == [("gained", 1)]


# --- what is paired, and what is not --------------------------------------------------------------


def test_two_traces_are_compared_by_quantiles_only(tmp_path):
    one, other = other_rows(3)
    trace = run_fixture.manifest()["trace"] | {"name": "other.jsonl", "sha256": "cd" * 32}
    found = compared(written(tmp_path / "a", one), written(tmp_path / "b", other, trace=trace))
    assert found.why_unpaired == "two traces: trace.jsonl and other.jsonl"
    assert found.left_out[0].startswith("Not paired by request, compared by quantiles: two traces")
    assert not {"delta", "gained", "requests", "ranking"} & set(found.tables)
    assert next(iter(found.tables)) == "quantiles"
    # Here each run's own requests count, also those that did not complete in the other.
    done = [[row for row in rows if row["status"] == "completed"] for rows in (one, other)]
    for row in rows_of(found.tables["quantiles"]):
        name, unit = row["measure"], 1.0
        if name == "request_hit_share":
            values = [[r["hit_tokens"] / r["input_tokens"] for r in rows] for rows in done]
        else:
            field, unit = (name[:-3] + "_ns", 1e6) if name.endswith("_ms") else (name, 1.0)
            values = [[r[field] / unit for r in rows if r[field] is not None] for rows in done]
        told = [naive_compare.quantile(found_, row["quantile"]) for found_ in values]
        same(row, {"a": told[0], "b": told[1], "difference": told[1] - told[0]})
        if name.endswith("_ms"):
            assert row["verdict"] == ("stands" if naive_compare.differ(*told, BAND) else "tie")
        else:
            assert row["verdict"] is None


def unpaired(tmp_path: Path, other: list[dict], **changes: object) -> str | None:
    one = run_fixture.request_rows()
    return compared(
        written(tmp_path / "a", one), written(tmp_path / "b", other, **changes)
    ).why_unpaired


def test_one_trace_read_in_another_way_is_not_paired(tmp_path):
    rows = run_fixture.request_rows()
    rows[4]["input_tokens"] += 1
    assert "1 requests of a and b are not the same" in unpaired(tmp_path, rows)


def test_a_part_of_the_trace_is_not_paired_with_all(tmp_path):
    rows = run_fixture.request_rows()[:20]
    assert "10 requests of a and b are not the same" in unpaired(tmp_path, rows)


def test_another_window_with_equal_lengths_is_told_by_its_arrivals(tmp_path):
    rows = run_fixture.request_rows()
    for row in rows[10:]:
        row["arrival_ns"] += 60 * 10**9
    assert "20 requests of a and b are not the same" in unpaired(tmp_path, rows)


def test_a_speed_up_keeps_the_pairs(tmp_path):
    rows = run_fixture.request_rows()
    for row in rows:
        row["arrival_ns"] = round(row["arrival_ns"] / 3)
    scenario = run_fixture.manifest()["scenario"]
    faster = scenario | {"trace": {"speedup": 3.0}}
    assert unpaired(tmp_path, rows, scenario=faster) is None


def test_jitter_keeps_the_pairs(tmp_path):
    rows = run_fixture.request_rows()
    for row in rows:
        row["arrival_ns"] += 7 * 10**8
    scenario = run_fixture.manifest()["scenario"]
    moved = scenario | {"trace": {"speedup": 1.0, "arrival_jitter": 10**9}}
    assert unpaired(tmp_path, rows, scenario=moved) is None


@pytest.mark.parametrize("digest", ["", None])
def test_traces_without_a_digest_are_not_paired(tmp_path, digest):
    trace = run_fixture.manifest()["trace"] | {"sha256": digest}
    rows = run_fixture.request_rows()
    folders = [written(tmp_path / name, rows, trace=trace) for name in ("a", "b")]
    assert compared(*folders).why_unpaired == "the digest of a trace is unknown"


def test_a_timed_and_an_untimed_run_are_compared_by_reuse_alone(runs):
    found = compared(runs["bf16"], runs["cache"])
    names = [row["metric"] for row in rows_of(found.tables["delta"])]
    assert "token_hit_rate" in names
    assert not [name for name in names if name.endswith("_ms")]
    assert "no time passes in cache" in found.left_out[0]


# --- refused --------------------------------------------------------------------------------------


def test_one_run_is_refused(runs):
    with pytest.raises(InputError, match="one run is no comparison"):
        compared(runs["bf16"])


def test_more_runs_than_letters_are_refused(runs):
    with pytest.raises(InputError, match=r"at most 26 runs .* \(got 27\)"):
        compare_runs([open_run(runs["cache"])] * 27)


def test_runs_without_a_request_in_common_are_refused(tmp_path):
    one, other = run_fixture.request_rows(), run_fixture.request_rows()
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        (a if i % 2 else b)["status"] = "unfinished"
    with pytest.raises(InputError, match="no request completed in every run"):
        compared(written(tmp_path / "a", one), written(tmp_path / "b", other))


def test_runs_without_content_and_without_time_are_refused(tmp_path):
    untimed = run_fixture.manifest(
        mode="untimed", gpu=None, overload=None, no_cache_overload=None, content_known=False
    )
    rows = run_fixture.untimed_rows()
    for row in rows:
        row["hit_tokens"] = None
    folders = [
        run_fixture.write(tmp_path / name, untimed, requests=rows, timeline=None) for name in "ab"
    ]
    with pytest.raises(InputError, match="nothing to compare: no time passes in a, b, and what"):
        compared(*folders)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scenario": {"trace": {"speedup": "1::DOUBLE; DROP VIEW a.run; SELECT 1"}}},
         "scenario.trace.speedup: must be a number"),
        ({"scenario": {"trace": ["speedup"]}}, "scenario.trace: must be an object"),
        ({"step_times": FITTED | {"decode_error_p90_percent": "6"}},
         "step_times.decode_error_p90_percent: must be a number"),
        ({"sensitivity": {"runs": [{"knob": "as it is"}]}},
         "sensitivity.runs: 0: must be an object with metrics"),
        ({"sensitivity": {"runs": [{"metrics": {"ttft_mean_ms": "7"}}]}},
         "sensitivity.runs: 0: ttft_mean_ms: must be a number"),
        ({"sensitivity": {"differences": ["tie"]}}, "sensitivity.differences: must hold objects"),
        ({"tables": {"requests": "30"}}, "tables.requests: must be a whole number"),
    ],
)  # fmt: skip
def test_manifests_that_no_run_has_are_refused(tmp_path, changes, said):
    """As an old run, which has no seal: damage to others is told by their digests."""
    folder = written(tmp_path / "a", run_fixture.request_rows())
    run_fixture.age(folder, 3)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=re.escape(said)):
        compared(folder, folder)


# --- scenarios, rankings, names -------------------------------------------------------------------


def test_differences_are_the_keys_that_differ(runs):
    found = rows_of(compared(runs["bf16"], runs["fp8"]).tables["differences"])
    scenario = [row for row in found if not row["key"].startswith("replayed.")]
    assert scenario == [{"key": "model.kv_dtype", "a": "bf16", "b": "fp8"}]
    bytes_per_token = next(row for row in found if row["key"].endswith("kv_bytes_per_token"))
    assert json.loads(bytes_per_token["a"]) == 2 * json.loads(bytes_per_token["b"])


def test_a_key_that_a_run_lacks_is_null(tmp_path):
    rows = run_fixture.request_rows()
    scenario = run_fixture.manifest()["scenario"] | {"engine": {"hold": None}}
    found = compared(
        written(tmp_path / "a", rows), written(tmp_path / "b", rows, scenario=scenario)
    )
    assert rows_of(found.tables["differences"]) == [{"key": "engine.hold", "a": None, "b": "null"}]


def test_several_runs_are_ranked(runs):
    found = compared(*(runs[name] for name in ("bf16", "fp8", "lru", "slru")))
    order = rows_of(found.tables["ranking"])
    times = [row["ttft_mean_ms"] for row in order]
    assert times == sorted(times)
    # Of slru and bf16 nobody can tell; slru and lru were both run at the edges, which tell them.
    assert [(row["place"], row["name"]) for row in order] == [
        (1, "fp8"), (2, "slru"), (2, "bf16"), (4, "lru"),
    ]  # fmt: skip
    assert [name for name in found.tables if name.startswith("delta")] == [
        "delta_b", "delta_c", "delta_d",
    ]  # fmt: skip
    assert found.said == ("fp8 has the first token soonest, on average: 276ms.",)


def test_an_overloaded_run_has_no_place(tmp_path):
    rows = run_fixture.request_rows()
    overload = run_fixture.overloaded_manifest()["overload"]
    folders = [
        written(tmp_path / "a", rows), written(tmp_path / "b", rows, overload=overload),
        written(tmp_path / "c", rows),
    ]  # fmt: skip
    order = rows_of(compared(*folders).tables["ranking"])
    assert [(row["place"], row["run"]) for row in order] == [(1, "a"), (1, "c"), (None, "b")]


def test_runs_are_called_by_their_folders_or_by_letters(tmp_path):
    def called(*names: str) -> list[str]:
        rows = run_fixture.request_rows()
        folders = []
        for name in names:
            folder = tmp_path / name
            folders.append(folder if folder.exists() else written(folder, rows))
        return [side.called for side in compared(*folders).sides]

    assert called("bf16", "fp8") == ["bf16", "fp8"]
    assert called("bf16", "bf16") == ["a", "b"]
    assert called("b", "c") == ["a", "b"]
    assert called("a", "b") == ["a", "b"]
    assert called("a-run-with-a-long-name", "bf16") == ["a", "b"]


def test_all_metrics_are_asked_for():
    """A metric that the SQL does not know fails there; one that it knows should be told."""
    text = (Path(replay.__file__).parent / "report/compare/sql/metrics.sql").read_text()
    for metric in METRICS:
        assert metric.name in text


def test_a_name_that_breaks_lines_breaks_no_sentence(tmp_path):
    requests = run_fixture.request_rows()
    plain, odd = written(tmp_path / "a", requests), written(tmp_path / "b\n\x1bc", requests)
    found = compared(plain, odd)
    assert [side.called for side in found.sides] == ["a", "b\\n\\x1bc"]


def test_one_request_is_told_as_one():
    judge_of = SimpleNamespace(one=None, other=None)
    counts = dict.fromkeys(("faster", "slower", "reuse_more", "reuse_less"), 0) | {"pairs": 1}
    (said,) = sentences.of_pair(judge_of, [], counts)
    assert said == "Nothing differs: the one request came out the same in both."


def test_the_runs_that_completed_nothing_are_named(tmp_path):
    requests = run_fixture.request_rows()
    nothing = [row | {"status": "rejected"} for row in requests]
    plain, full = written(tmp_path / "a", requests), written(tmp_path / "full", nothing)
    with pytest.raises(InputError) as caught:
        compared(plain, full)
    assert str(caught.value).startswith(f"{full}: no request completed, so there is nothing")
    assert "replay report" in (caught.value.hint or "")
    with pytest.raises(InputError) as caught:
        compare_runs([open_run(plain), open_run(full)], names=["base", "tiny"], kept=False)
    assert str(caught.value).startswith("tiny: no request completed")
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.hint is None
    halves = [[row | {"status": "rejected"} if row["request_id"] % 2 == odd else row
               for row in requests] for odd in (0, 1)]  # fmt: skip
    apart = [written(tmp_path / f"half{odd}", rows) for odd, rows in enumerate(halves)]
    with pytest.raises(InputError, match=r"^no request completed in every run"):
        compared(*apart)


# --- what the servers of two runs are taken for ---------------------------------------------------

SERVER = {"launch_ns": 2e6, "after_ns": 0.5e6, "launch_request_ns": 0.0, "launch_layer_ns": 0.0,
          "eager_layer_ns": 0.0}  # fmt: skip


def of_server(name: str | None, overhead: str | None = None, **times: float) -> dict:
    """Return what the manifest of a run by an engine says, which may be off as `times` say."""
    record = FITTED | {
        "server": SERVER,
        "server_range": {"low": SERVER, "high": SERVER},
        "request_overhead": dict.fromkeys(("mean_less_ns", "most_less_ns"), times.get("less", 0.0))
        | dict.fromkeys(("mean_more_ns", "most_more_ns"), times.get("more", 0.0)),
    }
    engine = {"name": name, "overhead": overhead}
    scenario = run_fixture.manifest().get("scenario") or {}
    return {"step_times": record, "scenario": scenario | {"engine": engine}}


def test_what_ranges_of_two_servers_allow_for_is_unjudged(tmp_path):
    """The other may be 18 ms less, the one 22 ms more: 1.08 times 100 + 22 + 18 ms is the end."""
    found = judge(tmp_path, of_server("vllm", more=22e6), of_server("sglang", less=18e6))
    assert found.verdict(TIMED, 100.0, 107.9) == "tie"
    assert found.verdict(TIMED, 100.0, 108.1) == "unjudged"
    assert found.verdict(TIMED, 100.0, 151.1) == "unjudged"
    assert found.verdict(TIMED, 100.0, 151.3) == "stands"


def test_steps_of_two_servers_may_be_longer_at_the_ends(tmp_path):
    one, other = of_server("vllm"), of_server("sglang")
    other["step_times"] = other["step_times"] | {
        "server_range": {"low": SERVER, "high": SERVER | {"launch_ns": 4.5e6}}
    }
    found = judge(tmp_path, one, other)
    gaps = Metric("itl_mean_ms", "ms", of_time=True)
    assert found.verdict(gaps, 100.0, 215.0) == "unjudged"  # 5 of 2.5 ms a step, times the error
    assert found.verdict(gaps, 100.0, 217.0) == "stands"


def test_one_server_errs_the_same_way_in_both(tmp_path):
    one, other = (of_server("sglang", less=18e6, more=130e6) for _ in range(2))
    found = judge(tmp_path, one, other)
    assert found.verdict(TIMED, 10.0, 10.9) == "stands"
    assert judge(tmp_path / "x", of_server(None), of_server("vllm", "none")).verdict(
        TIMED, 10.0, 10.9
    ) == "stands"  # fmt: skip


@pytest.mark.parametrize(
    "other", [of_server("vllm"), {"scenario": {"engine": {"name": "vllm"}}}], ids=["new", "old"]
)
def test_a_run_without_a_server_is_not_judged_against_one_with(tmp_path, other):
    rows, slow = run_fixture.request_rows(), run_fixture.request_rows()
    for row in slow:
        row["ttft_ns"] = row["ttft_ns"] and 50 * row["ttft_ns"]
    found = compared(
        written(tmp_path / "bare", rows, **of_server(None)),
        written(tmp_path / "named", slow, **other),
    )
    assert delta_of(found)["ttft_mean_ms"]["verdict"] == "unjudged"
    assert "bare counts nothing of what a server takes" in " ".join(found.said)
    assert {row["verdict"] for row in rows_of(found.tables["gained"])} == {None}


def test_engines_at_the_ends_of_their_ranges(tmp_path):
    """Real runs: each end of one against each of the other, and bounds that hold these."""
    trace = replay.load_trace(SAMPLE)
    made = {}
    for name in ("vllm", "sglang"):
        for ends in (False, True):
            run = replay.run(
                trace, gpu="h100-sxm", model="llama-3.1-8b", engine=name, sensitivity=ends
            )
            made[name, ends] = run.save(tmp_path / f"{name}-{ends}")
    plain = compared(made["vllm", False], made["sglang", False])
    turned = compared(made["vllm", True], made["sglang", True])
    for name in ("ttft_mean_ms", "ttft_p50_ms", "e2e_mean_ms"):
        bands = [
            open_run(made[one, True]).manifest["sensitivity"]["runs"] for one in ("vllm", "sglang")
        ]
        alone = [
            [run for run in band if run["knob"] == "as it is" or run["knob"].startswith("overhead")]
            for band in bands
        ]
        differences = {
            b["metrics"][name] > a["metrics"][name] for a in alone[0] for b in alone[1]
        } | {b["metrics"][name] > a["metrics"][name] for a, b in zip(*bands, strict=True)}
        assert len(alone[0]) == 3
        expected = "stands" if len(differences) == 1 else "tie"
        assert delta_of(turned)[name]["verdict"] == expected
        assert delta_of(plain)[name]["verdict"] in ("tie", "unjudged")
    told = open_run(made["sglang", False]).manifest["step_times"]
    assert told["server_range"]["high"]["request_ns"] == 150e6
    assert told["request_overhead"]["most_more_ns"] >= 130e6


def test_what_linear_step_times_cannot_do_is_not_advised(tmp_path):
    rows, other = other_rows(3)
    linear = {"step_times": {"backend": "linear"}}
    found = compared(
        written(tmp_path / "a", rows, **linear), written(tmp_path / "b", other, **linear)
    )
    assert found.verdicts
    assert not any("--sensitivity" in line for line in found.verdicts)
    found = compared(written(tmp_path / "c", rows), written(tmp_path / "d", other))
    assert any("--sensitivity" in line for line in found.verdicts)
