"""One cell of an accuracy table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from replay.gpu.calibrate import summary


def cell(relative: NDArray[np.float64]) -> str:
    """Return median / 90th percentile of absolute errors and the median signed one, in percent."""
    found = summary(relative)
    return "-" if found is None else f"{found[0]:.1f} / {found[1]:.1f} ({found[2]:+.1f})"
