"""Random numbers by counter: the same for the same (seed, request, edge), in any order."""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import inner

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@inner
def _mixed(value):
    """Return the value through the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _MIX1
    value = (value ^ (value >> np.uint64(27))) * _MIX2
    return value ^ (value >> np.uint64(31))


@inner
def draw(seed, request, edge):
    """Return a number of 0 .. 2**63 - 1."""
    value = _mixed(np.uint64(seed) + _STEP)
    value = _mixed((value ^ np.uint64(request)) + _STEP)
    value = _mixed((value ^ np.uint64(edge)) + _STEP)
    return np.int64(value >> np.uint64(1))
