"""How much a run's answer depends on the error of its GPU model: the same run at its edges.

Each knob is turned up and down by the 90th percentile of the GPU's error: arithmetic efficiency by
that of prefill, bandwidth by that of decode, fixed times by that of prefill and the engine's
overhead to the ends of its range. No efficiency passes one. What is judged is the difference
between caching on and off in each of these runs, of the same requests and with the same error:
where it has one sign in all of them it stands, and otherwise it is a tie.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import partial

import polars as pl

from replay.config.hardware.server import Which
from replay.config.scenario import Scenario
from replay.engine.costing import make_costing
from replay.engine.overhead import NOTHING
from replay.engine.run import Prepared, RunResult, execute
from replay.engine.totals import total
from replay.errors import InputError
from replay.gpu.calibrate import with_fit
from replay.gpu.spec import Gpu
from replay.progress import Hook, ignore

ARITHMETIC = (
    "gemm_efficiency", "attention_efficiency", "fp8_gemm_efficiency", "fp8_block_gemm_efficiency",
    "fp4_gemm_efficiency", "moe_efficiency",
)  # fmt: skip
BANDWIDTH = (
    "memory_efficiency", "kv_read_efficiency", "kv_write_efficiency", "elementwise_efficiency",
    "moe_memory_efficiency", "moe_traffic_efficiency", "all_reduce_efficiency",
)  # fmt: skip
FIXED = (
    "layer_ns", "attention_launch_ns", "attention_combine_ns", "attention_tile_ns", "all_reduce_ns",
    "all_reduce_gpu_ns", "nccl_all_reduce_ns", "moe_layer_ns", "moe_expert_ns",
)  # fmt: skip
STANDS, TIE = "stands", "tie: the sign depends on the model's error"
METRICS = ("ttft_mean_ms", "ttft_p50_ms", "ttft_p99_ms", "e2e_mean_ms")


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of the band: its knob, and the metrics with and without caching, in ms."""

    knob: str
    token_hit_rate: float | None
    metrics: dict[str, float | None]
    no_cache: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether caching makes a difference in a metric whichever way the model errs.

    `difference_ms` is the metric with caching off less that with caching on, `saving_share` that of
    the former; each has its least and greatest value over all runs of the band. The verdict is that
    of the difference's sign: the same in every run, or a tie.
    """

    metric: str
    caching_on_ms: float
    caching_off_ms: float
    difference_ms: float
    difference_low_ms: float
    difference_high_ms: float
    saving_share: float | None
    saving_low_share: float | None
    saving_high_share: float | None
    verdict: str


def band_runs(
    prepared: Prepared, result: RunResult, *, threads: int = 1, progress: Hook = ignore
) -> list[Variant]:
    """Return the run as it was, and again with each knob turned up and down.

    Raises InputError for an untimed run, and for step times that are not the fitted model's.
    """
    hardware, scenario, known = prepared.sizing.hardware, prepared.scenario, prepared.costing
    if known is None:
        raise InputError(
            "--sensitivity turns the knobs of step times: the run is untimed",
            hint="leave --sensitivity out, or --untimed",
        )
    if scenario.gpu.backend != "roofline":
        raise InputError(
            f"--sensitivity turns the knobs of the roofline (gpu.backend {scenario.gpu.backend})",
            hint="leave --sensitivity out, or give --set gpu.backend=roofline and a GPU: how wrong "
            "other step times are, nobody told",
        )
    assert hardware is not None  # the roofline is that of a GPU
    engine = scenario.engine.model_copy(update={"steps": False})  # of the run itself alone
    prepared = dataclasses.replace(
        prepared, scenario=scenario.model_copy(update={"engine": engine})
    )
    found = [_variant("as it is", result)]
    turns = list(_turns(hardware.gpu))
    ends: tuple[Which, ...] = ("low", "high") if known.times != NOTHING else ()
    knobs = [(knob, partial(make_costing, scenario, hardware, gpu=gpu)) for knob, gpu in turns]
    knobs += [
        (f"overhead {which}", partial(make_costing, _at_end(scenario, which), hardware))
        for which in ends
    ]
    for done, (knob, costing) in enumerate(knobs):
        progress(f"Replaying with {knob}", done, len(knobs))
        again = dataclasses.replace(prepared, costing=costing())
        found.append(_variant(knob, execute(again, threads=threads)))
    return found


def _turns(gpu: Gpu) -> list[tuple[str, Gpu]]:
    prefill = gpu.fit.error.prefill.p90_percent / 100
    decode = gpu.fit.error.decode.p90_percent / 100
    knobs = (("efficiency", ARITHMETIC, prefill), ("bandwidth", BANDWIDTH, decode))
    turns = []
    for name, fields, share in knobs:
        for word, factor in (("down", 1 / (1 + share)), ("up", 1 + share)):
            values = {field: min(getattr(gpu.fit, field) * factor, 1.0) for field in fields}
            turns.append((f"{name} {word} {share:.0%}", with_fit(gpu, values)))
    for word, factor in (("up", 1 + prefill), ("down", 1 / (1 + prefill))):
        values = {field: getattr(gpu.fit, field) * factor for field in FIXED}
        turns.append((f"fixed times {word} {prefill:.0%}", with_fit(gpu, values)))
    return turns


def _at_end(scenario: Scenario, which: Which) -> Scenario:
    engine = scenario.engine.model_copy(update={"overhead": which})
    return scenario.model_copy(update={"engine": engine})


_COLUMNS = [
    "status", "no_cache_status", "input_tokens", "hit_tokens",
    "ttft_ns", "e2e_ns", "no_cache_ttft_ns", "no_cache_e2e_ns",
]  # fmt: skip


def _variant(knob: str, result: RunResult) -> Variant:
    requests = result.rows["requests"].frame(_COLUMNS)
    done = requests.filter(requests["status"] == "completed")
    pairs = done.filter(done["no_cache_status"].eq_missing("completed"))
    tokens = int(done["input_tokens"].sum())
    return Variant(
        knob,
        total(done["hit_tokens"]) / tokens if tokens else None,
        _metrics(pairs if len(pairs) else done, ""),
        _metrics(pairs, "no_cache_"),
    )


def _metrics(done: pl.DataFrame, prefix: str) -> dict[str, float | None]:
    ttft, e2e = done[f"{prefix}ttft_ns"].drop_nulls(), done[f"{prefix}e2e_ns"].drop_nulls()
    if not len(ttft) or not len(e2e):
        return dict.fromkeys(METRICS)
    ordered = ttft.sort()
    at = [ordered[max(math.ceil(share * len(ordered)), 1) - 1] / 1e6 for share in (0.5, 0.99)]
    means = [total(column) / len(column) / 1e6 for column in (ttft, e2e)]
    return dict(zip(METRICS, (means[0], at[0], at[1], means[1]), strict=True))


def verdicts(variants: list[Variant]) -> list[Verdict]:
    """Return for each metric whether caching on against off has one sign in all runs."""
    base = variants[0]
    found = []
    for metric in METRICS:
        on, off = base.metrics[metric], base.no_cache[metric]
        if on is None or off is None:
            continue
        pairs = [
            (here, there)
            for here, there in ((one.metrics[metric], one.no_cache[metric]) for one in variants)
            if here is not None and there is not None
        ]
        differences = [there - here for here, there in pairs]
        savings = [(there - here) / there for here, there in pairs if there]
        low, high = min(differences), max(differences)
        found.append(
            Verdict(
                metric=metric,
                caching_on_ms=on,
                caching_off_ms=off,
                difference_ms=off - on,
                difference_low_ms=low,
                difference_high_ms=high,
                saving_share=(off - on) / off if off else None,
                saving_low_share=min(savings, default=None),
                saving_high_share=max(savings, default=None),
                verdict=STANDS if low > 0 or high < 0 else TIE,
            )
        )
    return found
