"""Published serving points: the time per output token.

Rows of aiconfigurator's `systems/silicon_sample.csv` (Apache-2.0): one server under a closed loop
of so many clients. As shipped, a few fixed times were chosen with such points in view: `layer_ns`
of B200 and H200, `layer_ns` of latents, `layer_share` of TensorRT-LLM. Left out, they are fitted
again to the points of the other models, from priors that kernel tables give. The first tokens of
the same points are in benchmarks/real_servers/points.py.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import cell
from replay.errors import ReplayError
from replay.gpu.cost import StepCost, floor_steps, replica_cost, time_steps, uniform_steps
from replay.gpu.least_squares import Prior, fit_map
from replay.gpu.memory import kv_pool
from replay.gpu.replica import Replica
from replay.gpu.spec import Model, load_engine, load_gpu, load_model

FILE = "silicon_serving_points.csv"
GPUS = {"h100_sxm": "h100-sxm", "h200_sxm": "h200-sxm", "b200_sxm": "b200-sxm"}
ENGINES = {"vllm": "vllm", "trtllm": "tensorrt-llm"}
BUDGET, SEQUENCES = 8192, 1024
HALF = 0.5  # of every peak: the naive roofline

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """One measured server, and what the step model says of it in milliseconds.

    `fixed_steps` is how often a token waits for the fixed time of a layer.
    """

    model: str
    system: str
    engine: str
    clients: int
    tpot_ms: float
    step_ms: float
    fixed_steps: float
    latents: bool
    predicted_tpot_ms: float
    naive_tpot_ms: float


def published(name: str, weights: str, experts: str) -> tuple[Model, str]:
    """Return the model as those weights have it, and the type to keep it in.

    A type that the model was not published in is one for a whole matrix where the model is dense;
    mixtures of experts are published in it.
    """
    model = load_model(name)
    if model.moe is None:
        return model, weights
    fields = model.model_dump() | {"weight_dtype": weights, "expert_weight_dtype": experts}
    return Model.model_validate(fields), "native"


@cache
def server(row: tuple[str, str, str, str, int, str]) -> tuple[StepCost, int]:
    """Return the step cost of a server, and the tokens of KV that fit."""
    name, weights, experts, system, gpus, backend = row
    engine = load_engine(ENGINES[backend])
    model, dtype = published(name, weights, experts)
    gpu = load_gpu(GPUS[system])
    replica = Replica(gpu, model, gpus, weight_dtype=dtype, layer_share=engine.layer_share)
    cost = replica_cost(replica, max_batched_tokens=BUDGET, max_sequences=SEQUENCES)
    pool = kv_pool(
        gpu,
        model,
        tensor_parallel=gpus,
        memory_utilization=engine.memory_utilization,
        max_batched_tokens=BUDGET,
        max_sequences=SEQUENCES,
        memory_share_of=engine.memory_share_of,
        weight_dtype=dtype,
    )
    return cost, pool.pool_bytes // pool.kv_bytes_per_token


def read_points(path: Path) -> list[Point]:
    """Return the points with their predictions; those whose model does not fit are left out."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = []
    for row in rows:
        try:
            points.append(_point(row))
        except ReplayError as error:
            print(f"{row['id']}: {error}")
    return points


