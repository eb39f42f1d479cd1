"""The shared prefixes of a trace, token by token, and what a cache without limit hits of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.naive.frames import cuts
from tests.naive.pool import Request


@dataclass
class Prefix:
    """A stretch of tokens that every prompt uses whole or not at all, and the one before it."""

    above: tuple
    users: list[int] = field(default_factory=list)
    sessions: set[int] = field(default_factory=set)
    hit_tokens: int = 0
    below: set[tuple] = field(default_factory=set)


def prefixes(requests: list[Request], known: list[bool]) -> dict[tuple, Prefix]:
    """Return every prefix of a prompt by its tokens; `known` says whose response is known."""
    left = [
        one.prompt + (one.response if tells else ())
        for one, tells in zip(requests, known, strict=True)
    ]
    ends = cuts([one.prompt for one in requests] + left)
    found: dict[tuple, Prefix] = {}
    seen: set[tuple] = set()
    for request, whole in zip(requests, left, strict=True):
        above, hits = (), 0
        for depth in range(1, len(request.prompt) + 1):
            tokens = request.prompt[:depth]
            hits += tokens in seen and not request.skips
            if tokens in ends:
                one = found.setdefault(tokens, Prefix(above))
                one.users.append(request.index)
                one.sessions |= {request.session} - {None}
                one.hit_tokens += hits
                if above:
                    found[above].below.add(tokens)
                above, hits = tokens, 0
        seen |= {whole[:depth] for depth in range(1, len(whole) + 1)}
    return found
