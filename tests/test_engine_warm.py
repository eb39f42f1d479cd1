"""`replay doctor --warm` leaves nothing to compile."""

from __future__ import annotations

import sys

import numba
import pytest

from replay.engine.warm import compile_kernels


def called_kernels() -> dict[str, object]:
    """Return the compiled functions that modules outside `replay.kernels` import, by name."""
    return {
        name: value
        for module in list(sys.modules)
        if module.startswith("replay.") and not module.startswith("replay.kernels")
        for name, value in vars(sys.modules[module]).items()
        if hasattr(value, "signatures")
    }


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_compiling_leaves_no_kernel_uncompiled():
    compile_kernels()
    kernels = called_kernels()
    assert {"replay_timed", "replay_untimed", "link_blocks"} <= kernels.keys()
    assert [name for name, kernel in kernels.items() if not kernel.signatures] == []
