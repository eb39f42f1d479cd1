"""The conversation trace against published and independent figures of other people's tools."""

from __future__ import annotations

import numpy as np
import pytest

from replay.cache.view import BlockView, block_view
from replay.trace.sub_blocks import share_within_blocks
from replay.trace.tree import build_tree
from tests.shared_data import CONVERSATION, conversation, needs

pytestmark = needs(CONVERSATION)


def viewed(block_size: int = 512, **rules) -> BlockView:
    trace, tree = conversation()
    outputs = trace.frame["output_tokens"].to_numpy().astype(np.int64)
    return block_view(tree, outputs, block_size=block_size, **rules)


# Zhang et al., Mooncake (FAST '25), Figure 9, conversation: capacity in tokens, hit rate.
FIGURE_9 = {
    100_000: 0.0731, 1_000_000: 0.0866, 2_000_000: 0.1202, 4_000_000: 0.2149,
    5_000_000: 0.2471, 8_000_000: 0.2997, 10_000_000: 0.3263, 50_000_000: 0.3983,
    10**10: 0.4006,
}  # fmt: skip


@pytest.mark.parametrize(("shared_part", "tolerance"), [(0.0, 0.01), (0.5, 0.0025)])
def test_token_granular_lru_with_the_system_prompt_gives_figure_9(shared_part, tolerance):
    trace = share_within_blocks(
        conversation()[0], system_prompt_tokens=880, shared_part=shared_part
    )
    outputs = trace.frame["output_tokens"].to_numpy().astype(np.int64)
    view = block_view(build_tree(trace), outputs, block_size=1, responses=False)
    rates = view.curve.token_hit_rate(np.array(list(FIGURE_9)))
    assert np.abs(rates - np.array(list(FIGURE_9.values()))).max() <= tolerance


def test_block_hit_rates_of_request_atomic_lru():
    view = viewed(partial_blocks=True)
    blocks = int((-(-view.input_tokens // 512)).sum())
    capacities = np.array([10**9, 100_000, 50_000, 30_000, 10_000, 1_000])
    rates = view.curve.hit_blocks(capacities) / blocks
    assert rates.round(4).tolist() == [0.3664, 0.3637, 0.3546, 0.3257, 0.2116, 0.0445]


def test_token_hit_rates_of_independent_simulators():
    curve = viewed(partial_blocks=True).curve
    capacities = np.array([13_107, 16_384, 20_000, 10**9])
    rates = curve.token_hit_rate(capacities)
    assert rates.round(4).tolist() == [0.2457, 0.2708, 0.2935, 0.3736]
    # kvcache-simulator, LMCache, dynamo.replay and aisimulate at the same capacities
    for at, others in ((0, (0.250, 0.2514)), (1, (0.2725,)), (2, (0.2951,))):
        assert all(abs(rates[at] - other) <= 0.006 for other in others)


def test_figure_9_in_blocks():
    view = viewed(partial_blocks=True)
    tokens = np.array([1e5, 1e6, 2e6, 4e6, 5e6, 8e6, 1e7, 5e7, 1e9]).astype(np.int64)
    blocks = int((-(-view.input_tokens // 512)).sum())
    rates = (view.curve.hit_blocks(tokens // 512) / blocks).round(4).tolist()
    assert rates == [0.0419, 0.0533, 0.0848, 0.1749, 0.2071, 0.2611, 0.2852, 0.3635, 0.3664]


def test_golden_integers_of_the_curve():
    curve = viewed().curve
    capacities = np.array([1, 250, 1_000, 3_000, 10_000, 30_000, 100_000, 155_146, 155_147])
    assert curve.hit_tokens(capacities).tolist() == [
        6_159_360, 6_190_080, 6_595_072, 9_687_552, 31_354_368, 48_247_296, 53_720_576,
        54_062_592, 54_063_104,
    ]  # fmt: skip
    assert [curve.smallest_capacity(share) for share in (0.9, 0.95, 0.99, 1)] == [
        30_887, 36_949, 83_502, 155_147
    ]  # fmt: skip
