"""The LRU curve of each group of requests, all of them in one cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.analysis.groups import Groups
from replay.cache.curve import Curve, lru_curve
from replay.cache.sampled import SampledCurve
from replay.cache.view import BlockView

DRAWN_GROUPS = 8


@dataclass(frozen=True, slots=True)
class GroupCurve:
    """The LRU curve of one group of requests; `requests` are their numbers, int64."""

    name: str | None
    requests: np.ndarray
    curve: Curve
    estimate: SampledCurve | None = None


def group_curves(
    view: BlockView, groups: Groups | None, estimate: SampledCurve | None = None
) -> list[GroupCurve]:
    """Return the LRU curve of each group, all requests as one where there are no groups.

    All groups share one cache: a curve says what of it each group has.
    """
    if estimate is not None:
        return [GroupCurve(None, np.arange(view.requests), estimate.curve, estimate)]
    if groups is None:
        return [GroupCurve(None, np.arange(view.requests), view.curve)]
    uses = view.uses
    ordered = uses.where(np.argsort(groups.codes[uses.request], kind="stable"))
    edges = np.searchsorted(groups.codes[ordered.request], np.arange(len(groups.names) + 1))
    members = np.split(
        np.argsort(groups.codes, kind="stable"),
        np.cumsum(np.bincount(groups.codes, minlength=len(groups.names)))[:-1],
    )
    found = []
    for code, name in enumerate(groups.names):
        own = ordered.where(np.arange(edges[code], edges[code + 1]))
        tokens = int(view.input_tokens[members[code]].sum())
        found.append(GroupCurve(name, members[code], lru_curve(own, view.block_size, tokens)))
    return found


def largest(curves: Sequence[GroupCurve]) -> list[GroupCurve]:
    """Return the groups that a picture has room for: those of most prompt tokens."""
    ranked = sorted(curves, key=lambda one: -one.curve.input_tokens)[:DRAWN_GROUPS]
    chosen = {one.name for one in ranked}
    return [one for one in curves if one.name in chosen]
