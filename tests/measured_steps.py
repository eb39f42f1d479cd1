"""Measured step times made from the model itself, so that a fit has something to find."""

import csv

import numpy as np

from replay.gpu.cost import step_cost, time_steps, uniform_steps
from replay.gpu.spec import load_model

HEADER = (
    "gpu", "model", "tp", "phase", "new_tokens", "context_tokens", "batch", "decode_ctx",
    "measured_ms",
)  # fmt: skip
NEW, CACHED = (16, 128, 512, 2048, 8192), (0, 1024, 16384)
DECODES, CONTEXTS = (1, 8, 64, 256), (128, 2048, 16384)


def rows_of(gpu, model, *, gpus=1, noise=0.0, seed=1, mixed=False, name="TESTED"):
    """Return rows as a CSV has them: prefill, decode, and mixed ones where asked."""
    cost = step_cost(
        gpu,
        load_model(model),
        tensor_parallel=gpus,
        max_batched_tokens=16384,
        max_sequences=512,
    )
    plain = [(n, c, 0, 0) for n in NEW for c in CACHED]
    plain += [(0, 0, b, c) for b in DECODES for c in CONTEXTS]
    plain += [(n, 0, b, 2048) for n in NEW for b in DECODES] if mixed else []
    new, cached, decodes, context = np.array(plain).T
    times = time_steps(cost, uniform_steps(new, cached, decodes, context)) / 1e6
    times = times * np.exp(noise * np.random.default_rng(seed).standard_normal(len(times)))
    rows = []
    for (n, c, b, keys), ms in zip(plain, times, strict=True):
        phase = "mixed" if n and b else "prefill" if n else "decode"
        before = keys if phase == "decode" else c
        beside = keys if phase == "mixed" else 0
        rows.append((name, model, gpus, phase, n or b, before, b or 1, beside, float(ms)))
    return rows


def write_rows(path, rows, header=HEADER):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path
