"""The parts all hardware files share: frozen, no unknown keys, a source for what they say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Efficiency = Annotated[float, Field(gt=0, le=1)]

# Every number of a hardware file has bounds, far above what there is and far below what would
# overflow, or take for ever, in what is computed from it.
Layers = Annotated[int, Field(ge=1, le=4096)]
Width = Annotated[int, Field(ge=1, le=2**24)]  # of a matrix; a count of heads or of experts
WidthOrNone = Annotated[int, Field(ge=0, le=2**24)]
Bytes = Annotated[int, Field(ge=1, le=2**60)]
PerSecond = Annotated[int, Field(ge=10**6, le=10**18)]  # bytes or operations
FixedNs = Annotated[float, Field(ge=0, le=1e12)]
Percent = Annotated[float, Field(ge=0, le=1e6)]


class HardwareSection(BaseModel):
    """A part of a hardware file: no unknown keys, no changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourcedFile(HardwareSection):
    """A hardware file that says for each of its keys where the value was found."""

    sources: dict[str, str] = Field(description="key to where its value was found")
    unverified: tuple[str, ...] = Field((), description="keys whose value rests on no source read")

    @model_validator(mode="after")
    def _name_keys_there_are(self) -> Self:
        known = set(type(self).model_fields) | {"dimensions"}
        for part, names in (("sources", self.sources), ("unverified", self.unverified)):
            stray = sorted(set(names) - known)
            if stray:
                raise ValueError(f"{part} names {', '.join(stray)}, which is no key of this file")
        return self
