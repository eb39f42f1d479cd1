"""The tables of one engine with SGLang's scheduler, made for a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from replay.engine.plan import Plan
from replay.engine.tables import BINS, FIRST_PEAKS, STEPS_A_CALL
from replay.kernels import layout
from replay.kernels.attention import SUMS
from replay.kernels.serving import sglang_layout
from replay.kernels.serving.heap import HEAP_FIELDS
from replay.kernels.serving.sglang_layout import SglangEngine

if TYPE_CHECKING:
    from replay.gpu.cost import StepCost

_NOBODY = (
    layout.FIRST_RUNNING, layout.LAST_RUNNING, sglang_layout.UNFINISHED_PROMPT,
    sglang_layout.LAST, sglang_layout.FIRST_DECODING, sglang_layout.LAST_DECODING,
)  # fmt: skip


def make_sglang_engine(plan: Plan, cost: StepCost, *, bin_ns: int) -> SglangEngine:
    """Return an idle engine with SGLang's scheduler; room to sort the queue where it is sorted."""
    rules, requests = plan.rules, plan.requests
    now = np.zeros(sglang_layout.SGLANG_NOW, np.int64)
    for nobody in _NOBODY:
        now[nobody] = layout.NONE
    now[layout.BIN_NS] = bin_ns
    most = int(min(rules[layout.MAX_SEQUENCES], requests))
    order = rules[layout.ORDER]
    room = max(most, 0 if order == layout.FCFS else requests)
    kept = STEPS_A_CALL if rules[layout.KEEP_STEPS] else 0
    by_start = order in (layout.LPM, layout.SPF, layout.HRRN)
    return SglangEngine(
        now=now,
        ratios=_ratios(int(rules[layout.CONSERVATIVENESS_PPM])),
        queue=np.zeros(requests + max(requests, sglang_layout.MOVE_FROM) + 1, np.int64),
        batches=np.zeros((2, sglang_layout.BATCH_FIELDS), np.int64),
        parts=np.zeros((2, most, sglang_layout.PART_FIELDS), np.int64),
        finishing=np.zeros((most, HEAP_FIELDS), np.int64),
        new=np.zeros(most, np.int64),
        phases=np.zeros(int(rules[layout.BLOCK_SIZE]), np.int64),
        peaks=np.zeros((FIRST_PEAKS, 2), np.int64),
        bins=np.zeros((BINS, layout.BIN_FIELDS), np.int64),
        cost=cost.tables,
        chunk_sums=np.zeros((len(cost.attention), SUMS)),
        steps=np.zeros((kept, layout.STEP_FIELDS), np.int64),
        keys=np.zeros((2, room)),
        ties=np.zeros((2, room), np.int64),
        sorted=np.zeros((2, room), np.int64),
        stamps=np.zeros(len(plan.paths.first) if by_start else 0, np.int64),
        states=np.zeros((2 * most + 1, 2), np.int64),
        chosen=np.zeros(most, np.int64),
    )


def _ratios(conservativeness_ppm: int) -> np.ndarray:
    """Return SGLang's new-token ratio: now, at the start, at least, and its fall in one decode."""
    ratios = np.zeros(sglang_layout.RATIOS)
    first = min(1.0, sglang_layout.RATIO_AT_START * (conservativeness_ppm / 1e6))
    ratios[sglang_layout.RATIO] = ratios[sglang_layout.RATIO_FIRST] = first
    least = first * sglang_layout.RATIO_AT_LEAST
    ratios[sglang_layout.RATIO_LEAST] = least
    ratios[sglang_layout.DECAY] = (first - least) / sglang_layout.DECAY_STEPS
    return ratios
