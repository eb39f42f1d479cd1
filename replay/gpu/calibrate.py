"""Fit the parameters of the cost model on one GPU to measured step times.

Priors are what other GPUs have (see `hardware/README.md`); without them GEMM efficiency and the
fixed time of a layer trade against each other and fail on a model that was left out. Only
parameters that the rows say something about are fitted; the others keep their value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replay.errors import InputError
from replay.gpu.attention import attention_table
from replay.gpu.cost import uniform_steps
from replay.gpu.least_squares import Prior, fit_map
from replay.gpu.linear import head_ns, linear_ns
from replay.gpu.measured import Measured, models_of
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, Model
from replay.kernels import attention as kernel
from replay.kernels.steps import StepList, attend_all
from replay.progress import Hook, ignore

Floats = NDArray[np.float64]

ROWS_OF_EVIDENCE = 20  # of one model, GPU count and phase: more rows of the same say little more

# The standard deviation of the logarithm among GPUs that were fitted.
SPREADS = {
    "gemm_efficiency": 0.2,
    "memory_efficiency": 0.1,
    "attention_efficiency": 0.25,
    "kv_read_efficiency": 0.1,
    "elementwise_efficiency": 0.1,
    "attention_tile_ns": 0.3,
    "layer_ns": 0.6,
    "all_reduce_ns": 0.6,
    "all_reduce_efficiency": 0.4,
    "fp8_gemm_efficiency": 0.25,
    "fp4_gemm_efficiency": 0.3,
    "moe_efficiency": 0.3,
    "moe_layer_ns": 0.5,
}
ALWAYS = ("gemm_efficiency", "memory_efficiency", "elementwise_efficiency", "layer_ns")


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows of one model on one count of GPUs, ready to be timed again and again."""

    model: Model
    tensor_parallel: int
    rows: NDArray[np.bool_]
    tokens: Floats
    sampled: Floats
    steps: StepList


def row_groups(measured: Measured) -> list[RowGroup]:
    """Return the rows of each model and count of GPUs; raises InputError where it cannot split."""
    models = models_of(measured)
    groups = []
    for name, gpus, rows in measured.groups():
        part = measured.where(rows)
        steps = uniform_steps(part.new, part.cached, part.decodes, part.context, head=measured.head)
        tokens = (part.new + part.decodes).astype(np.float64)
        groups.append(
            RowGroup(models[name], gpus, rows, tokens, steps.sampled.astype(np.float64), steps)
        )
    return groups


