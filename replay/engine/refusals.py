"""Why requests were rejected that SGLang itself would not serve either, in words."""

from __future__ import annotations

import numpy as np

from replay.engine.outcome import Outcome
from replay.engine.plan import Plan
from replay.kernels import layout
from replay.kernels.serving.sglang_layout import SPARE_TOKENS


def refusals(plan: Plan, outcome: np.ndarray | Outcome) -> list[str]:
    """Return a sentence for each reason for which SGLang's scheduler rejected requests.

    It refuses a prompt that leaves no more than a few tokens of the cache. It cuts the response of
    one that does not fit with it, which is not the request that was asked for. And some it takes
    and never admits, without a prefix cache where all responses are known to run to their end.
    """
    if plan.rules[layout.SCHEDULER] != layout.SGLANG:
        return []
    rejected = outcome[:, layout.STATUS] == layout.REJECTED
    page = int(plan.rules[layout.BLOCK_SIZE])
    capacity = plan.capacity_blocks * page
    prompt = plan.table[:, layout.INPUT_TOKENS]
    most = -(-prompt // page) * page + page + 1 + plan.table[:, layout.OUTPUT_TOKENS]
    refused = prompt >= capacity - SPARE_TOKENS
    cut = ~refused & (most > capacity)
    counts = {
        f"has a prompt that leaves at most {SPARE_TOKENS} of the cache's {capacity:,} tokens; "
        "sglang refuses it": refused,
        f"does not fit in the cache's {capacity:,} tokens with its whole response, a page and a "
        "token more; sglang would cut the response": cut,
        "would wait in vain in sglang, and everybody behind it, or ran alone and found no page for "
        "its next token": ~refused & ~cut,
    }
    found = ((int((rejected & mask).sum()), words) for words, mask in counts.items())
    return [f"{count:,} rejected: each {words}" for count, words in found if count]
