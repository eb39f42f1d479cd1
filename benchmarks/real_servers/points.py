"""Public serving points with few clients: the TTFT that a nearly idle server was measured to have.

A row says the model, how it was kept, the GPUs, the lengths, and the clients; its prompts have
nothing in common. Its TTFT is a mean over all requests of the test, the first ones, which all
clients send at once, among them: with 16 and 64 clients the mean of a replay is near to what was
measured of dense models, and the median two to four times below it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.real_servers.closed_loop import FirstTokens, Load, first_tokens
from benchmarks.serving import published
from replay.config.hardware import ServerTimes
from replay.gpu.cost import replica_cost, with_server
from replay.gpu.replica import Replica
from replay.gpu.spec import load_engine, load_gpu, load_model

FILE = "silicon_serving_points.csv"
IDLE_CLIENTS = 4  # at most
ENGINES = {"vllm": "vllm", "trtllm": "tensorrt-llm", "sglang": "sglang"}


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement; `ttft_ms` and what was measured for."""

    model: str
    gpu: str
    engine: str
    tensor_parallel: int
    weight_dtype: str
    expert_dtype: str
    input_tokens: int
    output_tokens: int
    clients: int
    ttft_ms: float


def read_points(path: Path) -> list[Point]:
    """Return the rows with few clients; raises KeyError for an engine that is not known."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Point(
            row["model"], row["system"].replace("_", "-"), ENGINES[row["backend"]], int(row["tp"]),
            row["weight_dtype"], row["expert_dtype"], int(row["isl"]), int(row["osl"]),
            int(row["concurrency"]), float(row["ttft_ms"]),
        )
        for row in rows
        if int(row["concurrency"]) <= IDLE_CLIENTS
    ]  # fmt: skip


def times_of(point: Point) -> ServerTimes:
    """Return what the engine's file says that the server adds."""
    kind = load_model(point.model).kind
    return load_engine(point.engine).times(kind, point.tensor_parallel, "typical")


@cache
def seen(point: Point) -> FirstTokens:
    """Return what the clients of a point see of queue and steps, what a server adds to them too."""
    engine, gpu = load_engine(point.engine), load_gpu(point.gpu)
    model, dtype = published(point.model, point.weight_dtype, point.expert_dtype)
    limits = engine.scheduler_on(gpu)
    budget = limits.max_batched_tokens
    cost = replica_cost(
        Replica(
            gpu,
            model,
            point.tensor_parallel,
            weight_dtype=dtype,
            layer_share=engine.layer_share,
        ),
        max_batched_tokens=budget,
        max_sequences=IDLE_CLIENTS + 1,
    )
    graphed = engine.graphed_tokens(limits.max_sequences)
    whole = with_server(cost, times_of(point), model.layers, graphed)
    return first_tokens(whole, Load(point.input_tokens, point.output_tokens, point.clients, budget))


def predicted_ms(point: Point, times: ServerTimes) -> float:
    """Return the mean TTFT with what the server adds."""
    found = seen(point)
    beside = times.request_ns + times.prompt_token_ns * found.input_tokens
    beside = beside + times.answer_ns * found.answers
    return float(np.mean(found.ttft_ns + beside)) / 1e6


def point_errors(points: Iterable[Point]) -> np.ndarray:
    """Return predicted over measured, less one, with the engine files as they are."""
    return np.array([predicted_ms(one, times_of(one)) / one.ttft_ms - 1 for one in points])
