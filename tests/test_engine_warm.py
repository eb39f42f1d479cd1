"""`replay doctor --warm` leaves nothing to compile."""

from __future__ import annotations

import importlib
import pkgutil

import numba
import pytest

import replay.kernels
from replay.engine.warm import compile_kernels


def doors() -> dict[str, object]:
    """Return every kernel that the library calls, by name; cost is called by kernels only."""
    found = {}
    for module in pkgutil.iter_modules(replay.kernels.__path__):
        if module.name == "cost":
            continue
        names = vars(importlib.import_module(f"replay.kernels.{module.name}"))
        for name, value in names.items():
            options = getattr(value, "targetoptions", {})
            if getattr(value, "__module__", "") == "replay.kernels.cost":
                continue
            if hasattr(value, "signatures") and not options.get("no_cpython_wrapper"):
                found[name] = value
    return found


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_compiling_leaves_no_kernel_uncompiled():
    compile_kernels()
    assert len(doors()) > 8
    assert [name for name, kernel in doors().items() if not kernel.signatures] == []
