"""GPUs and models by name, from the files under `hardware/` or from the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from replay.config.hardware import BYTES_PER_VALUE, Gpu, HardwareSection, Model
from replay.config.load import load_document
from replay.errors import InputError, UnknownNameError
from replay.resources import data_folder

__all__ = [
    "BYTES_PER_VALUE",
    "Gpu",
    "Model",
    "gpu_names",
    "kv_bytes_in",
    "kv_heads_per_gpu",
    "load_gpu",
    "load_model",
    "model_names",
    "splits_evenly",
]

MAX_GPUS = 64
KV_DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
SUFFIXES = (".yaml", ".yml")

File = TypeVar("File", bound=HardwareSection)


def gpu_names() -> list[str]:
    """Return the GPUs that ship with replay, sorted."""
    return _names("gpus")


def model_names() -> list[str]:
    """Return the models that ship with replay, sorted."""
    return _names("models")


def load_gpu(name_or_path: str | Path) -> Gpu:
    """Return a GPU by its shipped name, or from a YAML file.

    Raises UnknownNameError for a name that does not ship, and as `load_document` for a file.
    """
    return _load("gpus", "GPU", name_or_path, Gpu)


def load_model(name_or_path: str | Path) -> Model:
    """Return a model by its shipped name, or from a YAML file.

    Raises UnknownNameError for a name that does not ship, and as `load_document` for a file.
    """
    return _load("models", "model", name_or_path, Model)


def splits_evenly(model: Model, tensor_parallel: int) -> bool:
    """Return whether heads and MLP can be spread over that many GPUs without a remainder.

    Past `kv_heads` GPUs each KV head is stored on several of them, so the counts must divide.
    """
    return (
        model.heads % tensor_parallel == 0
        and model.ffn % tensor_parallel == 0
        and (model.kv_heads % tensor_parallel == 0 or tensor_parallel % model.kv_heads == 0)
    )


def kv_heads_per_gpu(model: Model, tensor_parallel: int) -> int:
    """Return the KV heads each GPU holds, at least one.

    Raises InputError where the model cannot be spread over that many GPUs.
    """
    if not splits_evenly(model, tensor_parallel):
        splits = [count for count in range(1, MAX_GPUS + 1) if splits_evenly(model, count)]
        raise InputError(
            f"{model.name} cannot be split over {tensor_parallel} GPUs (heads {model.heads}, "
            f"kv_heads {model.kv_heads}, ffn {model.ffn})",
            hint=f"tensor_parallel may be {', '.join(map(str, splits))}",
        )
    return max(1, model.kv_heads // tensor_parallel)


def kv_bytes_in(dtype: str, bf16_bytes: int) -> int:
    """Return what takes `bf16_bytes` of KV in bf16 in another type; raises UnknownNameError."""
    if dtype not in KV_DTYPE_BYTES:
        raise UnknownNameError("KV type", dtype, KV_DTYPE_BYTES)
    return bf16_bytes * KV_DTYPE_BYTES[dtype] // BYTES_PER_VALUE


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (data_folder("hardware") / folder).glob("*.yaml"))


def _load(folder: str, kind: str, name_or_path: str | Path, schema: type[File]) -> File:
    path = Path(name_or_path)
    if path.suffix not in SUFFIXES and len(path.parts) == 1:
        if str(name_or_path) not in _names(folder):
            raise UnknownNameError(kind, str(name_or_path), _names(folder))
        path = data_folder("hardware") / folder / f"{name_or_path}.yaml"
    return load_document(path, schema)
