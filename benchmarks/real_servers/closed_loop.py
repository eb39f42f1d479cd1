"""Clients that wait for their answers, walked event by event over the cost tables of a replica.

So many requests are in flight at any time: each is followed by the next of its client when its last
token is there. Prompts share a step's token budget in order of arrival; a request that comes while
a step runs is in the step after the next, as where an engine plans one step ahead. Decodes
between two events are one stretch of steps of their mean length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.gpu.cost import StepCost, time_steps
from replay.kernels.steps import StepList

ROUNDS = 10  # requests of each client
SHORTEST = 0.8  # of the nominal lengths: drawn evenly from there up to the whole


@dataclass(frozen=True, slots=True)
class Load:
    """Nominal lengths, clients, and the token budget of a step of their server."""

    input_tokens: int
    output_tokens: int
    clients: int
    max_batched_tokens: int


@dataclass(slots=True)
class _Request:
    came_ns: float
    from_step: int  # the first that it can be in
    prompt: int
    answer: int
    computed: int = 0
    sampled: int = 0

    @property
    def context(self) -> int:
        return self.prompt + self.sampled


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """Of each request the time to its first token in ns, its prompt, and who answers beside it."""

    ttft_ns: np.ndarray
    input_tokens: np.ndarray
    answers: np.ndarray


def first_tokens(cost: StepCost, load: Load, *, seed: int = 0) -> FirstTokens:
    """Return what clients see of queue and steps; nothing outside them is counted."""
    loop = _Loop(cost, load, np.random.default_rng(seed))
    while loop.waiting or loop.running:
        loop.advance()
    return FirstTokens(*(np.array(column) for column in zip(*loop.found, strict=True)))


class _Loop:
    def __init__(self, cost: StepCost, load: Load, random: np.random.Generator) -> None:
        self.cost, self.load, self.random = cost, load, random
        self.now_ns, self.step = 0.0, 0
        self.running: list[_Request] = []
        self.waiting = [self._next(0) for _ in range(load.clients)]
        self.left = load.clients * (ROUNDS - 1)
        self.found: list[tuple[float, int, int]] = []

    def _next(self, from_step: int) -> _Request:
        load = self.load
        prompt, answer = (
            int(self.random.integers(round(SHORTEST * most), most + 1))
            for most in (load.input_tokens, load.output_tokens)
        )
        return _Request(self.now_ns, from_step, prompt, answer)

    def advance(self) -> None:
        """Do one step with prompts, or all steps up to the next event without."""
        if not self.running:
            self.step = max(self.step, min(one.from_step for one in self.waiting))
        chunks = self._chunks()
        steps = 1 if chunks else self._steps_to_event()
        self.now_ns += self._step_ns(chunks, steps) * steps
        self.step += steps
        for one in self.running:
            one.sampled += steps
        for one, new in chunks:
            one.computed += new
        for one in [one for one, _ in chunks if one.computed == one.prompt]:
            one.sampled = 1
            self.waiting.remove(one)
            self.running.append(one)
            self.found.append((self.now_ns - one.came_ns, one.prompt, len(self.running)))
        self._follow()

    def _chunks(self) -> list[tuple[_Request, int]]:
        budget, chunks = self.load.max_batched_tokens - len(self.running), []
        for one in self.waiting:
            new = min(one.prompt - one.computed, budget)
            if one.from_step <= self.step and new > 0:
                chunks.append((one, new))
                budget -= new
        return chunks

    def _steps_to_event(self) -> int:
        steps = min(one.answer - one.sampled for one in self.running)
        arrivals = [one.from_step - self.step for one in self.waiting]
        return max(min([steps, *arrivals]), 1)

    def _step_ns(self, chunks: list[tuple[_Request, int]], steps: int) -> float:
        contexts = [one.context + steps // 2 for one in self.running]
        columns = [
            [0, len(chunks)], [new for _, new in chunks], [one.computed for one, _ in chunks],
            [len(contexts)], [sum(contexts)], [max(contexts, default=0)],
            [len(contexts) + len(chunks)],
        ]  # fmt: skip
        return float(
            time_steps(self.cost, StepList(*(np.array(one, np.int64) for one in columns)))[0]
        )

    def _follow(self) -> None:
        for one in [one for one in self.running if one.sampled >= one.answer]:
            self.running.remove(one)
            if self.left:
                self.left -= 1
                busy = bool(self.running or self.waiting)
                self.waiting.append(self._next(self.step + busy))
