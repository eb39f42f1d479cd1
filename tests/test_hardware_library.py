"""What ships under hardware/: files are valid, values have sources, names lead somewhere."""

import pytest
from pydantic import ValidationError

from replay.config.hardware import Engine, Gpu, Host, Link, Links, Price
from replay.errors import ConfigError, UnknownNameError
from replay.gpu.spec import (
    engine_names,
    gpu_names,
    host_names,
    load_engine,
    load_gpu,
    load_host,
    load_link,
    load_links,
    load_model,
    load_prices,
    model_names,
)
from replay.resources import data_folder

HARDWARE = data_folder("hardware")
DESCRIPTIONS = {"name", "version", "sources", "unverified"}
GPUS = [load_gpu(name) for name in gpu_names()]


def test_thirty_accelerators_and_every_model_of_the_collection_ship():
    assert len(gpu_names()) >= 30
    assert len(model_names()) >= 41
    kinds = {group.kind for name in model_names() for group in load_model(name).attention_groups}
    assert kinds == {"full", "mla", "window", "chunked", "compressed", "linear"}


def test_every_file_is_found_by_its_name():
    stems = {path.stem for path in HARDWARE.glob("*/*.yaml")}
    assert stems == {*gpu_names(), *model_names(), *engine_names(), *host_names()}


@pytest.mark.parametrize("name", engine_names())
def test_engine_file_says_where_every_value_is_from(name):
    engine = load_engine(name)
    assert engine.name == name
    assert set(engine.sources) == engine.model_fields_set - DESCRIPTIONS
    assert set(engine.unverified) <= set(Engine.model_fields)


@pytest.mark.parametrize("name", host_names())
def test_host_file_says_where_every_value_is_from(name):
    host = load_host(name)
    given = {key for key in host.model_fields_set if getattr(host, key) is not None}
    assert host.name == name
    assert set(host.sources) == given - DESCRIPTIONS
    assert set(host.unverified) <= given


@pytest.mark.parametrize("name", host_names())
def test_hosts_name_links_of_the_right_kind(name):
    host = load_host(name)
    assert load_link(host.gpu_link).kind == "host_link"
    assert host.drive is None or load_link(host.drive).kind == "drive"
    assert host.network is None or load_link(host.network).kind == "network"


def test_every_gpu_stands_in_a_host_and_every_host_has_one():
    assert {gpu.host for gpu in GPUS} == set(host_names())


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_narrower_types_are_never_slower(gpu):
    peaks = [gpu.bf16_flop_per_s, gpu.fp8_flop_per_s, gpu.fp4_flop_per_s]
    there = [peak for peak in peaks if peak is not None]
    assert there == sorted(there)


def test_nothing_is_a_sparse_peak():
    # Dense FP8 is twice dense bf16, within the rounding of data sheets.
    ratios = {gpu.name: gpu.fp8_flop_per_s / gpu.bf16_flop_per_s
              for gpu in GPUS if gpu.fp8_flop_per_s}  # fmt: skip
    odd = {name for name, ratio in ratios.items() if abs(ratio - 2) > 0.03}
    assert odd == {"gaudi3"}  # its matrix engine runs both at one rate
    assert load_gpu("l40s").fp8_flop_per_s == 733 * 10**12


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_a_gpu_without_measurements_says_so_and_expects_more_error(gpu):
    if gpu.calibrated:
        assert "no measurements" not in gpu.fit.provenance
    else:
        assert "no measurements" in gpu.fit.provenance
        assert gpu.fit.error.prefill.median_percent == 19
        assert gpu.fit.gemm_efficiency == 0.78


def test_gpus_with_measurements_are_calibrated():
    calibrated = {gpu.name for gpu in GPUS if gpu.calibrated}
    assert calibrated == {
        "a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm", "gb200", "b300-sxm", "l40s",
        "rtx-pro-6000", "rtx-4090", "h20", "h20-3e",
    }  # fmt: skip


def test_a_gpu_without_a_scale_up_link_meets_others_over_pcie():
    fields = load_gpu("h100-pcie").model_dump(exclude_unset=True)
    assert load_gpu("h100-pcie").link_bytes_per_s == 64 * 10**9
    assert not load_gpu("h100-pcie").scale_up
    assert Gpu.model_validate(fields | {"link_bytes_per_s": 10**9}).scale_up
    fields.pop("pcie_bytes_per_s")
    with pytest.raises(ValidationError, match="link_bytes_per_s or pcie_bytes_per_s is needed"):
        Gpu.model_validate(fields | {"sources": {}})


def test_the_smallest_file_of_ones_own_is_enough(tmp_path):
    text = (HARDWARE / "README.md").read_text()
    example = text.split("## Your own GPU")[1].split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    gpu = load_gpu(path)
    assert not gpu.calibrated
    assert gpu.fit.attention_tile_rows == 128
    assert gpu.link_bytes_per_s == gpu.host_bytes_per_s == 64 * 10**9


def test_a_source_for_a_key_that_is_none_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    text = (HARDWARE / "gpus" / "l4.yaml").read_text()
    path.write_text(text.replace("unverified: [sms]", "unverified: [sm]"))
    with pytest.raises(ConfigError, match="unverified names sm, which is no key"):
        load_gpu(path)


