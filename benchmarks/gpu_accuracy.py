"""Print the error of the GPU cost model against measured step times.

    python benchmarks/gpu_accuracy.py FOLDER

FOLDER holds `vidur_measured.csv` (A100 and H100, dense models, TP 1-8), and where available
`vidur_cached_prefill_a100.csv` and `llmservingsim_measured.csv` (prefill with cached context,
decode, mixed steps), in the columns gpu, model, tp, phase, new_tokens, context_tokens, batch,
decode_ctx, measured_ms and measured_ms_graph_ar. Rows of GPUs that do not ship are left out.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from replay.gpu.cost import StepCost, step_cost
from replay.gpu.spec import load_gpu, load_model
from replay.kernels.cost import decode_attention_ns, prefill_attention_ns, step_ns

GPUS = {"A100": "a100-sxm-80gb", "H100": "h100-sxm", "RTXPRO6000": "rtx-pro-6000"}
MODELS = {
    "Llama-2-7B": "llama-2-7b",
    "Llama-2-70B": "llama-2-70b",
    "Llama-3-8B": "llama-3.1-8b",
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3-70B": "llama-3.1-70b",
    "CodeLlama-34B": "codellama-34b",
    "Qwen-72B": "qwen-72b",
    "InternLM-20B": "internlm-20b",
}
# Assemblies of Vidur's kernel profiles leave out the embedding and the LM head.
FILES_WITH_HEAD = {
    "vidur_measured": False,
    "vidur_cached_prefill_a100": False,
    "llmservingsim_measured": True,
}
MAX_TOKENS = 32768
MAX_SEQUENCES = 512
FULL_HIT = "prefill, new <= 512, cached >= 4096"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured step."""

    file: str
    gpu: str
    model: str
    tensor_parallel: int
    phase: str
    new_tokens: int
    cached_tokens: int
    decodes: int
    decode_tokens: int
    measured_ms: float


def read_rows(path: Path) -> list[Row]:
    """Return the rows of one file whose GPU and model ship."""
    with path.open(newline="") as file:
        records = [
            record
            for record in csv.DictReader(file)
            if record["gpu"] in GPUS and record["model"] in MODELS
        ]
    return [_row(path.stem, record) for record in records]


def _row(file: str, record: dict[str, str]) -> Row:
    phase, batch = record["phase"], int(record["batch"])
    context = int(record["context_tokens"])
    decode_context = context if phase == "decode" else int(record.get("decode_ctx") or 0)
    decodes = 0 if phase == "prefill" else batch
    return Row(
        file=file,
        gpu=GPUS[record["gpu"]],
        model=MODELS[record["model"]],
        tensor_parallel=int(record["tp"]),
        phase=phase,
        new_tokens=0 if phase == "decode" else int(record["new_tokens"]),
        cached_tokens=0 if phase == "decode" else context,
        decodes=decodes,
        decode_tokens=decodes * decode_context,
        measured_ms=float(record.get("measured_ms_graph_ar") or record["measured_ms"]),
    )


@cache
def cost_of(gpu: str, model: str, tensor_parallel: int) -> StepCost:
    """Return the cost tables of one replica."""
    return step_cost(
        load_gpu(gpu),
        load_model(model),
        tensor_parallel=tensor_parallel,
        max_batched_tokens=MAX_TOKENS,
        max_sequences=MAX_SEQUENCES,
    )


def predicted_ms(row: Row) -> float:
    """Return what the model says for a measured step."""
    cost = cost_of(row.gpu, row.model, row.tensor_parallel)
    sampled = row.decodes + (row.new_tokens > 0)
    total = step_ns(
        cost.linear_ns[row.new_tokens + row.decodes],
        cost.head_ns[sampled] if FILES_WITH_HEAD[row.file] else 0.0,
        prefill_attention_ns(cost.attention, row.new_tokens, row.cached_tokens),
        decode_attention_ns(cost.attention, row.decodes, row.decode_tokens),
    )
    return total / 1e6


def errors_percent(rows: list[Row]) -> np.ndarray:
    """Return signed errors in percent, in the order of the rows."""
    return np.array([100 * (predicted_ms(row) / row.measured_ms - 1) for row in rows])


def groups(rows: list[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Return rows by file, GPU and phase, and once more those of full hits on long contexts."""
    found = defaultdict(list)
    for row in rows:
        found[row.file, row.gpu, row.phase].append(row)
        if row.phase == "prefill" and row.new_tokens <= 512 and row.cached_tokens >= 4096:
            found[row.file, row.gpu, FULL_HIT].append(row)
    return dict(found)


def main(folder: Path) -> None:
    """Print one line per file, GPU and phase, as a Markdown table."""
    print("| measured rows | GPU | phase | rows | median % | p90 % | bias % |")
    print("|---|---|---|---|---|---|---|")
    for stem in FILES_WITH_HEAD:
        path = folder / f"{stem}.csv"
        if not path.exists():
            print(f"{path}: not found, left out", file=sys.stderr)
            continue
        for (file, gpu, phase), rows in sorted(groups(read_rows(path)).items()):
            error = errors_percent(rows)
            size = np.abs(error)
            print(
                f"| {file} | {gpu} | {phase} | {len(rows):,} | {np.median(size):.1f} "
                f"| {np.quantile(size, 0.9):.1f} | {np.median(error):+.1f} |"
            )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    main(Path(sys.argv[1]))
