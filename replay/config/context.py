"""The context window of a profile and of its clients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from replay.config.distribution import MAX_TOKENS
from replay.config.section import Section


class Context(Section):
    """The model's context window and what a client does when a prompt outgrows it."""

    limit: Annotated[PositiveInt, Field(ge=2, le=MAX_TOKENS)] = Field(
        description="tokens of prompt and response together"
    )
    truncate: Literal["keep_system", "sliding", "reject"] = Field(
        "keep_system",
        description="forget the oldest messages but the head of the prompt, the head as well, or "
        "end the session",
    )
    keep_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="share of the limit that is filled after forgetting; below one, some turns "
        "follow before it happens again",
    )

    @model_validator(mode="after")
    def _keeps_a_share_of_something(self) -> Context:
        if self.truncate == "reject" and self.keep_share != 1:
            raise ValueError("keep_share has no effect when truncate is reject")
        return self