def _point(row: dict[str, str]) -> Point:
    cost, tokens = server(
        (row["model"], row["weight_dtype"], row["expert_dtype"], row["system"], int(row["tp"]),
         row["backend"])
    )  # fmt: skip
    prompt, output, clients = int(row["isl"]), int(row["osl"]), int(row["concurrency"])
    running = max(min(clients, tokens // (prompt + output)), 1)
    decode = uniform_steps(0, 0, running, prompt + output // 2)
    done = np.arange(0, prompt, BUDGET)
    chunks = uniform_steps(np.minimum(BUDGET, prompt - done), done)
    step_ms = time_steps(cost, decode)[0] / 1e6
    prompt_ms = time_steps(cost, chunks).sum() / 1e6
    naive_ms = floor_steps(cost, decode)[0] + (running - 1) / output * (
        floor_steps(cost, chunks).sum()
    )
    model = load_model(row["model"])
    return Point(
        fixed_steps=model.layers * (1.0 + (running - 1) / output * len(done)),
        latents=model.mla is not None,
        model=row["model"],
        system=row["system"],
        engine=row["backend"],
        clients=clients,
        tpot_ms=float(row["tpot_ms"]),
        step_ms=float(step_ms),
        predicted_tpot_ms=float(step_ms + (running - 1) / output * prompt_ms),
        naive_tpot_ms=float(naive_ms) / 1e6 / HALF,
    )


def tpot_errors(points: Iterable[Point]) -> Floats:
    """Return the signed relative errors of the time per output token."""
    return np.array([p.predicted_tpot_ms / p.tpot_ms - 1 for p in points])


# What a fixed time is by kernel tables alone, in ns, and how sure that is.
FIXED_PRIORS = {
    "b200_sxm": Prior(54_000, 0.4),
    "h200_sxm": Prior(42_000, 0.4),
    "h100_sxm": Prior(31_000, 0.2),
    "latents": Prior(30_000, 0.7),
    "trtllm": Prior(0.8, 0.3),
}


def fixed_ms(points: list[Point], values: dict[str, float]) -> Floats:
    """Return the fixed time of layers in a token, by system, latents and engine."""
    return np.array(
        [
            p.fixed_steps
            * (
                values[p.system] * values.get(p.engine, 1.0)
                + (values["latents"] if p.latents else 0.0)
            )
            / 1e6
            for p in points
        ]
    )


def shipped_fixed(points: list[Point]) -> Floats:
    """Return the same as the GPU and engine files have it."""
    found = []
    for p in points:
        fit, engine = load_gpu(GPUS[p.system]).fit, load_engine(ENGINES[p.engine])
        latent = fit.modules["latent"].layer_ns if p.latents else 0.0
        found.append(p.fixed_steps * (fit.layer_ns * engine.layer_share + latent) / 1e6)
    return np.array(found)


def tpot_errors_left_out(points: list[Point]) -> Floats:
    """Return the errors of the time per output token with fixed times of the other models."""
    shipped = shipped_fixed(points)
    rest = np.array([p.predicted_tpot_ms for p in points]) - shipped
    measured = np.array([p.tpot_ms for p in points])
    models = np.array([p.model for p in points])
    errors = np.full(len(points), np.nan)
    for model in sorted(set(models.tolist())):
        others = np.flatnonzero(models != model)
        some = [points[at] for at in others]

        def residuals(
            values: Floats, some: list[Point] = some, others: NDArray[np.int64] = others
        ) -> Floats:
            fixed = fixed_ms(some, dict(zip(FIXED_PRIORS, values, strict=True)))
            return np.log((rest[others] + fixed) / measured[others])

        found = fit_map(residuals, list(FIXED_PRIORS.values()))
        own = np.flatnonzero(models == model)
        fixed = fixed_ms([points[at] for at in own], dict(zip(FIXED_PRIORS, found, strict=True)))
        errors[own] = (rest[own] + fixed) / measured[own] - 1
    return errors


def serving_table(folder: Path) -> list[str]:
    """Return the Markdown table of serving points by model, GPU and engine."""
    points = read_points(folder / FILE)
    lines = [
        "| model | system | engine | points | TPOT, fitted here | TPOT, left out | TPOT, naive |",
        "|---|---|---|---|---|---|---|",
    ]
    blind = tpot_errors_left_out(points)
    keys = sorted({(p.model, p.system, p.engine) for p in points})
    for key in [*keys, None]:
        which = [key in (None, (p.model, p.system, p.engine)) for p in points]
        some = [p for p, kept in zip(points, which, strict=True) if kept]
        naive = np.array([p.naive_tpot_ms / p.tpot_ms - 1 for p in some])
        names = " | ".join(key) if key else "all | |"
        cells = " | ".join(cell(errors) for errors in (tpot_errors(some), blind[which], naive))
        lines.append(f"| {names} | {len(some):,} | {cells} |")
    return lines
