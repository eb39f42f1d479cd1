"""Five requests through SGLang's scheduler, worked out by hand: chunks of 8, pages of 4, 40 tokens.

Prompts of 10, 13, 8, 6 and 9 tokens. 1 goes on after two tokens of 0's response, 2 is the start of
0, 4 goes on after three tokens of 3's response. A step takes 5 ms, 20 us a token, 30 ns a key.

without overlap                                       overlap, planned one step before
 0  prompt 0, 8 of 10 tokens: the chunk is spent      the same
 1  0's last 2 count as a page: 1, hit 8, takes 4     the same
 2  1's last token; 2 hits 4, but does not fit        1's last token: 2 is not there yet
 3  decode 0, 1                                       prompt 2, hit 4
 4  1 has left: prompt 2, hit 4; 3 does not fit       decode 0, 1, 2
 5  decode 0, 2: 0 ends                               decode 0, 2: 1's last token is on its way
 6  prompt 3                                          prompt 3
"""

from __future__ import annotations

import pytest

from replay.kernels import layout
from tests.test_sglang_twins import BUSY, replayed

FIRST = list(range(1, 11))
REQUESTS = [
    (0, FIRST, [11, 12, 13]),
    (0, [*FIRST, 11, 12, 20], [21, 22]),
    (6, FIRST[:8], [9, 10, 30, 31, 32, 33]),
    (12, [40, 41, 42, 43, 44, 45], [46, 47, 48, 49, 50, 51, 52, 53, 54]),
    (300, [40, 41, 42, 43, 44, 45, 46, 47, 48], [60]),
]
ROWS = [
    {"arrival_ns": ms * 10**6, "tokens": prompt, "response_tokens": response, "priority": 0}
    for ms, prompt, response in REQUESTS
]
SMALL = BUSY | {"cap": 40, "chunk": 8, "rows": 4, "cons": 100}


@pytest.mark.parametrize(
    ("overlap", "starts_ms", "computed", "hits", "ttft_ms"),
    [
        (
            False,
            [0, 5.16, 10.28, 15.30, 20.34, 25.42, 30.46],
            [(8, 0), (6, 0), (1, 0), (0, 2), (4, 0), (0, 2), (6, 0)],
            [0, 8, 4, 0, 8],
            19.42,
        ),
        (
            True,
            [0, 5.16, 10.28, 15.30, 20.38, 25.44, 30.48],
            [(8, 0), (6, 0), (1, 0), (4, 0), (0, 3), (0, 2), (6, 0)],
            [0, 8, 4, 0, 8],
            14.38,
        ),
    ],
)
def test_the_first_steps_are_those_worked_out(overlap, starts_ms, computed, hits, ttft_ms):
    _, simulation = replayed(ROWS, SMALL | {"overlap": overlap})
    steps, outcome = simulation.steps[:], simulation.outcome
    first = steps[: len(starts_ms)]
    tokens = first[:, [layout.STEP_PREFILL_TOKENS, layout.STEP_DECODE_TOKENS]]
    assert [round(ns / 1e6, 2) for ns in first[:, layout.STEP_START_NS]] == starts_ms
    assert [tuple(row) for row in tokens.tolist()] == computed
    assert outcome[:, layout.HIT].tolist() == hits
    waited = outcome[2, layout.FIRST_TOKEN_NS] - ROWS[2]["arrival_ns"]
    assert round(waited / 1e6, 2) == ttft_ms
    assert steps[-1, layout.STEP_START_NS] == 300 * 10**6
    assert steps[-1, layout.STEP_RATIO_E9] == 700_000_000  # again: nobody was there