@pytest.mark.parametrize(
    ("gpu", "tokens", "sequences"),
    [
        ("l4", 2048, 256),
        ("a100-sxm-80gb", 2048, 256),
        ("h100-sxm", 8192, 1024),
        ("b200-sxm", 16_384, 1024),
    ],
)
def test_vllm_has_its_defaults_by_size_of_gpu(gpu, tokens, sequences):
    chosen = load_engine("vllm").scheduler_on(load_gpu(gpu))
    assert (chosen.max_batched_tokens, chosen.max_sequences) == (tokens, sequences)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scheduler", [{"memory_from_bytes": 1, "max_batched_tokens": 1, "max_sequences": 1}]),
        ("scheduler", []),
        ("request_ns", [{"typical": 1.0, "low": 2.0, "high": 3.0}]),
        ("answer_ns", []),
        ("launch_ns", [{"typical": 1, "low": 1, "high": 1, "models": ["sparse"]}]),
    ],
)
def test_an_engine_must_cover_every_gpu_and_its_ranges_rise(key, value):
    fields = load_engine("vllm").model_dump()
    with pytest.raises(ValidationError, match=key):
        Engine.model_validate(fields | {key: value})


@pytest.mark.parametrize("only", [{"models": ["moe"]}, {"tensor_parallel_from": 2}])
def test_what_comes_first_of_a_servers_times_is_for_every_replica(only):
    fields = load_engine("vllm").model_dump()
    some = {"typical": 1.0, "low": 1.0, "high": 1.0, **only}
    with pytest.raises(ValidationError, match="the first one is for every replica"):
        Engine.model_validate(fields | {"request_ns": [some]})


def test_of_a_servers_times_the_last_that_suits_a_replica_counts():
    fields = load_engine("vllm").model_dump()
    ranges = [
        {"low": 1, "typical": 2, "high": 3},
        {"low": 4, "typical": 5, "high": 6, "tensor_parallel_from": 2},
        {"low": 7, "typical": 8, "high": 9, "models": ["moe", "mla"]},
    ]
    engine = Engine.model_validate(fields | {"request_ns": ranges})
    assert engine.times("dense", 1, "typical").request_ns == 2
    assert engine.times("dense", 4, "low").request_ns == 4
    assert (
        engine.times("mla", 1, "high").request_ns == engine.times("mla", 4, "high").request_ns == 9
    )


def test_a_model_is_dense_or_has_experts_or_latents():
    kinds = {name: load_model(name).kind for name in ("llama-3.1-8b", "mixtral-8x7b", "kimi-k2.5")}
    assert kinds == {"llama-3.1-8b": "dense", "mixtral-8x7b": "moe", "kimi-k2.5": "mla"}
    assert load_model("deepseek-v4-flash").kind == "mla"  # compressed


def test_a_transfer_takes_its_fixed_time_and_its_bytes():
    link = load_link("pcie5-x16")
    assert link.transfer_ns(0) == 20_000
    assert link.transfer_ns(54_500_000_000) == 20_000 + 10**9
    assert link.transfer_ns(1) == 20_001


def test_effective_rates_stay_below_nominal_ones():
    for link in load_links():
        assert link.source
        if link.nominal_bytes_per_s is not None:
            assert 0.65 < link.effective_bytes_per_s / link.nominal_bytes_per_s < 0.9
    with pytest.raises(ValidationError, match="must not be above"):
        Link.model_validate(load_link("pcie5-x16").model_dump() | {"nominal_bytes_per_s": 10**6})


def test_two_links_of_one_name_are_a_fault():
    link = load_link("pcie5-x16").model_dump()
    with pytest.raises(ValidationError, match="two links have one name"):
        Links.model_validate({"links": [link, link]})


def test_every_gpu_has_a_price_or_is_known_to_have_none():
    prices = load_prices()
    priced = {price.gpu for price in prices.prices}
    assert priced <= set(gpu_names())
    assert set(prices.no_price_found) == set(gpu_names()) - priced


def test_every_price_has_its_date_currency_and_source():
    for price in load_prices().prices:
        assert price.date.year >= 2024
        assert price.currency == "USD"
        assert price.source


def test_prices_must_rise():
    fields = load_prices().prices[0].model_dump()
    with pytest.raises(ValidationError, match="must not fall"):
        Price.model_validate(fields | {"low": 99.0})
    none = {"low": None, "typical_low": None, "typical_high": None, "high": None}
    with pytest.raises(ValidationError, match="one be given"):
        Price.model_validate(fields | none)


@pytest.mark.parametrize(
    ("load", "known"),
    [
        (load_gpu, "h100-sxm"),
        (load_model, "deepseek-v3"),
        (load_engine, "vllm"),
        (load_host, "dgx-h100"),
        (load_link, "pcie5-x16"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(load, known):
    with pytest.raises(UnknownNameError) as caught:
        load("no such thing")
    assert known in caught.value.hint


def test_a_host_may_be_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ngpus: 2\ngpu_link: pcie5-x16\nsources: {}\n")
    assert load_host(path) == Host(name="mine", gpus=2, gpu_link="pcie5-x16", sources={})
