"""What a model without measurements says: half of every peak, and nothing else."""

from __future__ import annotations

from typing import Any

from replay.config.hardware.gpu import GpuFit
from replay.gpu.spec import Gpu

HALF = 0.5


def naive_gpu(gpu: Gpu) -> Gpu:
    """Return a GPU that reaches half of each peak, with no fixed times and no geometry."""
    changed: dict[str, Any] = {}
    for name in GpuFit.model_fields:
        if name.endswith("_efficiency"):
            changed[name] = HALF
        elif name.endswith("_ns"):
            changed[name] = 0.0
    changed |= {
        "attention_least_width": 0, "attention_tile_rows": 1, "mixed_decode": "apart",
        "absorbed_tokens": 0, "moe_padded_rows": 0.0, "all_reduce_crowding": 0.0,
        "nccl_growth": 0.0, "experts": {}, "modules": {},
    }  # fmt: skip
    return gpu.model_copy(update={"fit": gpu.fit.model_copy(update=changed)})
