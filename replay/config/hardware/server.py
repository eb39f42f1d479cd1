"""What a serving engine takes outside the GPU, for a request and for a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from replay.config.hardware.section import FixedNs, HardwareSection

ModelKind = Literal["dense", "moe", "mla"]
MODEL_KINDS: tuple[ModelKind, ...] = ("dense", "moe", "mla")
Which = Literal["low", "typical", "high"]


class Overhead(HardwareSection):
    """A time outside the GPU with the range that was seen, and the replicas that it is for."""

    models: tuple[ModelKind, ...] = Field(
        MODEL_KINDS, min_length=1, description="kinds of model: dense, moe, mla (latent)"
    )
    tensor_parallel_from: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="fewest GPUs of a replica"
    )
    typical: FixedNs
    low: FixedNs
    high: FixedNs

    @model_validator(mode="after")
    def _in_order(self) -> Overhead:
        if not self.low <= self.typical <= self.high:
            raise ValueError("low, typical and high must not fall")
        return self

    def suits(self, kind: ModelKind, tensor_parallel: int) -> bool:
        """Return whether it is for a replica of so many GPUs with such a model."""
        return kind in self.models and tensor_parallel >= self.tensor_parallel_from


def _for_every_replica(found: tuple[Overhead, ...]) -> tuple[Overhead, ...]:
    first = found[0]
    if first.models != MODEL_KINDS or first.tensor_parallel_from != 1:
        raise ValueError("the first one is for every replica: no models, no tensor_parallel_from")
    return found


Overheads = Annotated[tuple[Overhead, ...], Field(min_length=1), AfterValidator(_for_every_replica)]


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """What an engine takes outside the GPU on one replica, in ns.

    A request takes `request_ns`, `prompt_token_ns` for each token of its prompt, and `answer_ns`
    for each request that gets a token with its first one. A step lasts at least `launch_ns` and
    `launch_request_ns` for each request in it; with prompts `launch_layer_ns` more for each layer,
    and where they make it too large for CUDA graphs `eager_layer_ns` more. `after_ns` comes on top
    of every step.
    """

    request_ns: float = 0.0
    prompt_token_ns: float = 0.0
    answer_ns: float = 0.0
    launch_ns: float = 0.0
    launch_request_ns: float = 0.0
    launch_layer_ns: float = 0.0
    eager_layer_ns: float = 0.0
    after_ns: float = 0.0


def chosen(found: Sequence[Overhead], kind: ModelKind, tensor_parallel: int, which: Which) -> float:
    """Return the end `which` of the last range that suits a replica, in ns."""
    last = [one for one in found if one.suits(kind, tensor_parallel)][-1]
    value: float = getattr(last, which)
    return value
