"""Make chat-small.jsonl: chat traffic for one GPU, drawn from published statistics alone.

    python traces/make_chat_small.py

writes the same bytes each time. Sessions arrive as a Poisson process; each starts with one of
three system prompts, sometimes a popular document, and a first message; a following turn holds
all that came before it, the response included, and adds a message. traces/README.md says where
each distribution comes from and what was changed to suit one GPU.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 20_240_710
DURATION_S = 900.0
WARM_UP_S = 600.0  # sessions that began before the trace does are in it with their later turns
SESSIONS_PER_S = 1.3
BLOCK_SIZE = 512
CONTEXT_TOKENS = 32_768
MAX_OUTPUT_TOKENS = 2_000

# Mixtures of lognormals: (weight, mu, sigma).
FIRST_MESSAGE = ((0.114, 2.97, 0.27), (0.214, 5.62, 1.30), (0.672, 8.28, 1.00))
NEXT_MESSAGE = ((0.395, 3.08, 0.34), (0.446, 4.69, 1.84), (0.159, 8.60, 0.63))
NEXT_MESSAGE_SHIFT = 8.5
OUTPUT = ((0.240, 3.44, 1.49), (0.293, 5.74, 0.66), (0.466, 6.06, 0.27))
OUTPUT_CORRELATION = 0.667  # of normal scores, from one turn of a session to the next
GAP_S = ((0.615, 4.46, 0.75), (0.385, 5.67, 0.76))
FURTHER_TURN = (0.37, 0.58, 0.65, 0.67, 0.72, 0.75)  # chance of another turn after the n-th
REWRITE = 0.06  # chance that a turn takes back the one before it

# (share of sessions, tokens)
SYSTEM_PROMPTS = ((0.60, 880), (0.25, 1_900), (0.15, 2_750))
DOCUMENT_SHARE = 0.15
DOCUMENT_TOKENS = (6_300, 4_700, 8_900, 3_100, 11_200, 5_400, 7_600, 2_300)

Segment = tuple[int, int]  # (content, tokens)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `prompt` is what it holds, in order."""

    arrival_s: float
    prompt: tuple[Segment, ...]
    output_tokens: int

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt."""
        return sum(tokens for _, tokens in self.prompt)


class Draw:
    """Random quantities of the workload, all from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.contents = 1_000  # system prompts and documents have the numbers below
        size = 200_000
        self.outputs = np.sort([self.mixture(OUTPUT) for _ in range(size)])

    def mixture(self, parts: tuple[tuple[float, float, float], ...]) -> float:
        """Return one draw from a mixture of lognormals."""
        at = self.choice([weight for weight, _, _ in parts])
        return math.exp(parts[at][1] + parts[at][2] * self.rng.standard_normal())

    def choice(self, weights: list[float]) -> int:
        """Return a position with a chance in proportion to its weight."""
        left = self.rng.random() * sum(weights)
        for at, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return at
        return len(weights) - 1

    def output_tokens(self, score: float) -> int:
        """Return the response length at a normal score."""
        share = 0.5 * (1 + math.erf(score / math.sqrt(2)))
        tokens = float(self.outputs[min(int(share * len(self.outputs)), len(self.outputs) - 1)])
        return max(1, min(round(tokens), MAX_OUTPUT_TOKENS))

    def new_content(self, tokens: float) -> Segment:
        """Return a segment that nothing else holds."""
        self.contents += 1
        return self.contents, max(1, round(tokens))

    def opening(self) -> tuple[Segment, ...]:
        """Return what a session starts with: a system prompt and perhaps a popular document."""
        system = self.choice([share for share, _ in SYSTEM_PROMPTS])
        prompt: tuple[Segment, ...] = ((system, SYSTEM_PROMPTS[system][1]),)
        if self.rng.random() < DOCUMENT_SHARE:
            document = self.choice([1 / rank for rank in range(1, len(DOCUMENT_TOKENS) + 1)])
            prompt += ((100 + document, DOCUMENT_TOKENS[document]),)
        return prompt


def make_session(draw: Draw, start_s: float) -> list[Request]:
    """Return the requests of one session, the first at `start_s`."""
    requests: list[Request] = []
    prompt = (*draw.opening(), draw.new_content(draw.mixture(FIRST_MESSAGE)))
    score = draw.rng.standard_normal()
    now = start_s
    while True:
        request = Request(now, prompt, draw.output_tokens(score))
        if request.input_tokens + MAX_OUTPUT_TOKENS > CONTEXT_TOKENS:
            return requests
        requests.append(request)
        if draw.rng.random() >= FURTHER_TURN[min(len(requests), len(FURTHER_TURN)) - 1]:
            return requests
        now += draw.mixture(GAP_S)
        noise = math.sqrt(1 - OUTPUT_CORRELATION**2) * draw.rng.standard_normal()
        score = OUTPUT_CORRELATION * score + noise
        message = draw.new_content(draw.mixture(NEXT_MESSAGE) - NEXT_MESSAGE_SHIFT)
        if draw.rng.random() < REWRITE:
            prompt = (*prompt[:-1], message)
        else:
            prompt = (*prompt, draw.new_content(request.output_tokens), message)


def block_ids(prompt: tuple[Segment, ...], known: dict[object, int]) -> list[int]:
    """Return the prefix-chained ids of a prompt; `known` numbers blocks in order of appearance."""
    ids: list[int] = []
    pieces: list[tuple[int, int, int]] = []
    room = BLOCK_SIZE
    for content, tokens in prompt:
        start = 0
        while start < tokens:
            taken = min(room, tokens - start)
            pieces.append((content, start, taken))
            start += taken
            room -= taken
            if room == 0:
                ids.append(known.setdefault((ids[-1] if ids else -1, *pieces), len(known)))
                pieces, room = [], BLOCK_SIZE
    if pieces:
        ids.append(known.setdefault((ids[-1] if ids else -1, *pieces), len(known)))
    return ids


def make_lines(seed: int = SEED) -> list[str]:
    """Return the lines of the trace, in Mooncake's format."""
    draw = Draw(seed)
    requests: list[Request] = []
    start_s = -WARM_UP_S
    while (start_s := start_s + draw.rng.exponential(1 / SESSIONS_PER_S)) < DURATION_S:
        requests += make_session(draw, start_s)
    requests = [request for request in requests if 0 <= request.arrival_s < DURATION_S]
    requests.sort(key=lambda request: request.arrival_s)
    first_s = requests[0].arrival_s
    known: dict[object, int] = {}
    return [
        json.dumps(
            {
                "timestamp": int(1000 * (request.arrival_s - first_s)),
                "input_length": request.input_tokens,
                "output_length": request.output_tokens,
                "hash_ids": block_ids(request.prompt, known),
            }
        )
        for request in requests
    ]


if __name__ == "__main__":
    path = Path(__file__).with_name("chat-small.jsonl")
    path.write_text("".join(f"{line}\n" for line in make_lines()), encoding="utf-8")
    print(f"wrote {path}")
