"""The section of docs/accuracy.md on real servers: tables, plots, and what is left unexplained."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.real_servers.compared import (
    MEASURES,
    Compared,
    compare,
    itl_of_recorded_lengths,
    of_rows,
    request_errors,
)
from benchmarks.real_servers.points import FILE, Point, point_errors, read_points
from benchmarks.real_servers.rebuilt import sent_to_4090
from benchmarks.real_servers.recorded import SharedPrefixRun, read_runs
from benchmarks.real_servers.replayed import (
    PARTS,
    Replayed,
    replay_4090,
    replay_run,
    stages,
)

RUNS = "vllm_h100_shared_prefix.json"
ROWS = "vllm_rtx4090_llama-3.1-8b_sharegpt.csv"
PROMPTS = "sharegpt-llama-3.1-8b-300-sps10.jsonl"
NAME_4090 = "llama-3.1-8b, RTX 4090"


@dataclass(frozen=True, slots=True)
class Servers:
    """All runs that are at hand, replayed."""

    runs: list[tuple[SharedPrefixRun, Replayed]]
    rows: pl.DataFrame | None
    replayed: Replayed | None
    points: list[Point]


def replay_all(shared: Path) -> Servers:
    """Replay the runs in the folder `e2e`; that of the 4090 needs its prompts, in `traces`."""
    folder, prompts = shared / "e2e", shared / "traces" / "sharegpt_tokens"
    runs = read_runs(folder / RUNS) if (folder / RUNS).exists() else []
    rows = replayed = None
    if (folder / ROWS).exists() and (prompts / PROMPTS).exists():
        trace, rows = sent_to_4090(prompts / PROMPTS, folder / ROWS)
        replayed = replay_4090(trace)
    points = read_points(shared / "gpu" / FILE) if (shared / "gpu" / FILE).exists() else []
    return Servers([(run, replay_run(run)) for run in runs], rows, replayed, points)


def sections(servers: Servers) -> list[list[str]]:
    """Return the tables as Markdown lines."""
    found = [error_table(servers), summary_table(servers), part_table(servers)]
    return found + ([point_table(servers.points)] if servers.points else [])


def error_table(servers: Servers) -> list[str]:
    """Return measured, predicted and error of every measure of every run."""
    names = ("TTFT p50", "TTFT mean", "TTFT p99", "ITL", "E2E mean")
    lines = [
        f"| run | {' | '.join(names)} | hit rate | ITL, recorded lengths |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for run, replayed in servers.runs:
        found = compare(run, run.all, replayed.times)
        told = Compared(itl_of_recorded_lengths(run.all), found["itl"].predicted)
        cells = [*map(_cell, found.values()), f"{replayed.token_hit_rate:.1%}", _cell(told)]
        lines.append(f"| {run.run} | {' | '.join(cells)} |")
    if servers.rows is not None and servers.replayed is not None:
        found = of_rows(servers.rows, servers.replayed.times)
        hit = f"{servers.replayed.token_hit_rate:.1%}"
        lines.append(f"| {NAME_4090} | {' | '.join([*map(_cell, found.values()), hit])} | - |")
    return lines


def _cell(found: Compared) -> str:
    return f"{found.measured:,.1f} / {found.predicted:,.1f} ({100 * found.error:+.1f} %)"


def run_errors(servers: Servers) -> dict[str, np.ndarray]:
    """Return the error of each measure for each load test, float64[runs]."""
    found = [compare(run, run.all, replayed.times) for run, replayed in servers.runs]
    return {name: np.array([one[name].error for one in found]) for name in MEASURES}


def summary_table(servers: Servers) -> list[str]:
    """Return medians and worst errors: over load tests, and over requests of the 4090."""
    lines = ["| | median | worst or p90 | median signed |", "|---|---|---|---|"]
    for name, errors in run_errors(servers).items() if servers.runs else ():
        lines.append(_summary(f"load tests, {name}", errors, np.abs(errors).max()))
    if servers.rows is not None and servers.replayed is not None:
        for name, errors in request_errors(servers.rows, servers.replayed).items():
            worst = np.quantile(np.abs(errors), 0.9)
            lines.append(_summary(f"requests of the RTX 4090, {name}", errors, worst))
    return lines


def _summary(name: str, errors: np.ndarray, worst: float) -> str:
    middle, signed = np.median(np.abs(errors)), np.median(errors)
    return f"| {name} | {100 * middle:.1f} % | {100 * worst:.1f} % | {100 * signed:+.1f} % |"


def point_table(points: list[Point]) -> list[str]:
    """Return the errors of the TTFT of serving points with few clients, by engine, model, GPU."""
    lines = ["| engine | model | GPU | points | TTFT |", "|---|---|---|---|---|"]
    errors = point_errors(points)
    keys = [(one.engine, one.model, one.gpu) for one in points]
    for key in sorted(set(keys)):
        own = errors[[one == key for one in keys]]
        lines.append(f"| {' | '.join(key)} | {len(own)} | {_spread(own)} |")
    lines.append(f"| all | | | {len(errors)} | {_spread(errors)} |")
    return lines


def _spread(errors: np.ndarray) -> str:
    middle, high = np.quantile(np.abs(errors), [0.5, 0.9])
    return f"{100 * middle:.0f} / {100 * high:.0f} ({100 * np.median(errors):+.0f})"


def part_table(servers: Servers) -> list[str]:
    """Return what each term contributes to the median TTFT, in ms."""
    lines = [f"| run | {' | '.join(PARTS)} | sum | measured |", "|---|" + "---|" * (len(PARTS) + 2)]
    shown = [
        (run.run, replayed, run.all.ttft_ms.quantiles["median"]) for run, replayed in servers.runs
    ]
    if servers.rows is not None and servers.replayed is not None:
        shown.append((NAME_4090, servers.replayed, float(np.median(servers.rows["ttft_ms"]))))
    for name, replayed, measured in shown:
        parts = replayed.parts_ms.values()
        cells = [f"{value:,.1f}" for value in (*parts, sum(parts), measured)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def write_plots(servers: Servers, docs: Path) -> list[str]:
    """Draw predicted against measured of every stage, and of every request of the 4090."""
    from replay.report.pictures.agreement import Points, agreement_picture
    from replay.report.pictures.files import write_picture

    shown = []
    if servers.runs:
        pairs: dict[str, list[Compared]] = {"ttft p50": [], "itl": [], "e2e mean": []}
        for run, replayed in servers.runs:
            for stage, times in zip(run.stages, stages(run, replayed), strict=True):
                found = compare(run, stage.answers, times)
                for name, points in pairs.items():
                    points.append(found[name])
        series = [
            Points(name, [one.measured for one in found], [one.predicted for one in found])
            for name, found in pairs.items()
        ]
        off = np.median([abs(one.error) for found in pairs.values() for one in found])
        picture = agreement_picture(
            series,
            finding=f"Half of what load tests of vLLM on H100s measured is met within {off:.0%}",
            subtitle="Nine load tests, each stage: median TTFT, mean ITL and mean E2E",
        )
        write_picture(picture, docs / "accuracy-servers-h100.svg")
        shown.append(
            "![Predicted against measured, load tests on H100s](accuracy-servers-h100.svg)"
        )
    if servers.rows is not None and servers.replayed is not None:
        errors = request_errors(servers.rows, servers.replayed)
        times, rows = servers.replayed.times, servers.rows
        series = [
            Points("ttft", rows["ttft_ms"].to_list(), times.ttft_ms.tolist()),
            Points("e2e", rows["e2e_ms"].to_list(), times.e2e_ms.tolist()),
        ]
        off = np.median(np.abs(np.concatenate([errors["ttft"], errors["e2e"]])))
        picture = agreement_picture(
            series,
            finding=f"Half of the requests to an overloaded RTX 4090 are met within {off:.1%}",
            subtitle="300 requests to Llama-3.1-8B, vLLM, each its TTFT and E2E",
        )
        write_picture(picture, docs / "accuracy-servers-rtx-4090.svg")
        shown.append("![Predicted against measured, RTX 4090](accuracy-servers-rtx-4090.svg)")
    return shown


BEGIN, END = "<!-- servers: begin -->", "<!-- servers: end -->"
TITLES = (
    "### Measured / predicted, in ms",
    "### Errors",
    "### What the median TTFT is made of",
    "### Serving points with at most four clients, error of the TTFT in %",
)


def tell(measured: Path, docs: Path | None) -> None:
    """Print the tables, or put them and the plots into the page in `docs`.

    `measured` is the folder of step times: what servers did lies beside it in `e2e`, and their
    prompts in `traces/sharegpt_tokens`. Nothing is done where neither is there.
    """
    servers = replay_all(measured.parent)
    if not servers.runs and servers.rows is None:
        print("no runs of real servers beside the measured rows: left out", file=sys.stderr)
        return
    tables = sections(servers)
    if docs is None:
        print("\n\n".join("\n".join(table) for table in tables))
        return
    parts = [f"{title}\n\n" + "\n".join(one) for title, one in zip(TITLES, tables, strict=False)]
    body = "\n\n".join([*parts, "\n".join(write_plots(servers, docs))])
    page = docs / "accuracy.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{rest.partition(END)[2]}")
