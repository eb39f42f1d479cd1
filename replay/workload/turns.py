"""What may follow a request: the next message, or an earlier part with another ending."""

from __future__ import annotations

import math

import numpy as np

from replay.config.client import Branch, FollowUp, ResponseTime, at_turn
from replay.workload.context import Window, cut
from replay.workload.lengths import normal_correlation, sampler
from replay.workload.messages import Messages


class FollowUps:
    """The next messages of a conversation."""

    def __init__(self, rule: FollowUp, response_time: ResponseTime | None) -> None:
        self._rule, self._time = rule, response_time
        self.new_tokens = sampler(rule.new_tokens)
        self._think = sampler(rule.think_time.seconds)
        self._below = np.array([row.below for row in rule.by_input_tokens[:-1]], np.int64)

    def chances(self, input_tokens: np.ndarray, turn: int, rest: float) -> np.ndarray | float:
        """Return the chance of a next message; `rest` is what other kinds of requests leave."""
        if self._rule.requests is not None:
            return rest
        if self._rule.chance is not None:
            return at_turn(self._rule.chance, turn)
        table = np.array([at_turn(row.chance, turn) for row in self._rule.by_input_tokens])
        return table[np.searchsorted(self._below, input_tokens, side="right")]

    def gaps_s(
        self,
        noise: np.ndarray,
        *,
        new_scores: np.ndarray,
        response_scores: np.ndarray,
        output_tokens: np.ndarray,
    ) -> np.ndarray:
        """Return the seconds from an arrival to that of the next message.

        `response_scores` and `output_tokens` are those of the response in between.
        """
        rule = self._rule.think_time
        scores = correlated(
            noise,
            (rule.new_tokens_correlation, new_scores),
            (rule.response_correlation, response_scores),
        )
        gaps = self._think.at(scores)
        if self._time is not None:
            gaps += self._time.first_token_s + self._time.per_token_s * output_tokens
        return gaps


class Branches:
    """Earlier parts of a conversation with another ending."""

    def __init__(self, rule: Branch) -> None:
        self._keep_share = sampler(rule.keep_share)
        self.tail_tokens, self.gap = sampler(rule.tail_tokens), sampler(rule.gap)

    def kept(
        self,
        window: Window,
        head_tips: np.ndarray,
        *,
        messages: Messages,
        rng: np.random.Generator,
    ) -> Window:
        """Return what is kept of each prompt: its head and a share of what follows it."""
        share = self._keep_share.at(rng.standard_normal(len(head_tips)))
        head = messages.stops(head_tips)
        # Where the window slides, the head is forgotten like everything else.
        slides = messages.stops(window.heads) < head
        head = np.maximum(0, head - window.forgotten * slides)
        behind = window.prompt_tokens(messages) - head
        return cut(window, head + np.rint(share * behind).astype(np.int64), messages)


def correlated(noise: np.ndarray, *causes: tuple[float, np.ndarray]) -> np.ndarray:
    """Return standard normal scores with these rank correlations to independent causes."""
    scores, left = np.zeros(len(noise)), 1.0
    for rank_correlation, cause in causes:
        correlation = normal_correlation(rank_correlation)
        scores += correlation * cause
        left -= correlation**2
    return scores + math.sqrt(max(left, 0.0)) * noise
