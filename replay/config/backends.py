"""Where step times may come from, one line each: `gpu.backend` of a scenario.

A name is that of a file of replay/gpu/backends/, which compiles it. CONTRIBUTING.md tells how to
add one.
"""

from __future__ import annotations

BACKENDS = {
    "roofline": "the fitted model",
    "table": "that, corrected by your own measurements",
    "aiconfigurator": "that, corrected by NVIDIA's tables",
    "linear": "your own three numbers, without a GPU or a model",
}
TAKES_A_TABLE = "table"
TAKES_NUMBERS = "linear"
OF_A_GPU = tuple(name for name in BACKENDS if name != TAKES_NUMBERS)


def told_apart() -> str:
    """Return the backends as a sentence of a description."""
    return "; ".join(f"{name}: {meaning}" for name, meaning in BACKENDS.items())
