"""Recompute against load: from which length a prefix is faster fetched than computed again.

Computing it again is what it adds to the steps of the prompt it belongs to: all of the prompt
against its suffix on cached context, in chunks of the token budget. Loading moves the KV of the
prefix over the links of the machine, each GPU its own part; drives are shared by the GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.gpu.cost import StepCost, time_steps, uniform_steps
from replay.gpu.replica import Replica
from replay.gpu.spec import Host, Link, load_link
from replay.units import NS_PER_S

LONGEST = 2**20  # tokens up to which a break-even is looked for


@dataclass(frozen=True, slots=True)
class Tier:
    """One place KV can wait in, and the links it comes over; none for the GPU's own memory."""

    name: str
    links: tuple[Link, ...]
    shared: tuple[bool, ...]
    measured: bool

    def load_ns(self, replica: Replica, tokens: int) -> float:
        """Return the time to bring the KV of a prefix: the slowest link, and all fixed times."""
        if not self.links or tokens == 0:
            return 0.0
        total = replica.model.kv_bytes(tokens, replica.kv_dtype, replica.tensor_parallel)
        gpus = replica.tensor_parallel
        slowest = max(
            (total if shared else total / gpus) / link.effective_bytes_per_s
            for link, shared in zip(self.links, self.shared, strict=True)
        )
        return sum(link.fixed_ns for link in self.links) + slowest * NS_PER_S


def tiers_of(host: Host) -> list[Tier]:
    """Return the tiers of a machine: HBM, host memory, its drives and its network."""
    up = load_link(host.gpu_link)
    tiers = [Tier("HBM", (), (), True), Tier("host memory", (up,), (False,), _sure(up))]
    if host.drive is not None:
        drive = load_link(host.drive)
        tiers.append(Tier("SSD", (drive, up), (True, False), _sure(drive) and _sure(up)))
    if host.network is not None:
        network = load_link(host.network)
        tiers.append(Tier("network", (network,), (False,), _sure(network)))
    return tiers


def _sure(link: Link) -> bool:
    return "effective_bytes_per_s" not in link.unverified


def recompute_ns(cost: StepCost, prefix: int, suffix: int) -> float:
    """Return what computing a prefix adds to the steps of a prompt with that suffix."""
    return max(_prefill_ns(cost, 0, prefix + suffix) - _prefill_ns(cost, prefix, suffix), 0.0)


def _prefill_ns(cost: StepCost, cached: int, new: int) -> float:
    """Return the steps of `new` tokens after `cached` ones, in chunks of the token budget."""
    budget = len(cost.linear_ns) - 1
    done = np.arange(0, new, budget)
    chunks = np.minimum(budget, new - done)
    return float(time_steps(cost, uniform_steps(chunks, cached + done, head=False)).sum())


def break_even_tokens(
    replica: Replica, cost: StepCost, tier: Tier, *, suffix: int, block: int = 16
) -> int | None:
    """Return the shortest prefix, in whole blocks, from which loading it is no slower.

    Found by bisection, as recomputing grows at least as fast as the prefix does. None where loading
    does not win up to LONGEST tokens; 0 for what is in the GPU's memory already.
    """
    if not tier.links:
        return 0
    if tier.load_ns(replica, LONGEST) > recompute_ns(cost, LONGEST, suffix):
        return None
    low, high = 0, LONGEST // block
    while low + 1 < high:
        middle = (low + high) // 2
        tokens = middle * block
        if tier.load_ns(replica, tokens) <= recompute_ns(cost, tokens, suffix):
            high = middle
        else:
            low = middle
    return high * block
