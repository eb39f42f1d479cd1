"""How many bytes a value takes as a weight and as KV, scales included."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from replay.errors import UnknownNameError

BYTES_PER_VALUE = 2  # bf16 weights, activations and KV

WeightDtype = Literal["bf16", "fp8", "int8", "fp4", "mxfp4", "int4"]

# FP8 and INT8 have a float32 scale for each 128 x 128 block; FP4 (NVFP4) an FP8 scale for 16
# values; MXFP4 an 8-bit exponent for 32; INT4 a bf16 scale for 32.
WEIGHT_DTYPE_BITS: dict[str, Fraction] = {
    "bf16": Fraction(16),
    "fp8": 8 + Fraction(32, 128 * 128),
    "int8": 8 + Fraction(32, 128 * 128),
    "fp4": 4 + Fraction(8, 16),
    "mxfp4": 4 + Fraction(8, 32),
    "int4": 4 + Fraction(16, 32),
}
FP8_SCALE_VALUES, FP8_SCALE_BYTES = 128, 4  # latents and keys of an index: a float32 for so many
KV_DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}


def weight_bytes_in(dtype: str, values: int) -> int:
    """Return the bytes of that many weights and their scales; raises UnknownNameError."""
    if dtype not in WEIGHT_DTYPE_BITS:
        raise UnknownNameError("weight type", dtype, WEIGHT_DTYPE_BITS)
    return int(values * WEIGHT_DTYPE_BITS[dtype] / 8)


def kv_bytes_in(dtype: str, bf16_bytes: int) -> int:
    """Return what takes `bf16_bytes` of KV in bf16 in another type; raises UnknownNameError."""
    if dtype not in KV_DTYPE_BYTES:
        raise UnknownNameError("KV type", dtype, KV_DTYPE_BYTES)
    return bf16_bytes * KV_DTYPE_BYTES[dtype] // BYTES_PER_VALUE


def scaled_fp8_bytes(values: int) -> int:
    """Return the bytes of FP8 values with a float32 scale for each 128 of them."""
    return values + -(-values // FP8_SCALE_VALUES) * FP8_SCALE_BYTES
