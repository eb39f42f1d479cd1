"""What no software can beat: arithmetic at the peak, or the bytes at the nominal bandwidth.

Attention's share stands in its coefficients. Weights count once a step; of routed experts only
as many as one token picks, because which ones a step touches is an estimate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from replay.config.hardware import BYTES_PER_VALUE
from replay.gpu.gemms import Gemm, attention_gemms, mlp_gemms, router_gemms
from replay.gpu.replica import Replica, WeightKind
from replay.kernels import cost as kernel
from replay.units import NS_PER_S


def floor_table(replica: Replica) -> NDArray[np.float64]:
    """Return the floor of everything but attention on one GPU, float64[FLOORS]."""
    model, gpus = replica.model, replica.tensor_parallel
    plain, dense = replica.weights("unquantised"), replica.weights("linear")
    gemms = [g for group in model.attention_groups for g in attention_gemms(model, group, gpus)]
    gemms += mlp_gemms(model, gpus)
    parts = [(_weights(gemms), dense), (_weights(router_gemms(model)), plain)]
    if model.moe is not None:
        picked = model.moe.layers * model.moe.experts_per_token * model.expert_parameters / gpus
        parts.append((picked, replica.weights("expert")))
    head = model.hidden * model.vocab / gpus
    table = np.zeros(kernel.FLOORS)
    table[kernel.TOKEN_NS] = sum(_compute_ns(weights, kind) for weights, kind in parts)
    table[kernel.WEIGHTS_NS] = sum(_read_ns(replica, weights, kind) for weights, kind in parts)
    table[kernel.SAMPLE_NS] = _compute_ns(head, plain)
    table[kernel.HEAD_WEIGHTS_NS] = head * BYTES_PER_VALUE / replica.gpu.hbm_bytes_per_s * NS_PER_S
    return table


def _weights(gemms: list[Gemm]) -> float:
    return sum(gemm.weights for gemm in gemms)


def _compute_ns(weights: float, kind: WeightKind) -> float:
    """Return the arithmetic of one row at the peak."""
    return 2.0 * weights / kind.flop_per_s * NS_PER_S


def _read_ns(replica: Replica, weights: float, kind: WeightKind) -> float:
    return weights * kind.weight_bytes / replica.gpu.hbm_bytes_per_s * NS_PER_S
