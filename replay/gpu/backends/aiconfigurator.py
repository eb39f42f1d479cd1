"""Step times from NVIDIA's kernel tables: `pip install 'kvreplay[aiconfigurator]'`.

The tables have prompts without cached context and decodes. Cached context is an analytic factor in
them, up to half too low for short suffixes, so it is not asked for: prompts correct the roofline
at no cached context, and the roofline's tiles say what cached context adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from replay.errors import InputError, UnknownNameError
from replay.gpu.backends.correction import corrected, decode_ns, grid_of, prefill_ns
from replay.gpu.cost import replica_cost

if TYPE_CHECKING:
    from replay.gpu.backends import Compiled, Wanted

SYSTEMS = {
    "a100-sxm-80gb": "a100_sxm", "h100-sxm": "h100_sxm", "h200-sxm": "h200_sxm",
    "b200-sxm": "b200_sxm", "b300-sxm": "b300_sxm", "gb200": "gb200", "gb300": "gb300",
    "l40s": "l40s", "rtx-pro-6000": "rtx_pro_6000_server",
}  # fmt: skip
MODELS = {
    "llama-3.1-8b": "meta-llama/Meta-Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama/Meta-Llama-3.1-70B",
    "llama-3.1-405b": "meta-llama/Meta-Llama-3.1-405B",
    "qwen3-8b": "Qwen/Qwen3-8B",
    "qwen3-32b": "Qwen/Qwen3-32B",
    "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B",
    "qwen3-235b-a22b": "Qwen/Qwen3-235B-A22B",
    "mixtral-8x7b": "mistralai/Mixtral-8x7B-v0.1",
    "deepseek-v3": "deepseek-ai/DeepSeek-V3",
    "gpt-oss-20b": "openai/gpt-oss-20b",
    "gpt-oss-120b": "openai/gpt-oss-120b",
}
QUANTIZATION = {"bf16": "bfloat16", "fp8": "fp8"}
NEW = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXTS = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768)


def compile_steps(wanted: Wanted) -> Compiled:
    """Return the roofline corrected by aiconfigurator's estimates on a grid.

    Raises InputError where the module is not installed or knows nothing of the GPU or model.
    """
    from replay.gpu.backends import Compiled

    replica = wanted.replica
    engine = _engine(wanted)
    most = max(NEW[-1], wanted.max_batched_tokens)
    reference = replica_cost(
        replica, max_batched_tokens=most, max_sequences=max(REQUESTS[-1], wanted.max_sequences)
    )
    new = np.array(NEW, np.int64)
    zero = np.zeros_like(new)
    prompts = np.array([engine.predict_prefill_latency(1, int(n), 0) for n in new]) * 1e6
    prefill = grid_of(new, zero, prompts / prefill_ns(reference, new, zero, head=True))
    pairs = np.array([(b, c) for b in REQUESTS for c in CONTEXTS if b * c <= 2**20], np.int64)
    requests, context = np.ascontiguousarray(pairs.T)
    steps = [engine.predict_decode_latency(int(b), int(c), 2) for b, c in pairs]
    decode = grid_of(
        requests,
        context,
        np.array(steps) * 1e6 / decode_ns(reference, requests, context, head=True),
    )
    notes = (
        f"step times follow aiconfigurator's vLLM tables of {SYSTEMS[replica.gpu.name]}; cached "
        "context follows the tiles of the roofline",
    )
    return Compiled(corrected(wanted.roofline(), prefill, decode), notes)


def _engine(wanted: Wanted) -> Any:
    try:
        from aiconfigurator_core.sdk.engine import EngineHandle
    except ImportError as error:
        raise InputError(
            f"gpu.backend aiconfigurator needs a module that is not installed ({error.name})",
            hint="pip install 'kvreplay[aiconfigurator]'",
        ) from error
    replica = wanted.replica
    if replica.gpu.name not in SYSTEMS:
        raise UnknownNameError("GPU of aiconfigurator", replica.gpu.name, SYSTEMS)
    if replica.model.name not in MODELS:
        raise UnknownNameError("model of aiconfigurator", replica.model.name, MODELS)
    dtype = replica.model.dtype_of("linear", replica.weight_dtype)
    if dtype not in QUANTIZATION:
        raise UnknownNameError("weight type of aiconfigurator", dtype, QUANTIZATION)
    try:
        return EngineHandle.compile(
            MODELS[replica.model.name],
            SYSTEMS[replica.gpu.name],
            "vllm",
            tp_size=replica.tensor_parallel,
            gemm_quant_mode=QUANTIZATION[dtype],
        )
    except Exception as error:  # its own exceptions have no common base
        raise InputError(f"aiconfigurator has no estimate: {error}") from error
