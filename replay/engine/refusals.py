"""Why requests were rejected that their engine would not serve either, in words."""

from __future__ import annotations

import numpy as np

from replay.config.engine_section import EngineSection
from replay.engine.outcome import Outcome
from replay.engine.plan import Plan
from replay.kernels import layout
from replay.kernels.serving.sglang_layout import SPARE_TOKENS

Reasons = list[tuple[np.ndarray, str]]


def refusals(plan: Plan, outcome: np.ndarray | Outcome, engine: EngineSection) -> list[str]:
    """Return a sentence for each reason for which requests were rejected, with their number."""
    rejected = outcome[:, layout.STATUS] == layout.REJECTED
    prompt, output = plan.table[:, layout.INPUT_TOKENS], plan.table[:, layout.OUTPUT_TOKENS]
    block, blocks = int(plan.rules[layout.BLOCK_SIZE]), plan.capacity_blocks
    found = [
        (int((rejected & mask).sum()), words)
        for mask, words in reasons(engine, prompt, output, block_size=block, blocks=blocks)
    ]
    return [f"{count:,} rejected: each {words}" for count, words in found if count]


def reasons(
    engine: EngineSection,
    prompt: np.ndarray,
    output: np.ndarray,
    *,
    block_size: int,
    blocks: int,
) -> Reasons:
    """Return masks bool[R] and words: every request that was rejected is in exactly one of them.

    `prompt` and `output` int64[R] are in tokens.
    """
    if engine.mode == "timed" and engine.scheduler == "sglang":
        return _of_sglang(prompt, output, page=block_size, capacity=blocks * block_size)
    budget = engine.max_batched_tokens
    long = (prompt + output > budget) & (engine.mode == "timed" and not engine.chunked_prefill)
    too_much = ~long & (-(-(prompt + output - 1) // block_size) > blocks)
    return [
        (
            long,
            f"has more than the {budget:,} tokens of a step in prompt and response together, and "
            "prompts are not chunked (engine.chunked_prefill is off)",
        ),
        (too_much, f"could not run even alone in the cache's {blocks:,} blocks of {block_size}"),
        (~long & ~too_much, "could not run even alone beside what is pinned"),
    ]


def _of_sglang(prompt: np.ndarray, output: np.ndarray, *, page: int, capacity: int) -> Reasons:
    """Return why SGLang does not serve a request.

    It refuses a prompt that leaves no more than a few tokens of the cache. It cuts the response of
    one that does not fit with it, which is not the request that was asked for. And some it takes
    and never admits, without a prefix cache where all responses are known to run to their end.
    """
    most = -(-prompt // page) * page + page + 1 + output
    refused = prompt >= capacity - SPARE_TOKENS
    cut = ~refused & (most > capacity)
    return [
        (
            refused,
            f"has a prompt that leaves at most {SPARE_TOKENS} of the cache's {capacity:,} tokens; "
            "sglang refuses it",
        ),
        (
            cut,
            f"does not fit in the cache's {capacity:,} tokens with its whole response, a page and "
            "a token more; sglang would cut the response",
        ),
        (
            ~refused & ~cut,
            "would wait in vain in sglang, and everybody behind it, or ran alone and found no page "
            "for its next token",
        ),
    ]
