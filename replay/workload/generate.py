"""From a profile to a trace: sessions in batches until the trace is long enough."""

from __future__ import annotations

import math

import numpy as np

from replay.config.profile import MAX_REQUESTS, Profile
from replay.errors import InputError
from replay.progress import Hook, ignore
from replay.trace.frame import Trace
from replay.units import NS_PER_S
from replay.workload.arrivals import SessionStarts
from replay.workload.content import draw_pools
from replay.workload.frame import to_trace
from replay.workload.messages import Messages
from replay.workload.profiles import NamedProfile
from replay.workload.requests import Requests, joined
from replay.workload.sessions import SessionDraw

# Batches grow, so that a short trace is not drawn from thousands of sessions. They do not depend
# on the length asked for: a shorter trace is the beginning of a longer one.
_FIRST_BATCH = 256
_LARGEST_BATCH = 16_384
_PILOT_REQUESTS = 50_000
_MOST_REQUESTS_PER_S = 1e9
_FRUITLESS_SESSIONS = 20_000
_POOLS, _ARRIVALS, _CHOICES, _SESSIONS = range(4)  # streams of random numbers


class _Source:
    """Draws sessions of all clients of a profile, batch after batch."""

    def __init__(self, profile: Profile) -> None:
        self._seed = profile.seed
        self.batches = self.sessions = self.rows = 0
        self.rejected_s: list[np.ndarray] = []
        pools = draw_pools(profile.pools, self._stream(_POOLS))
        self.messages = Messages(reserved=sum(len(items.tokens) for items in pools.values()))
        weights = np.array([client.weight for client in profile.clients])
        self._shares = np.cumsum(weights / weights.sum())
        self._draws = [
            SessionDraw(client, number, context=client.context or profile.context, pools=pools)
            for number, client in enumerate(profile.clients)
        ]
        first_s = -(profile.warm_up or 0) / NS_PER_S
        self._starts = SessionStarts(profile.arrivals, self._stream(_ARRIVALS), first_s=first_s)

    def draw(self) -> tuple[Requests, float]:
        """Return the requests of the next sessions, and when the last of these starts."""
        count = min(_FIRST_BATCH << self.batches, _LARGEST_BATCH)
        starts_s = self._starts.next(count)
        uniform = self._stream(_CHOICES, self.batches).random(count)
        chosen = np.searchsorted(self._shares[:-1], uniform, side="right")
        parts = []
        for number, sessions in enumerate(self._draws):
            own = starts_s[chosen == number]
            drawn = sessions.draw(
                own,
                first_session=self.sessions,
                first_row=self.rows,
                messages=self.messages,
                rng=self._stream(_SESSIONS, self.batches, number),
            )
            self.sessions += len(own)
            self.rows += len(drawn.requests)
            self.rejected_s.append(drawn.rejected_s)
            parts.append(drawn.requests)
        self.batches += 1
        return joined(parts), float(starts_s[-1])

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))


def generate(named: NamedProfile, *, progress: Hook = ignore) -> Trace:
    """Return the trace that a profile describes.

    Raises InputError where it would be empty, or too long to hold.
    """
    profile = named.profile
    _check_length(profile)
    source = _Source(profile)
    end_s = math.inf if profile.duration is None else profile.duration / NS_PER_S
    kept: list[Requests] = []
    rows: list[np.ndarray] = []
    reached_s, count = -math.inf, 0
    while reached_s < end_s and count < (profile.requests or math.inf):
        first_row = source.rows
        drawn, reached_s = source.draw()
        inside = np.flatnonzero((drawn.arrival_s >= 0) & (drawn.arrival_s < end_s))
        kept.append(drawn.take(inside))
        rows.append(inside + first_row)
        count = sum(int((part.arrival_s < reached_s).sum()) for part in kept)
        _check(source)
        progress("Drawing sessions", *_done(profile, count, reached_s))
    requests, places = joined(kept), np.concatenate(rows)
    kept.clear()
    order = np.argsort(requests.arrival_s, kind="stable")[: profile.requests]
    if not len(order):
        raise InputError(
            f"{named.path}: no request arrives within the duration",
            hint="make duration longer or arrivals.sessions_per_s higher",
        )
    requests = requests.take(order)
    return to_trace(
        named,
        requests,
        places[order],
        messages=source.messages,
        notes=_notes(profile, source, float(requests.arrival_s[-1])),
        progress=progress,
    )


def at_rate(named: NamedProfile, requests_per_s: float) -> NamedProfile:
    """Return the profile with sessions starting so often that requests arrive at a mean rate.

    It is met on average, by a trace long against its sessions or warmed up as long. Raises
    InputError for a rate that is not a positive number.
    """
    if not 0 < requests_per_s <= _MOST_REQUESTS_PER_S:
        raise InputError(
            f"rate must be above 0 and at most {_MOST_REQUESTS_PER_S:g} requests per second "
            f"(got {requests_per_s:g})"
        )
    return named.changed(sessions_per_s=requests_per_s / requests_per_session(named.profile))


def requests_per_session(profile: Profile) -> float:
    """Return the mean number of requests in a session, measured on sessions of their own seed.

    Its relative error is about one over the square root of the sessions measured, some thousand.
    """
    source = _Source(profile.model_copy(update={"seed": 0}))
    while source.rows < _PILOT_REQUESTS:
        source.draw()
        _check(source)
    return source.rows / source.sessions


def _check_length(profile: Profile) -> None:
    """Refuse a trace that no memory holds, before anything is drawn."""
    span_s = ((profile.duration or 0) + (profile.warm_up or 0)) / NS_PER_S
    sessions = span_s * profile.arrivals.sessions_per_s
    longest = max(sessions, profile.requests or 0)
    if longest > MAX_REQUESTS:
        raise InputError(
            f"the trace has about {longest:.3g} requests or more, and no trace may have more than "
            f"{MAX_REQUESTS:,}",
            hint="ask for a shorter one, or for a lower rate",
        )


def _check(source: _Source) -> None:
    if not source.rows and source.sessions > _FRUITLESS_SESSIONS:
        raise InputError(
            f"context.truncate: none of {source.sessions:,} first prompts fits into the window",
            hint="raise context.limit, or choose keep_system or sliding",
        )


def _done(profile: Profile, requests: int, reached_s: float) -> tuple[int, int]:
    if profile.requests is not None:
        return min(requests, profile.requests), profile.requests
    warm_up = profile.warm_up or 0
    total = (profile.duration or 0) + warm_up
    return min(int(reached_s * NS_PER_S) + warm_up, total), total


def _notes(profile: Profile, source: _Source, last_s: float) -> tuple[str, ...]:
    notes = [f"generated from a profile with seed {profile.seed}: {profile.description}"]
    due_s = np.concatenate(source.rejected_s)
    rejected = int(((due_s >= 0) & (due_s <= last_s)).sum())
    if rejected:
        notes.append(
            f"{rejected:,} requests that did not fit into the context window of "
            f"{profile.context.limit:,} tokens were not sent, and their sessions ended"
        )
    return tuple(notes)
