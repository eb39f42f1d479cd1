"""How large the cache becomes, and who decided."""

from __future__ import annotations

import dataclasses
import json

import pytest

from replay.config.scenario import Scenario
from replay.engine.sizing import size_cache
from replay.errors import DoesNotFitError, InputError, UnknownNameError
from tests import published_configs


def scenario(capacity: str = "auto", mode: str = "untimed", **sections) -> Scenario:
    cache = {"capacity": capacity, **sections.pop("cache", {})}
    return Scenario(cache=cache, engine={"mode": mode}, **sections)


def test_untimed_cache_is_unlimited_unless_a_gpu_is_named():
    assert size_cache(scenario(), 512).capacity_blocks is None
    named = size_cache(scenario(gpu={"name": "h100-sxm"}), 512)
    assert named.capacity_blocks == named.hardware.pool.pool_bytes // (512 * 131_072)
    assert named.source == "the GPU's memory"


def test_timed_cache_is_what_the_gpu_leaves():
    sizing = size_cache(scenario(mode="timed"), 16)
    assert sizing.capacity_bytes <= sizing.hardware.pool.pool_bytes
    assert sizing.capacity_bytes + 16 * 131_072 > sizing.hardware.pool.pool_bytes


@pytest.mark.parametrize(
    ("text", "blocks"),
    [("inf", None), ("20000blocks", 20_000), ("10Mtokens", 19_531), ("1GiB", 16), ("7", 7)],
)
def test_capacity_is_read_in_every_unit(text, blocks):
    assert size_cache(scenario(text), 512).capacity_blocks == blocks


def test_block_size_is_the_scenarios_then_the_traces_then_sixteen():
    assert size_cache(scenario(cache={"block_size": 64}), 512).block_size == 64
    assert size_cache(scenario(), 512).block_size == 512
    assert size_cache(scenario(), None).block_size == 16


def test_a_cache_below_one_block_is_refused():
    with pytest.raises(InputError, match="holds no block of 512"):
        size_cache(scenario("100tokens"), 512)


def test_a_cache_beyond_the_gpu_is_called_a_what_if():
    assert "what-if" in size_cache(scenario("inf", mode="timed"), 512).notes[0]
    assert size_cache(scenario("1GiB", mode="timed"), 512).notes == ()


def test_a_cache_of_all_that_the_gpu_leaves_is_no_what_if():
    sizing = size_cache(scenario("auto", mode="timed", cache={"block_size": 1}), None)
    pool = dataclasses.replace(sizing.hardware.pool, pool_bytes=sizing.capacity_bytes)
    hardware = dataclasses.replace(sizing.hardware, pool=pool)
    given = dataclasses.replace(sizing, source="as given", hardware=hardware)
    assert given.notes == ()
    more = dataclasses.replace(given, capacity_blocks=given.capacity_blocks + 1)
    assert "what-if" in more.notes[0]


def test_an_untimed_run_needs_no_gpu_but_checks_one_that_is_named():
    assert size_cache(scenario("5blocks"), 512).hardware is None
    assert (
        size_cache(scenario("5blocks", gpu={"name": "h100-sxm"}), 512).capacity_bytes == 5 * 2**26
    )
    with pytest.raises(UnknownNameError):
        size_cache(scenario("5blocks", gpu={"name": "no such thing"}), 512)


def test_unknown_gpu_names_the_near_ones():
    with pytest.raises(UnknownNameError) as error:
        size_cache(scenario(mode="timed", gpu={"name": "h100"}), 512)
    assert "h100-sxm" in error.value.hint


def test_a_model_that_does_not_fit_says_by_how_much():
    with pytest.raises(DoesNotFitError, match=r"need .* more than"):
        size_cache(scenario(mode="timed", model={"name": "llama-3.1-70b"}), 512)


def test_types_of_weights_and_kv_change_the_cache():
    plain = size_cache(scenario(mode="timed"), 16)
    small = {"kv_dtype": "fp8", "weight_dtype": "fp8"}
    halved = size_cache(scenario(mode="timed", model=small), 16)
    assert halved.hardware.pool.kv_bytes_per_token * 2 == plain.hardware.pool.kv_bytes_per_token
    assert halved.capacity_blocks > 2 * plain.capacity_blocks


def test_memory_set_aside_for_windows_is_noted():
    sizing = size_cache(scenario(mode="timed", model={"name": "gpt-oss-20b"}), 16)
    assert sizing.notes == sizing.hardware.pool.notes
    assert "set aside for windows and states" in sizing.notes[0]


def test_a_model_may_be_its_published_config(tmp_path):
    path = tmp_path / "Own" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(published_configs.LLAMA))
    sizing = size_cache(scenario(mode="timed", model={"name": str(path)}), 16)
    assert sizing.capacity_blocks == size_cache(scenario(mode="timed"), 16).capacity_blocks
    assert "Own has 8.03 billion parameters" in sizing.notes[0]
