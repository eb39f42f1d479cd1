"""One kind of session of a generated trace: an entry of `clients` in a profile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from replay.config.context import Context
from replay.config.distribution import (
    MAX_SECONDS,
    Count,
    Positive,
    Probability,
    Seconds,
    Share,
    Tokens,
)
from replay.config.section import Section

Correlation = Annotated[float, Field(ge=-0.99, le=0.99)]


def _list_of_one(value: object) -> object:
    """Return a chance that is the same after every request as a list."""
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


Chances = Annotated[tuple[Probability, ...], BeforeValidator(_list_of_one)]


class PromptPart(Section):
    """Content at the head of every prompt of a session."""

    pool: str | None = Field(None, description="an item of this pool, drawn by its popularity")
    own_tokens: Tokens | None = Field(
        None, description="instead of a pool: content of this length that only this session has"
    )
    probability: Probability = Field(1.0, description="share of sessions that have it")

    @model_validator(mode="after")
    def _has_one_source(self) -> PromptPart:
        if (self.pool is None) == (self.own_tokens is None):
            raise ValueError("needs either pool or own_tokens")
        return self


class ResponseTime(Section):
    """How long a response takes, for clients that wait for it."""

    first_token_s: Annotated[float, Field(ge=0, le=MAX_SECONDS)] = Field(
        0.0, description="until the first token"
    )
    per_token_s: Annotated[float, Field(ge=0, le=MAX_SECONDS)] = Field(
        0.0, description="for each token"
    )


class ThinkTime(Section):
    """Time between two requests of a session."""

    seconds: Seconds = Field(description="how long")
    after: Literal["arrival", "response"] = Field(
        "arrival",
        description="counted from the arrival of the request before, or from its response, whose "
        "duration response_time models",
    )
    new_tokens_correlation: Correlation = Field(
        0.0, description="rank correlation with the length of the message that follows"
    )
    response_correlation: Correlation = Field(
        0.0, description="rank correlation with the length of the response before"
    )

    @model_validator(mode="after")
    def _correlations_are_possible(self) -> ThinkTime:
        if self.new_tokens_correlation**2 + self.response_correlation**2 > 0.99:
            raise ValueError("the squares of both correlations must not add up to more than 0.99")
        return self


class ByInputTokens(Section):
    """Chances for prompts of some length."""

    below: PositiveInt | None = Field(
        None, le=2**31, description="prompts shorter than this; last: none"
    )
    chance: Chances = Field(description="after the first, second, ... request; the last repeats")


class FollowUp(Section):
    """The next message of a conversation."""

    chance: Chances | None = Field(
        None, description="after the first, second, ... request of a session; the last repeats"
    )
    by_input_tokens: tuple[ByInputTokens, ...] = Field(
        (), description="instead of chance: chances that depend on the length of the last prompt"
    )
    requests: Count | None = Field(
        None, description="instead of chance: how many requests a session has"
    )
    new_tokens: Tokens = Field(description="length of the message")
    think_time: ThinkTime = Field(description="time between two requests")

    @model_validator(mode="after")
    def _has_one_rule(self) -> FollowUp:
        given = [self.chance is not None, bool(self.by_input_tokens), self.requests is not None]
        if sum(given) != 1:
            raise ValueError("needs one of chance, by_input_tokens and requests")
        if not all(
            [self.chance is None or self.chance, *(row.chance for row in self.by_input_tokens)]
        ):
            raise ValueError("chance must not be an empty list")
        below = [row.below for row in self.by_input_tokens]
        bounds = [bound for bound in below if bound is not None]
        if below and (below[-1] is not None or len(bounds) < len(below) - 1):
            raise ValueError("each entry of by_input_tokens needs below, but the last must not")
        if bounds != sorted(bounds):
            raise ValueError(f"by_input_tokens must be in ascending order of below (got {bounds})")
        return self


class Branch(Section):
    """An earlier part of the conversation with another ending: an edit, a fork of an agent."""

    chance: Chances = Field(description="after the first, second, ... request; the last repeats")
    keep_share: Share = Field(
        description="share of the last prompt behind its head that is kept; the head always is"
    )
    tail_tokens: Tokens = Field(description="length of the new ending")
    gap: Seconds = Field(description="seconds since the last request arrived")


class Again(Section):
    """The same prompt again."""

    chance: Chances = Field(description="after the first, second, ... request; the last repeats")
    gap: Seconds = Field(description="seconds since the last request arrived")


class Client(Section):
    """One kind of session."""

    name: str = Field(min_length=1, description="stands in the column `client` of the trace")
    weight: Positive = Field(1.0, description="share of the sessions, relative to other clients")
    head: tuple[PromptPart, ...] = Field(
        (), description="what every prompt of a session starts with, in order"
    )
    first_tokens: Tokens = Field(description="length of the first message, after the head")
    response_tokens: Tokens = Field(description="length of a response")
    response_correlation: Correlation = Field(
        0.0, description="rank correlation of successive response lengths of a session"
    )
    prompt_correlation: Correlation = Field(
        0.0, description="rank correlation of the first message and its response"
    )
    response_time: ResponseTime | None = Field(
        None, description="how long responses take, where think time counts from them"
    )
    history: bool = Field(
        True, description="a follow-up holds the prompt and the response before it"
    )
    follow_up: FollowUp | None = Field(None, description="the next message; default: none")
    branch: Branch | None = Field(None, description="another ending; default: none")
    regenerate: Again | None = Field(None, description="another response; default: none")
    retry: Again | None = Field(None, description="the same request, soon after; default: none")
    context: Context | None = Field(
        None, description="context window of this client; default: the profile's"
    )
    max_requests: Annotated[PositiveInt, Field(le=10_000)] = Field(
        1_000, description="a session ends after this many"
    )

    @model_validator(mode="after")
    def _waits_for_modelled_responses(self) -> Client:
        waits = self.follow_up is not None and self.follow_up.think_time.after == "response"
        if waits != (self.response_time is not None):
            raise ValueError(
                "follow_up.think_time.after: response needs response_time"
                if waits
                else "response_time has no effect unless follow_up.think_time.after is response"
            )
        return self

    @model_validator(mode="after")
    def _chances_add_up(self) -> Client:
        follow = self.follow_up
        rows = [row.chance for row in follow.by_input_tokens] if follow else []
        rows += [follow.chance] if follow and follow.chance is not None else []
        others = [other.chance for other in (self.branch, self.regenerate, self.retry) if other]
        if not all(others):
            raise ValueError("chance must not be an empty list")
        for turn in range(max((len(row) for row in [*rows, *others]), default=0)):
            total = max((at_turn(row, turn) for row in rows), default=0.0)
            total += sum(at_turn(row, turn) for row in others)
            if total > 1 + 1e-9:
                raise ValueError(
                    f"the chances after request {turn + 1} of a session must not add up to more "
                    f"than 1 (got {total:.4g})"
                )
        return self


def at_turn(chances: tuple[float, ...], turn: int) -> float:
    """Return the chance after the request with this 0-based turn; the last one repeats."""
    return chances[min(turn, len(chances) - 1)]
