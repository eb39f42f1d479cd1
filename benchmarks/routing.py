"""How many experts a measured batch touched, by the way its tokens were routed.

aiconfigurator's tables route tokens evenly (`balanced`) or by a power law over the experts
(`power_law_1.01`, `power_law_1.2`: their collector's rule, restated). A model cannot know which; a
row does, so its prediction is given the count. Tokens that each pick any expert, which the model
assumes without it, lie in between: a balanced batch touches up to 1.3 times as many, one by a power
law down to 0.7 times.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

POWER_LAW = "power_law_"
FEW = (0.01, 2.0)  # range of the loads, before they are scaled, where experts outnumber picks
SHARE_OF_ONE = 0.8  # of the tokens, the largest load where they do not; the smallest is 1


@cache
def touched(routing: str, tokens: int, experts: int, chosen: int) -> float:
    """Return the experts that `tokens` tokens, `chosen` each, touch; raises ValueError for others.

    Loads of a power law are taken at evenly spaced quantiles instead of drawn.
    """
    if routing == "balanced":
        return _balanced(tokens, experts, chosen)
    if not routing.startswith(POWER_LAW):
        raise ValueError(f"unknown routing {routing!r}: balanced or {POWER_LAW}EXPONENT")
    return _power_law(float(routing.removeprefix(POWER_LAW)), tokens, experts, chosen)


def _balanced(tokens: int, experts: int, chosen: int) -> float:
    """Return those of token t: every stride-th from t on, or from its share of a stride on."""
    stride = math.ceil(experts / chosen)
    first = np.arange(tokens) * max(1.0, stride / tokens)
    picked = (first[:, None] + np.arange(chosen) * stride) % experts
    return float(len(np.unique(picked.astype(np.int64))))


def _power_law(exponent: float, tokens: int, experts: int, chosen: int) -> float:
    picks = tokens * chosen
    least, most = (1.0, SHARE_OF_ONE * tokens) if picks > experts else FEW
    power = 1.0 - exponent
    quantiles = (np.arange(experts) + 0.5) / experts
    loads = (least**power + quantiles * (most**power - least**power)) ** (1.0 / power)
    rounded = np.minimum(np.rint(loads * (picks / loads.sum())), tokens)
    left = max(picks - rounded.sum(), 0.0)  # one each to the experts with the fewest
    return float(min((rounded > 0).sum() + left, experts))
