"""What stands in the files under `hardware/`, and what follows from it.

Peaks are dense (no 2:4 sparsity), per GPU and per direction. Efficiencies are shares of those
peaks and never above one, so that no cost built from them can beat the hardware.
"""

from replay.config.hardware.attention import AttentionGroup
from replay.config.hardware.dtypes import (
    BYTES_PER_VALUE,
    KV_DTYPE_BYTES,
    WEIGHT_DTYPE_BITS,
    kv_bytes_in,
    weight_bytes_in,
)
from replay.config.hardware.engine import Engine
from replay.config.hardware.gpu import ErrorBand, FitError, Gpu, GpuFit
from replay.config.hardware.host import Host, Link, Links
from replay.config.hardware.model import NATIVE, Model
from replay.config.hardware.prices import Price, Prices
from replay.config.hardware.section import Efficiency, HardwareSection, SourcedFile
from replay.config.hardware.server import Overhead, ServerTimes

__all__ = [
    "BYTES_PER_VALUE",
    "KV_DTYPE_BYTES",
    "NATIVE",
    "WEIGHT_DTYPE_BITS",
    "AttentionGroup",
    "Efficiency",
    "Engine",
    "ErrorBand",
    "FitError",
    "Gpu",
    "GpuFit",
    "HardwareSection",
    "Host",
    "Link",
    "Links",
    "Model",
    "Overhead",
    "Price",
    "Prices",
    "ServerTimes",
    "SourcedFile",
    "kv_bytes_in",
    "weight_bytes_in",
]
