"""The conversation trace: published and measured numbers, to the token."""

from __future__ import annotations

import numpy as np
import pytest

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import Simulation, simulate_untimed
from replay.kernels import layout
from tests.naive.pool import dictionary_lru
from tests.shared_data import CONVERSATION, conversation, needs

pytestmark = needs(CONVERSATION)


def replayed(capacity: int | None, *, block_size: int = 512, **cache) -> Simulation:
    trace, tree = conversation()
    scenario = Scenario(cache=cache)
    plan = make_plan(trace, tree, scenario, block_size=block_size, capacity_blocks=capacity)
    return simulate_untimed(plan)


def hit_tokens(simulation: Simulation) -> int:
    return int(simulation.outcome[:, layout.HIT].sum())


@pytest.mark.parametrize(
    ("capacity", "tokens"),
    [(None, 54_063_104), (19_531, 43_092_992), (5_859, 20_807_680), (1_953, 8_089_088)],
)
def test_hit_tokens_without_responses(capacity, tokens):
    assert hit_tokens(replayed(capacity, responses=False)) == tokens


@pytest.mark.parametrize(
    ("capacity", "tokens"),
    [(None, 54_063_104), (19_531, 42_345_984), (5_859, 20_367_360), (1_953, 7_920_640)],
)
def test_hit_tokens_with_responses_kept(capacity, tokens):
    assert hit_tokens(replayed(capacity)) == tokens


@pytest.mark.parametrize(
    ("capacity", "rate"),
    [(100_000, 0.3637), (50_000, 0.3546), (30_000, 0.3257), (10_000, 0.2116), (1_000, 0.0445)],
)
def test_block_hit_rate_with_partial_blocks(capacity, rate):
    outcome = replayed(capacity, partial_blocks=True).outcome
    blocks = outcome[:, layout.HIT_BLOCKS].sum() / outcome[:, layout.INPUT_BLOCKS].sum()
    assert round(float(blocks), 4) == rate


PARTIAL_HIT_TOKENS = {
    None: 54_098_293,
    20_000: 42_493_310,
    16_384: 39_215_959,
    13_107: 35_574_191,
    10_000: 31_238_907,
    1_000: 6_575_449,
}


@pytest.mark.parametrize("capacity", PARTIAL_HIT_TOKENS)
def test_hit_tokens_with_partial_blocks(capacity):
    simulation = replayed(capacity, partial_blocks=True)
    assert hit_tokens(simulation) == PARTIAL_HIT_TOKENS[capacity]


@pytest.mark.slow
@pytest.mark.parametrize(
    "capacity", [100_000, 50_000, 30_000, 20_000, 16_384, 13_107, 10_000, 1_000]
)
def test_partial_block_hits_equal_a_dictionary_lru_request_by_request(capacity):
    trace, _ = conversation()
    expected = dictionary_lru(trace.frame["block_ids"].to_list(), capacity)
    got = replayed(capacity, partial_blocks=True).outcome[:, layout.HIT_BLOCKS]
    assert got.tolist() == expected


@pytest.mark.parametrize("block_size", [16, 48, 100, 512, 1000, 4096])
@pytest.mark.parametrize("partial_blocks", [False, True])
def test_every_prompt_token_has_one_source_or_one_cause(block_size, partial_blocks):
    tokens = 3_000_000 // block_size
    outcome = replayed(tokens, block_size=block_size, partial_blocks=partial_blocks).outcome
    causes = (
        layout.COLD,
        layout.CAPACITY_MISS,
        layout.IN_FLIGHT,
        layout.GRANULARITY,
        layout.DISABLED,
    )
    hits = outcome[:, layout.SESSION_HIT] + outcome[:, layout.CROSS_REQUEST_HIT]
    assert (outcome[:, layout.EVICTED_AT_NS :] >= 0).all()
    assert np.array_equal(hits, outcome[:, layout.HIT])
    total = hits + outcome[:, causes].sum(axis=1)
    assert np.array_equal(total, conversation()[1].input_tokens)
