"""What real servers were measured to take beside what a replay predicts, measure by measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.real_servers.recorded import Answers, SharedPrefixRun
from benchmarks.real_servers.replayed import Replayed, Times

MEASURES = ("ttft p50", "ttft mean", "ttft p99", "itl", "e2e mean")


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of one run in ms."""

    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted / self.measured - 1


def compare(run: SharedPrefixRun, answers: Answers, times: Times) -> dict[str, Compared]:
    """Return every measure of a run, or of one of its stages.

    The ITL that was measured is the mean time of an answer after its first token over the tokens
    that were asked for, and so generated, less one; see `trace_of`.
    """
    ttft, e2e = answers.ttft_ms, answers.e2e_ms
    gaps = run.asked_output_tokens - 1
    measured = (
        ttft.quantiles["median"], ttft.mean, ttft.quantiles["p99"], (e2e.mean - ttft.mean) / gaps,
        e2e.mean,
    )  # fmt: skip
    predicted = (
        float(np.median(times.ttft_ms)), times.ttft_ms.mean(),
        float(np.quantile(times.ttft_ms, 0.99)), times.itl_ms.mean(), times.e2e_ms.mean(),
    )  # fmt: skip
    pairs = map(Compared, measured, map(float, predicted))
    return dict(zip(MEASURES, pairs, strict=True))


def itl_of_recorded_lengths(answers: Answers) -> float:
    """Return the measured ITL in ms were answers as long as the client counted them."""
    return (answers.e2e_ms.mean - answers.ttft_ms.mean) / (answers.output_tokens.mean - 1)


def request_errors(rows: pl.DataFrame, replayed: Replayed) -> dict[str, np.ndarray]:
    """Return for each request the predicted over the measured time, less one, float64[R]."""
    ttft, e2e = rows["ttft_ms"].to_numpy(), rows["e2e_ms"].to_numpy()
    gaps = rows["output_toks"].to_numpy() - 1
    times = replayed.times
    return {
        "ttft": times.ttft_ms / ttft - 1,
        "itl": times.itl_ms / ((e2e - ttft) / gaps) - 1,
        "e2e": times.e2e_ms / e2e - 1,
    }


def of_rows(rows: pl.DataFrame, times: Times) -> dict[str, Compared]:
    """Return the measures of a run that was recorded request by request."""
    ttft, e2e = rows["ttft_ms"].to_numpy(), rows["e2e_ms"].to_numpy()
    itl = (e2e - ttft) / (rows["output_toks"].to_numpy() - 1)
    found = {}
    for name, reduce, measured, predicted in (
        ("ttft p50", np.median, ttft, times.ttft_ms),
        ("ttft mean", np.mean, ttft, times.ttft_ms),
        ("ttft p99", lambda values: np.quantile(values, 0.99), ttft, times.ttft_ms),
        ("itl", np.mean, itl, times.itl_ms),
        ("e2e mean", np.mean, e2e, times.e2e_ms),
    ):
        found[name] = Compared(float(reduce(measured)), float(reduce(predicted)))
    return found
