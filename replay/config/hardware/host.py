"""Machines that GPUs stand in, and the links that KV moves over."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from replay.config.hardware.section import Bytes, HardwareSection, PerSecond, SourcedFile
from replay.repeated import first_repeated
from replay.units import NS_PER_S


class Link(HardwareSection):
    """One way for KV to move: a transfer takes `fixed_ns` and then its bytes at a constant rate."""

    name: str
    kind: Literal["host_link", "host_memory", "drive", "network"] = Field(
        description="host_link: GPU to host; drive and network: host or GPU to storage and peers"
    )
    nominal_bytes_per_s: PerSecond | None = Field(
        None, description="what it is sold as, one direction; null: known from measurement only"
    )
    effective_bytes_per_s: PerSecond = Field(description="what a long transfer reaches")
    fixed_ns: int = Field(ge=0, le=10**12, description="time of a transfer of nothing")
    source: str = Field(description="where the values were found")
    unverified: tuple[str, ...] = Field((), description="keys whose value rests on no source read")

    @model_validator(mode="after")
    def _sound(self) -> Link:
        stray = sorted(set(self.unverified) - set(type(self).model_fields))
        if stray:
            raise ValueError(f"unverified names {', '.join(stray)}, which is no key of a link")
        nominal = self.nominal_bytes_per_s
        if nominal is not None and self.effective_bytes_per_s > nominal:
            raise ValueError("effective_bytes_per_s must not be above nominal_bytes_per_s")
        return self

    def transfer_ns(self, size_bytes: int) -> int:
        """Return the time of one transfer, rounded up to whole nanoseconds."""
        return self.fixed_ns + math.ceil(size_bytes * NS_PER_S / self.effective_bytes_per_s)


class Links(HardwareSection):
    """All links that ship, by name."""

    links: tuple[Link, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Links:
        twice = first_repeated(link.name for link in self.links)
        if twice is not None:
            raise ValueError(f"two links have one name (got {twice!r})")
        return self


class Host(SourcedFile):
    """A machine with its GPUs: host memory, and the links by name (see links.yaml)."""

    name: str
    gpus: Annotated[int, Field(ge=1, le=2**20)] = Field(description="GPUs in the machine")
    dram_bytes: Bytes | None = Field(None, description="host memory; null: varies")
    dram_bytes_per_s: PerSecond | None = Field(
        None, description="bandwidth of host memory, all channels of the machine together"
    )
    gpu_link: str = Field(description="from each GPU to host memory")
    drive: str | None = Field(None, description="the local drives")
    network: str | None = Field(None, description="to other machines, for each GPU")
