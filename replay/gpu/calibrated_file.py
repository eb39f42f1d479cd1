"""A fitted GPU as a file of its own, saying what it was fitted to and how well that went."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from replay.config.hardware import ErrorBand, FitError
from replay.errors import InputError
from replay.gpu.calibrate import Calibration, summary
from replay.gpu.measured import Measured
from replay.gpu.spec import Gpu

_MOST_PERCENT = 100_000
_DIGITS = 4  # that parameters are rounded to: no fit knows more


def calibrated_gpu(
    calibration: Calibration, measured: Measured, *, name: str, path: Path, version: str
) -> Gpu:
    """Return the fitted GPU under a name of its own, with provenance and its error.

    The error is that of models left out where there are several, else that of the fit. Raises
    InputError where that is beyond any measurement.
    """
    held_out = not np.isnan(calibration.held_out).all()
    relative = calibration.held_out if held_out else calibration.in_sample
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    models = ", ".join(sorted(set(map(str, measured.models))))
    provenance = (
        f"replay {version} calibrate on {len(measured):,} rows of {path.name} (sha256 {digest}): "
        f"{measured.gpu}, {models}. Fitted: {', '.join(calibration.fitted)}. MAP fit with "
        f"log-normal priors at the parameters of {calibration.gpu.name}; the others are its own."
    )
    bands = {name_: _band(measured, relative, rows) for name_, rows in _rows(measured).items()}
    kind = "each model predicted from a fit to the others" if held_out else "in-sample, one model"
    expected = calibration.gpu.fit.error
    error = FitError(
        data=f"{path.name} (sha256 {digest}): {kind}",
        prefill=bands.get("prefill") or expected.prefill,
        decode=bands.get("decode") or expected.decode,
        short_suffix=bands.get("short_suffix"),
        mixed=bands.get("mixed"),
    )
    values: dict[str, object] = {
        parameter: _rounded(getattr(calibration.gpu.fit, parameter))
        for parameter in calibration.fitted
    }
    fit = calibration.gpu.fit.model_copy(
        update={**values, "provenance": provenance, "error": error}
    )
    return calibration.gpu.model_copy(update={"name": name, "fit": fit})


def _rows(measured: Measured) -> dict[str, np.ndarray]:
    rows = {name: measured.phase == name for name in ("prefill", "decode", "mixed")}
    return {**rows, "short_suffix": measured.short_suffix}


def _band(measured: Measured, relative: np.ndarray, rows: np.ndarray) -> ErrorBand | None:
    found = summary(relative[rows])
    if found is None:
        return None
    if not found[1] <= _MOST_PERCENT:
        raise InputError(
            f"the times measured are up to {found[1]:.3g} % off: no parameters fit them",
            hint="are they in milliseconds, and is this the GPU that they were measured on?",
        )
    return ErrorBand(
        rows=int(rows.sum()), median_percent=round(found[0], 1), p90_percent=round(found[1], 1)
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
