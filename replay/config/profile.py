"""The profile: everything that decides a generated trace, as frozen pydantic models.

A profile is checked here and nowhere else; `replay.workload` draws what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, PositiveInt, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from replay.config.arrivals import Arrivals
from replay.config.client import Client
from replay.config.context import Context
from replay.config.distribution import (
    Positive,
    Tokens,
    highest,
)
from replay.config.section import DurationNs, Section

MAX_REQUESTS = 10**8
MAX_POOL_ITEMS = 10**6


class Pool(Section):
    """Content that sessions share: system prompts, few-shot sets, tool schemas, documents."""

    items: Annotated[PositiveInt, Field(le=MAX_POOL_ITEMS)] = Field(
        1, description="how many different ones there are"
    )
    tokens: Tokens = Field(description="length of an item, drawn once for each")
    zipf: Annotated[float, Field(ge=0, le=20)] = Field(
        0.0, description="popularity of the n-th item is n to the power -zipf; 0: all alike"
    )
    weights: tuple[Positive, ...] | None = Field(
        None, description="popularity of each item, instead of zipf"
    )

    @model_validator(mode="after")
    def _weights_are_of_the_items(self) -> Pool:
        if self.weights is not None and len(self.weights) != self.items:
            raise ValueError(
                f"weights must be one for each of the {self.items} items (got {len(self.weights)})"
            )
        if self.weights is not None and self.zipf:
            raise ValueError("weights and zipf exclude each other")
        return self


class Profile(Section):
    """Everything that decides a generated trace."""

    description: str = Field(min_length=1, description="one sentence: what traffic this is")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="of everything drawn")
    requests: Annotated[PositiveInt, Field(le=MAX_REQUESTS)] | None = Field(
        None, description="length of the trace in requests"
    )
    duration: DurationNs | None = Field(None, description="length of the trace in time")
    warm_up: DurationNs | None = Field(
        None,
        description="sessions that started up to this long before the trace are in it with their "
        "later requests",
    )
    arrivals: Arrivals = Field(description="when sessions start")
    context: Context = Field(description="the context window of clients that name none")
    pools: dict[str, Pool] = Field({}, description="shared content by name")
    clients: tuple[Client, ...] = Field(description="kinds of sessions")

    @model_validator(mode="after")
    def _is_whole(self) -> Profile:
        if (self.requests is None) == (self.duration is None):
            raise ValueError("needs either requests or duration")
        wrong = list(_unknown_pools(self)) + list(_full_windows(self))
        if not self.clients:
            wrong.append(_detail(("clients",), "needs at least one client (got an empty list)", ()))
        names = [client.name for client in self.clients]
        for index, name in enumerate(names):
            if name in names[:index]:
                wrong.append(_detail(("clients", index, "name"), "given twice", name))
        if wrong:
            raise ValidationError.from_exception_data("Profile", wrong)
        return self


def _unknown_pools(profile: Profile) -> Iterator[InitErrorDetails]:
    for index, client in enumerate(profile.clients):
        for place, part in enumerate(client.head):
            if part.pool is not None and part.pool not in profile.pools:
                known = ", ".join(sorted(profile.pools)) or "none"
                message = f"no such pool, known: {known} (got {part.pool!r})"
                yield _detail(("clients", index, "head", place, "pool"), message, part.pool)


def _full_windows(profile: Profile) -> Iterator[InitErrorDetails]:
    """Yield a problem for each client that may leave no room for a message in the window."""
    for index, client in enumerate(profile.clients):
        context = client.context or profile.context
        room = context.limit - int(highest(client.response_tokens))
        if context.truncate != "sliding":
            for part in client.head:
                tokens = (
                    profile.pools[part.pool].tokens
                    if part.pool in profile.pools
                    else part.own_tokens
                )
                room -= int(highest(tokens)) if tokens is not None else 0
        if room < 1:
            message = (
                f"the longest head and the longest response leave no room for a message in "
                f"context.limit (got {context.limit - room} tokens)"
            )
            yield _detail(("clients", index), message, {})


def _detail(loc: tuple[str | int, ...], message: str, value: Any) -> InitErrorDetails:
    text = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=text, loc=loc, input=value)
