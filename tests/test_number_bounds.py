"""No number of a document is without bounds: 10^30 and infinity end as an error with its place."""

from __future__ import annotations

import typing
from collections.abc import Iterator

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from replay.config.catalogue import Catalogue
from replay.config.columns import Columns
from replay.config.hardware import Engine, Gpu, Host, Links, Model, Prices
from replay.config.profile import Profile
from replay.config.scenario import Scenario
from replay.errors import ConfigError, InputError
from replay.gpu.measured import read_measured
from replay.gpu.spec import load_gpu, load_model
from replay.units import parse_duration_ns

DOCUMENTS = (Catalogue, Columns, Engine, Gpu, Host, Links, Model, Prices, Profile, Scenario)


def models_of(schema: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """Yield a schema and every schema inside it."""
    if schema in seen:
        return
    seen.add(schema)
    yield schema
    for field in schema.model_fields.values():
        for inner in parts_of(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from models_of(inner, seen)


def parts_of(annotation: object) -> Iterator[object]:
    yield annotation
    for inner in typing.get_args(annotation):
        yield from parts_of(inner)


def unbounded(annotation: object, metadata: tuple[object, ...]) -> bool:
    """Return whether a number may stand here that nothing bounds from above."""
    flat = [
        one
        for item in metadata
        for one in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]
    if any(isinstance(one, annotated_types.Le | annotated_types.Lt) for one in flat):
        return False
    if any(getattr(one, "bounds_itself", False) for one in flat):
        return False
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return unbounded(inner, (*flat, *more))
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return False
    if arguments:
        return any(unbounded(one, ()) for one in arguments)
    return annotation in (int, float)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.__name__)
def test_every_number_of_a_document_has_an_upper_bound(document):
    free = [
        f"{model.__name__}.{name}"
        for model in models_of(document, set())
        for name, field in model.model_fields.items()
        if unbounded(field.annotation, tuple(field.metadata))
    ]
    assert free == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.__name__)
def test_no_number_of_a_document_is_infinite(document):
    assert all(
        model.model_config.get("allow_inf_nan") is False for model in models_of(document, set())
    )


@pytest.mark.parametrize("name", ["tp", "context_tokens", "batch", "measured_ms"])
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400", "1e30", "-3", "1e18"])
def test_a_cell_of_measured_steps_is_a_number_within_bounds(tmp_path, name, value):
    cells = {"tp": "1", "context_tokens": "8", "batch": "4", "measured_ms": "8.5"} | {name: value}
    row = f"h,llama-3.1-8b,{cells['tp']},decode,1,{cells['context_tokens']},{cells['batch']},0,"
    path = tmp_path / "c.csv"
    header = "gpu,model,tp,phase,new_tokens,context_tokens,batch,decode_ctx,measured_ms"
    path.write_text(f"{header}\n{row}{cells['measured_ms']}\n")
    with pytest.raises(ConfigError, match=rf"c.csv:2: {name} must be .* \(got '{value}'\)"):
        read_measured(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ('"num_hidden_layers": 436182219', "num_hidden_layers must be at most 4,096"),
        ('"hidden_size": 1e400', "hidden_size must be a whole number from 1 (got inf)"),
        (f'"hidden_size": {10**30}', "hidden_size must be at most 16,777,216 (got 1"),
        (f'"vocab_size": {"9" * 5000}', "a number of thousands of digits is out of range"),
        ('"moe_layer_freq": [1e9]', "moe_layer_freq must be a list of one item a layer"),
        (
            '"quantization_config": {"quant_method": "compressed-tensors", "config_groups": '
            '{"group_0": -4}}',
            "config_groups.group_0 must be a mapping (got -4)",
        ),
        ('"quantization_config": [1]', "quantization_config must be a mapping"),
    ],
)
def test_a_number_of_a_published_config_has_bounds(tmp_path, change, problem):
    path = tmp_path / "config.json"
    plain = (
        '"model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 4, "num_experts": 8, '
        '"num_experts_per_tok": 2, "moe_intermediate_size": 16, "intermediate_size": 64, '
        '"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1000'
    )
    name = change.partition(":")[0]
    kept = [part for part in plain.split(", ") if not part.startswith(name)]
    path.write_text(f"{{{', '.join([*kept, change])}}}")
    with pytest.raises(ConfigError) as caught:
        load_model(path)
    assert problem in str(caught.value)


def test_dimensions_whose_product_is_beyond_any_model_are_refused(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(
        "name: m\nlayers: 4096\nhidden: 16777216\nheads: 16777216\nkv_heads: 1\nhead_dim: 1024\n"
        "ffn: 1\nvocab: 1\ntied_embeddings: true\nsources: {}\n"
    )
    with pytest.raises(ConfigError, match=r"the dimensions make .* parameters, above the 1e\+15"):
        load_model(path)


@pytest.mark.parametrize("value", [".inf", ".nan", "1e400", str(10**30), "0", "[1]", "{a: 1}"])
def test_a_number_of_a_gpu_file_has_bounds(tmp_path, value):
    path = tmp_path / "g.yaml"
    path.write_text(
        f"name: g\nmemory_bytes: 80000000000\nhbm_bytes_per_s: {value}\nsms: 100\n"
        "bf16_flop_per_s: 1000000000000000\nlink_bytes_per_s: 1000000000\nsources: {}\n"
    )
    with pytest.raises(ConfigError, match=r"g.yaml:3:18: hbm_bytes_per_s: must "):
        load_gpu(path)


@pytest.mark.parametrize("text", ["37000d", "1e30h", "0.5ns", "0s"])
def test_a_duration_is_one_that_a_clock_can_count(text):
    with pytest.raises(InputError, match="between 1 ns and 36 years"):
        parse_duration_ns(text)
