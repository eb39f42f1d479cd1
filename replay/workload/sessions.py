"""Sessions of one client, drawn request by request for all of them at once.

After each request one thing happens: the next message, a branch, the same prompt again, or the
end. So the n-th requests of all sessions are one round, and a round is a few array operations.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from replay.config.client import Client, at_turn
from replay.config.context import Context
from replay.workload.content import Items, draw_heads
from replay.workload.context import Window, fits, fitted, protected_heads
from replay.workload.lengths import sampler
from replay.workload.messages import Messages
from replay.workload.requests import (
    BRANCH,
    CONTINUE,
    NO_PARENT,
    REGENERATE,
    RETRY,
    START,
    Requests,
    joined,
)
from replay.workload.turns import Branches, FollowUps, correlated

_ENDS = -1


@dataclass(frozen=True, slots=True)
class Drawn:
    """The requests of some sessions, and when those that fit into no window were due, float64."""

    requests: Requests
    rejected_s: np.ndarray


@dataclass(frozen=True, slots=True)
class _Round:
    """The latest request of each session that goes on, and what the next one depends on.

    `rows` are places among all requests, `head_tips` the last node of the whole head,
    `response_scores` the normal scores of the responses' lengths.
    """

    requests: Requests
    window: Window
    rows: np.ndarray
    head_tips: np.ndarray
    most_requests: np.ndarray
    response_nodes: np.ndarray
    response_scores: np.ndarray

    def keep(self, places: np.ndarray) -> _Round:
        """Return the sessions at these places."""
        parts = (getattr(self, field.name) for field in fields(_Round))
        return _Round(
            *(part[places] if isinstance(part, np.ndarray) else part.take(places) for part in parts)
        )


class SessionDraw:
    """Draws sessions of one client; everything about the client is tabulated once."""

    def __init__(
        self, client: Client, number: int, *, context: Context, pools: dict[str, Items]
    ) -> None:
        self._client, self._number = client, number
        self._context, self._pools = context, pools
        self._first, self._response = sampler(client.first_tokens), sampler(client.response_tokens)
        self._follow = (
            FollowUps(client.follow_up, client.response_time) if client.follow_up else None
        )
        self._branch = Branches(client.branch) if client.branch else None
        self._again = {
            kind: sampler(again.gap)
            for kind, again in ((REGENERATE, client.regenerate), (RETRY, client.retry))
            if again
        }

    def draw(
        self,
        starts_s: np.ndarray,
        *,
        first_session: int,
        first_row: int,
        messages: Messages,
        rng: np.random.Generator,
    ) -> Drawn:
        """Return sessions that start at these times, numbered from `first_session` on.

        Their messages go to `messages`; their requests, round by round, are numbered from
        `first_row` on.
        """
        asked = self._start(starts_s, first_session, messages, rng)
        rounds: list[Requests] = []
        rejected_s: list[np.ndarray] = []
        row = first_row
        while not rounds or len(asked.rows):
            fit = self._fit(asked, messages)
            rejected_s.append(asked.requests.arrival_s[~fit])
            latest = self._send(asked.keep(np.flatnonzero(fit)), row, messages)
            rounds.append(latest.requests)
            row += len(latest.rows)
            what = self._what_next(latest, turn=len(rounds) - 1, rng=rng)
            going = np.flatnonzero(what != _ENDS)
            asked = self._ask(latest.keep(going), what[going], messages, rng)
        return Drawn(joined(rounds), np.concatenate(rejected_s))

    def _start(
        self,
        starts_s: np.ndarray,
        first_session: int,
        messages: Messages,
        rng: np.random.Generator,
    ) -> _Round:
        """Return the first request of every session, as it would be with a window without end."""
        count = len(starts_s)
        most = np.full(count, self._client.max_requests)
        if self._client.follow_up and self._client.follow_up.requests is not None:
            drawn = sampler(self._client.follow_up.requests).whole_at(rng.standard_normal(count))
            most = np.minimum(most, drawn)
        head_tips = draw_heads(self._client.head, count, self._pools, messages, rng)
        heads = protected_heads(self._context, head_tips)
        new_scores, noise = rng.standard_normal((2, count))
        tips = messages.add(self._first.whole_at(new_scores), head_tips)
        scores = correlated(noise, (self._client.prompt_correlation, new_scores))
        nothing = np.zeros(count, np.int64)
        window = Window(tips, heads, nothing, nothing)
        requests = self._requests(
            arrival_s=starts_s,
            sessions=np.arange(first_session, first_session + count),
            turns=nothing,
            parents=np.full(count, NO_PARENT),
            kinds=np.full(count, START),
            output_tokens=self._response.whole_at(scores),
            window=window,
        )
        return _Round(requests, window, nothing, head_tips, most, nothing, scores)

    def _what_next(self, latest: _Round, *, turn: int, rng: np.random.Generator) -> np.ndarray:
        """Return the kind of the next request of each session, or that there is none."""
        client = self._client
        others = [
            (kind, at_turn(rule.chance, turn) if rule else 0.0)
            for kind, rule in (
                (BRANCH, client.branch), (REGENERATE, client.regenerate), (RETRY, client.retry)
            )
        ]  # fmt: skip
        rest = 1 - sum(chance for _, chance in others)
        follows = (
            self._follow.chances(latest.requests.input_tokens, turn, rest) if self._follow else 0.0
        )
        uniform = rng.random(len(latest.rows))
        what = np.full(len(uniform), _ENDS)
        upto = np.broadcast_to(follows, uniform.shape)
        what[uniform < upto] = CONTINUE
        for kind, chance in others:
            what[(uniform >= upto) & (uniform < upto + chance)] = kind
            upto = upto + chance
        what[latest.most_requests <= turn + 1] = _ENDS
        return what

    def _ask(
        self, latest: _Round, what: np.ndarray, messages: Messages, rng: np.random.Generator
    ) -> _Round:
        """Return the next requests as they would be with a window without end."""
        before = latest.requests
        new_scores, gap_noise, response_noise = rng.standard_normal((3, len(what)))
        gaps_s = np.zeros(len(what))
        tips, forgotten, dropped = (
            array.copy()
            for array in (latest.window.tips, latest.window.forgotten, latest.window.dropped)
        )
        who = np.flatnonzero(what == CONTINUE)
        if self._follow and len(who):
            some = latest.keep(who)
            gaps_s[who] = self._follow.gaps_s(
                gap_noise[who],
                new_scores=new_scores[who],
                response_scores=some.response_scores,
                output_tokens=some.requests.output_tokens,
            )
            base = some.response_nodes if self._client.history else some.head_tips
            tips[who] = messages.add(self._follow.new_tokens.whole_at(new_scores[who]), base)
            if not self._client.history:
                forgotten[who] = dropped[who] = 0
        who = np.flatnonzero(what == BRANCH)
        if self._branch and len(who):
            gaps_s[who] = self._branch.gap.at(gap_noise[who])
            some = latest.keep(who)
            kept = self._branch.kept(some.window, some.head_tips, messages=messages, rng=rng)
            tail = self._branch.tail_tokens.whole_at(new_scores[who])
            tips[who] = messages.add(tail, kept.tips)
            forgotten[who], dropped[who] = kept.forgotten, kept.dropped
        for kind, gap in self._again.items():
            who = np.flatnonzero(what == kind)
            gaps_s[who] = gap.at(gap_noise[who])
        window = Window(tips, latest.window.heads, forgotten, dropped)
        scores = correlated(
            response_noise, (self._client.response_correlation, latest.response_scores)
        )
        requests = self._requests(
            arrival_s=before.arrival_s + gaps_s,
            sessions=before.sessions,
            turns=before.turns + 1,
            parents=latest.rows,
            kinds=what,
            output_tokens=self._response.whole_at(scores),
            window=window,
        )
        return replace(latest, requests=requests, window=window, response_scores=scores)

    def _fit(self, asked: _Round, messages: Messages) -> np.ndarray:
        """Return which requests are sent: all, unless the client gives up when the window is full.

        The others end their sessions.
        """
        if self._context.truncate != "reject":
            return np.ones(len(asked.rows), bool)
        return fits(self._context, asked.window, asked.requests.output_tokens, messages)

    def _send(self, asked: _Round, first_row: int, messages: Messages) -> _Round:
        """Number requests, with prompts that fit into the window."""
        output_tokens = asked.requests.output_tokens
        window = fitted(self._context, asked.window, output_tokens, messages)
        nodes = messages.add(output_tokens, window.tips)
        requests = replace(
            asked.requests,
            input_tokens=window.prompt_tokens(messages),
            forgotten_tokens=window.forgotten,
            tips=window.tips,
            prompt_segments=window.segments(messages),
            response_segments=messages.segments[nodes],
        )
        rows = np.arange(first_row, first_row + len(nodes))
        return replace(asked, requests=requests, window=window, rows=rows, response_nodes=nodes)

    def _requests(self, *, window: Window, **columns: np.ndarray) -> Requests:
        """Return requests of this client whose prompts are not fitted yet."""
        unknown = np.zeros(len(window.tips), np.int64)
        return Requests(
            clients=np.full(len(window.tips), self._number),
            input_tokens=unknown,
            forgotten_tokens=unknown,
            tips=window.tips,
            heads=window.heads,
            prompt_segments=unknown,
            response_segments=unknown.astype(np.uint64),
            **columns,
        )
