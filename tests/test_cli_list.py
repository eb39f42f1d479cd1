"""`replay list` of hardware: what ships, picked by name, and files of one's own."""

import json

import pytest
from click.testing import CliRunner

from replay.cli import main
from tests import published_configs as published


def listed(*arguments):
    result = CliRunner().invoke(main, ["list", *map(str, arguments), "--format", "json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_gpus_show_peaks_links_fit_and_error():
    rows = {row["name"]: row for row in listed("gpus")}
    h100, l4 = rows["h100-sxm"], rows["l4"]
    assert h100["bf16_tflop_per_s"] == 989
    assert h100["hbm_gb_per_s"] == 3350
    assert (h100["link"], h100["link_gb_per_s"]) == ("scale-up", 450)
    assert (h100["fit"], h100["prefill_error"]) == ("yes", "2.1/6.3 %")
    assert (l4["fit"], l4["prefill_error"]) == ("uncalibrated", "19/34 %")
    assert (l4["link"], l4["fp4_tflop_per_s"]) == ("PCIe", None)
    assert l4["unverified"] == "sms"


def test_models_show_parameters_declared_and_computed():
    rows = {row["name"]: row for row in listed("models")}
    v3 = rows["deepseek-v3"]
    assert (v3["declared_b"], v3["computed_b"]) == (671, 671.03)
    assert (v3["kv_bytes_per_token"], v3["attention"]) == (70_272, "MLA")
    assert v3["experts"] == "8 of 256"
    assert rows["gpt-oss-20b"]["weight_dtype"] == "bf16, experts mxfp4"
    assert rows["gpt-oss-20b"]["attention"] == "GQA x12, window 128 x12"
    assert rows["kimi-k3"]["gap_percent"] is None


def test_a_config_json_is_listed_beside_a_name(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(published.QWEN3))
    own, shipped = listed("models", path, "qwen3-8b")
    assert own["declared_b"] is None
    assert own["computed_b"] == shipped["computed_b"] == 8.19


def test_engines_show_what_goes_with_the_size_of_a_gpu():
    (row,) = [row for row in listed("engines") if row["name"] == "vllm"]
    assert row["max_batched_tokens"] == "2,048, from 70 GiB 8,192, from 160 GiB 16,384"
    assert row["max_sequences"] == "256, from 70 GiB 1,024"
    assert row["request_us"] == "3000 (1500 to 25000)"
    assert row["eager_layer_us"] == "550 (300 to 850) +1"


def test_hosts_show_their_links_and_prices_their_dates():
    host = listed("hosts", "dgx-h100")[0]
    assert host["gpu_link"] == "pcie5-x16 54.5 GB/s"
    price = next(row for row in listed("prices") if row["gpu"] == "mi300x")
    assert (price["date"], price["currency"], price["high"]) == ("2026-05-18", "USD", 6.0)


def test_an_unknown_name_is_an_error_that_lists_the_known():
    result = CliRunner().invoke(main, ["list", "hosts", "dgx"])
    assert result.exit_code != 0
    assert "dgx-h100" in str(getattr(result.exception, "hint", result.stderr))


@pytest.mark.parametrize("kind", ["policies", "prices", "links"])
def test_names_after_a_kind_that_is_listed_whole_are_refused(kind):
    result = CliRunner().invoke(main, ["list", kind, "x"])
    assert result.exit_code == 2
    assert "are listed whole" in result.stderr
