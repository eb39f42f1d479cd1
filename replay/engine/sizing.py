"""How large the cache of a run is, and where that number comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from replay.config.backends import TAKES_NUMBERS
from replay.config.scenario import Scenario
from replay.engine.named_engine import default_block_size
from replay.errors import InputError
from replay.units import Capacity, format_bytes

if TYPE_CHECKING:
    from replay.gpu.memory import KvPool
    from replay.gpu.spec import Gpu, Model

DEFAULT_BLOCK_SIZE = 16  # vLLM's default, for traces that have no block size of their own


@dataclass(frozen=True, slots=True)
class Hardware:
    """The GPU and model of a run, and the KV pool they leave."""

    gpu: Gpu
    model: Model
    tensor_parallel: int
    pool: KvPool


@dataclass(frozen=True, slots=True)
class Sizing:
    """The cache of a run: `capacity_blocks` None is unlimited, `source` says who decided.

    `hardware` is None where nothing about a GPU was needed.
    """

    block_size: int
    capacity_blocks: int | None
    source: str
    hardware: Hardware | None

    @property
    def capacity_tokens(self) -> int | None:
        """The capacity in tokens."""
        return None if self.capacity_blocks is None else self.capacity_blocks * self.block_size

    @property
    def capacity_bytes(self) -> int | None:
        """The capacity in bytes, where the model is known."""
        if self.hardware is None or self.capacity_tokens is None:
            return None
        return self.capacity_tokens * self.hardware.pool.kv_bytes_per_token

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know about the size."""
        if self.hardware is None:
            return ()
        known = self.hardware.model.notes
        if self.source == "the GPU's memory":
            return (*known, *self.hardware.pool.notes)
        pool = self.hardware.pool.pool_bytes
        if self.capacity_bytes is not None and self.capacity_bytes <= pool:
            return known
        left = format_bytes(pool)
        return (
            *known,
            f"the cache is larger than the {left} the GPU leaves for KV: a what-if",
        )


def size_cache(
    scenario: Scenario, trace_block_size: int | None, hardware: Hardware | None = None
) -> Sizing:
    """Return block size and capacity of a run, on the `hardware` that was looked up for it.

    Without it, it is looked up here where it matters. Raises what that raises, and InputError for
    a cache below one block.
    """
    hardware = hardware or needed_hardware(scenario)
    default = default_block_size(scenario) or DEFAULT_BLOCK_SIZE
    block_size = scenario.cache.block_size or trace_block_size or default
    if scenario.cache.kind == "session_store":
        block_size = 1
    elif scenario.cache.kind == "radix":
        block_size = scenario.cache.block_size or 1
    asked = scenario.cache.parsed_capacity
    if asked.unit == "auto" and hardware is None:
        asked = Capacity("inf")
    return _sized(asked, block_size, hardware)


def needed_hardware(scenario: Scenario) -> Hardware | None:
    """Return the hardware of a scenario where it matters, else None.

    It matters to timed runs whose steps are those of a GPU, to capacities in bytes, and to any run
    that names a GPU or a model. Raises UnknownNameError and DoesNotFitError.
    """
    timed = scenario.engine.mode == "timed" and scenario.gpu.backend != TAKES_NUMBERS
    if not timed and not scenario.hardware_named and scenario.cache.parsed_capacity.unit != "bytes":
        return None
    return find_hardware(scenario)


def find_hardware(scenario: Scenario) -> Hardware:
    """Return the GPU and model a scenario names and the KV pool they leave."""
    from replay.gpu.memory import kv_pool
    from replay.gpu.spec import load_gpu, load_model

    gpu, model = load_gpu(scenario.gpu.name), load_model(scenario.model.name)
    pool = kv_pool(
        gpu,
        model,
        tensor_parallel=scenario.gpu.tensor_parallel,
        memory_utilization=scenario.gpu.memory_utilization,
        memory_share_of=scenario.gpu.memory_share_of,
        max_batched_tokens=scenario.engine.max_batched_tokens,
        max_sequences=scenario.engine.max_sequences,
        weight_dtype=scenario.model.weight_dtype,
        kv_dtype=scenario.model.kv_dtype,
    )
    return Hardware(gpu, model, scenario.gpu.tensor_parallel, pool)


def _sized(asked: Capacity, block_size: int, hardware: Hardware | None) -> Sizing:
    if asked.unit == "inf":
        return Sizing(block_size, None, "unlimited", hardware)
    if asked.unit == "blocks":
        blocks, source = asked.amount, "as given"
    elif asked.unit == "tokens":
        blocks, source = asked.amount // block_size, "as given"
    else:
        assert hardware is not None  # size_cache looked it up for `auto` and `bytes`
        block_bytes = block_size * hardware.pool.kv_bytes_per_token
        given = asked.unit == "bytes"
        size = asked.amount if given else hardware.pool.pool_bytes
        blocks, source = size // block_bytes, "as given" if given else "the GPU's memory"
    if blocks < 1:
        raise InputError(
            f"a cache of {asked} holds no block of {block_size} tokens",
            hint="give a larger --capacity or a smaller --block-size",
        )
    return Sizing(block_size, blocks, source, hardware)