def predict_ns(gpu: Gpu, groups: list[RowGroup], count: int) -> Floats:
    """Return the step times of all rows, float64[count], without rounding."""
    times = np.zeros(count)
    for group in groups:
        replica = Replica(gpu, group.model, group.tensor_parallel)
        table = attention_table(replica)
        attention = np.empty(len(group.tokens))
        attend_all(table, group.steps, np.zeros((len(table), kernel.SUMS)), attention)
        linear = linear_ns(replica, group.tokens) + head_ns(replica, group.sampled)
        times[group.rows] = linear + attention
    return times


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted GPU, and its signed relative errors on every row.

    `held_out` holds the error of a row predicted from the other models' rows; NaN where there is
    one model only.
    """

    gpu: Gpu
    fitted: tuple[str, ...]
    in_sample: Floats
    held_out: Floats


def calibrate(
    gpu: Gpu,
    measured: Measured,
    *,
    centers: dict[str, float] | None = None,
    progress: Hook = ignore,
) -> Calibration:
    """Return the GPU with parameters fitted to the rows, and its errors with each model left out.

    `centers` are prior means in the place of the GPU's present parameters.
    """
    names = parameters_in(measured)
    models = np.unique(measured.models)
    total = 1 + (len(models) if len(models) > 1 else 0)
    progress("Fitting", 0, total)
    best = fit(gpu, measured, names, centers)
    in_sample = errors(best, measured)
    held_out = np.full(len(measured), np.nan)
    for done, model in enumerate(models if len(models) > 1 else (), 1):
        progress("Leaving a model out", done, total)
        own = measured.models == model
        rest = measured.where(~own)
        blind = fit(gpu, rest, parameters_in(rest), centers)
        held_out[own] = errors(blind, measured.where(own))
    progress("Fitting", total, total)
    return Calibration(best, tuple(names), in_sample, held_out)


def fit(
    gpu: Gpu, measured: Measured, names: list[str], centers: dict[str, float] | None = None
) -> Gpu:
    """Return the GPU with the named parameters fitted."""
    groups = row_groups(measured)
    priors = [_prior(gpu, name, centers or {}) for name in names]

    def residuals(values: Floats) -> Floats:
        trial = with_fit(gpu, dict(zip(names, values, strict=True)))
        return np.log(predict_ns(trial, groups, len(measured)) / measured.measured_ns)

    values = fit_map(residuals, priors, _evidence(measured, groups))
    return with_fit(gpu, {name: float(v) for name, v in zip(names, values, strict=True)})


def errors(gpu: Gpu, measured: Measured) -> Floats:
    """Return the signed relative error of each row."""
    return predict_ns(gpu, row_groups(measured), len(measured)) / measured.measured_ns - 1.0


def with_fit(gpu: Gpu, values: dict[str, float]) -> Gpu:
    """Return the GPU with other parameters."""
    return gpu.model_copy(update={"fit": gpu.fit.model_copy(update=values)})


def parameters_in(measured: Measured) -> list[str]:
    """Return the parameters that the rows say something about."""
    checks: dict[str, Callable[[], bool]] = {
        "attention_efficiency": lambda: bool((measured.new > 0).any()),
        "attention_tile_ns": lambda: bool((measured.new > 0).any()),
        "kv_read_efficiency": lambda: bool((measured.decodes > 0).any()),
        "all_reduce_ns": lambda: bool((measured.tensor_parallel > 1).any()),
        "all_reduce_efficiency": lambda: bool((measured.tensor_parallel > 1).any()),
        "fp8_gemm_efficiency": lambda: _types(measured, "fp8"),
        "fp4_gemm_efficiency": lambda: _types(measured, "fp4"),
        "moe_efficiency": lambda: _experts(measured),
        "moe_layer_ns": lambda: _experts(measured),
    }
    return [name for name in SPREADS if name in ALWAYS or (name in checks and checks[name]())]


def _types(measured: Measured, dtype: str) -> bool:
    return any(
        dtype in (model.dtype_of("linear"), model.dtype_of("expert"))
        for model in models_of(measured).values()
    )


def _experts(measured: Measured) -> bool:
    return any(model.moe is not None for model in models_of(measured).values())


def _prior(gpu: Gpu, name: str, centers: dict[str, float]) -> Prior:
    center = centers.get(name, getattr(gpu.fit, name))
    if center <= 0:
        raise InputError(f"{name} of {gpu.name} is 0: a fit needs a value above it to start from")
    return Prior(center, SPREADS[name], 1.0 if name.endswith("_efficiency") else np.inf)


def _evidence(measured: Measured, groups: list[RowGroup]) -> Floats:
    """Return how much each row counts: many rows of one model and phase are few facts."""
    weights = np.ones(len(measured))
    for group in groups:
        for phase in np.unique(measured.phase[group.rows]):
            same = group.rows & (measured.phase == phase)
            weights[same] = min(1.0, ROWS_OF_EVIDENCE / same.sum())
    return weights


def summary(relative: Floats) -> tuple[float, float, float] | None:
    """Return median and p90 of absolute errors, and the median signed one, in percent."""
    known = relative[~np.isnan(relative)]
    if not len(known):
        return None
    size = 100 * np.abs(known)
    return (
        float(np.median(size)),
        float(np.quantile(size, 0.9)),
        float(100 * np.median(known)),
    )
