"""The context window: what a prompt forgets when it and its response outgrow the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.config.context import Context
from replay.kernels.tree.prompts import fit_windows
from replay.workload.messages import NONE, Messages


@dataclass(frozen=True, slots=True)
class Window:
    """What some prompts hold of their chains, all int64 and one entry a prompt.

    A prompt is the chain up to `tips` without the `forgotten` tokens (`dropped` nodes) that follow
    its protected head, which ends with node `heads`.
    """

    tips: np.ndarray
    heads: np.ndarray
    forgotten: np.ndarray
    dropped: np.ndarray

    def take(self, places: np.ndarray) -> Window:
        """Return the prompts at these places."""
        return Window(
            self.tips[places], self.heads[places], self.forgotten[places], self.dropped[places]
        )

    def prompt_tokens(self, messages: Messages) -> np.ndarray:
        """Return the length of each prompt."""
        return messages.stops(self.tips) - self.forgotten

    def segments(self, messages: Messages) -> np.ndarray:
        """Return the number of segments of each prompt."""
        return messages.lengths(self.tips) - self.dropped


def protected_heads(context: Context, heads: np.ndarray) -> np.ndarray:
    """Return the part of each head that is never forgotten: all of it, or none when sliding."""
    return np.full(len(heads), NONE, np.int64) if context.truncate == "sliding" else heads


def fits(
    context: Context, window: Window, response_tokens: np.ndarray, messages: Messages
) -> np.ndarray:
    """Return which prompts have room for their response."""
    return window.prompt_tokens(messages) + response_tokens <= context.limit


def fitted(
    context: Context, window: Window, response_tokens: np.ndarray, messages: Messages
) -> Window:
    """Return the prompts after they forgot what leaves no room for their response.

    A newest message that is too long even alone loses its end.
    """
    forgotten, dropped, tips = window.forgotten.copy(), window.dropped.copy(), window.tips.copy()
    excess = fit_windows(
        tips,
        response_tokens,
        messages.stops(window.heads),
        forgotten,
        dropped,
        context.limit,
        int(context.limit * context.keep_share),
        messages.tokens,
        messages.previous,
        messages.starts,
        messages.depths,
        messages.lengths(window.heads),
    )
    long = np.flatnonzero(excess)
    if len(long):
        newest = tips[long]
        left = messages.tokens[newest] - excess[long]
        tips[long] = messages.add(left, messages.previous[newest], messages.segments[newest])
    return Window(tips, window.heads, forgotten, dropped)


def cut(window: Window, keep_tokens: np.ndarray, messages: Messages) -> Window:
    """Return the first `keep_tokens` of each prompt, which are no fewer than its protected head."""
    protected = messages.stops(window.heads)
    in_head = keep_tokens <= protected
    forgotten = np.where(in_head, 0, window.forgotten)
    tips = messages.cut(window.tips, keep_tokens + forgotten)
    return Window(tips, window.heads, forgotten, np.where(in_head, 0, window.dropped))
