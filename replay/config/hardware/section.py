"""The parts all hardware files share: frozen, no unknown keys, a source for what they say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Efficiency = Annotated[float, Field(gt=0, le=1)]


class HardwareSection(BaseModel):
    """A part of a hardware file: no unknown keys, no changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
