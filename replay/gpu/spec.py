"""GPUs and models by name, from the files under `hardware/` or from the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from replay.config.hardware import (
    BYTES_PER_VALUE,
    Engine,
    Gpu,
    HardwareSection,
    Host,
    Link,
    Links,
    Model,
    Prices,
    kv_bytes_in,
)
from replay.config.load import load_document
from replay.config.published.read import read_published
from replay.errors import InputError, UnknownNameError
from replay.resources import data_folder

__all__ = [
    "BYTES_PER_VALUE",
    "Engine",
    "Gpu",
    "Host",
    "Link",
    "Model",
    "Prices",
    "check_splits",
    "engine_names",
    "gpu_names",
    "host_names",
    "kv_bytes_in",
    "kv_heads_per_gpu",
    "load_engine",
    "load_gpu",
    "load_host",
    "load_link",
    "load_links",
    "load_model",
    "load_prices",
    "model_names",
    "splits_evenly",
]

MAX_GPUS = 64
PUBLISHED = "config.json"
SUFFIXES = (".yaml", ".yml")

File = TypeVar("File", bound=HardwareSection)


def gpu_names() -> list[str]:
    """Return the GPUs that ship with replay, sorted."""
    return _names("gpus")


def model_names() -> list[str]:
    """Return the models that ship with replay, sorted."""
    return _names("models")


def engine_names() -> list[str]:
    """Return the serving engines that ship with replay, sorted."""
    return _names("engines")


def host_names() -> list[str]:
    """Return the machines that ship with replay, sorted."""
    return _names("hosts")


def load_gpu(name_or_path: str | Path) -> Gpu:
    """Return a GPU by its shipped name, or from a YAML file.

    Raises UnknownNameError for a name that does not ship, and as `load_document` for a file.
    """
    return _load("gpus", "GPU", name_or_path, Gpu)


def load_model(name_or_path: str | Path) -> Model:
    """Return a model by its shipped name, from a YAML file, or from a `config.json`.

    The last may be given as the folder it lies in. Raises UnknownNameError for a name that does
    not ship, and as `load_document` and `read_published` for a file.
    """
    path = Path(name_or_path)
    if str(name_or_path) not in model_names() and (path / PUBLISHED).is_file():
        path /= PUBLISHED
    if path.suffix == ".json":
        return read_published(path)
    return _load("models", "model", name_or_path, Model)


def load_engine(name_or_path: str | Path) -> Engine:
    """Return a serving engine by its shipped name, or from a YAML file; raises as `load_gpu`."""
    return _load("engines", "engine", name_or_path, Engine)


def load_host(name_or_path: str | Path) -> Host:
    """Return a machine by its shipped name, or from a YAML file; raises as `load_gpu`."""
    return _load("hosts", "host", name_or_path, Host)


def load_links() -> tuple[Link, ...]:
    """Return the links that ship with replay, as their file has them."""
    return load_document(data_folder("hardware") / "links.yaml", Links).links


def load_link(name: str) -> Link:
    """Return a link by name; raises UnknownNameError, which lists those there are."""
    links = {link.name: link for link in load_links()}
    if name not in links:
        raise UnknownNameError("link", name, links)
    return links[name]


def load_prices(path: Path | None = None) -> Prices:
    """Return the prices in a file, or those that ship; raises as `load_document` does."""
    return load_document(path or data_folder("hardware") / "prices.yaml", Prices)


def splits_evenly(model: Model, tensor_parallel: int) -> bool:
    """Return whether heads, MLP and experts can be spread over that many GPUs without a remainder.

    Past its KV heads a layer stores each of them on several GPUs, so the counts must divide.
    """
    widths = [model.ffn]
    if model.moe is not None:
        widths += [model.moe.ffn, model.moe.shared_ffn]
    if model.linear is not None:
        widths.append(model.linear.key_heads)
    return all(width % tensor_parallel == 0 for width in widths) and all(
        group.heads % tensor_parallel == 0
        and (
            not group.kv_heads
            or group.kv_heads % tensor_parallel == 0
            or tensor_parallel % group.kv_heads == 0
        )
        for group in model.attention_groups
    )


def check_splits(model: Model, tensor_parallel: int) -> None:
    """Raise InputError where a model cannot be spread over that many GPUs, naming what would do."""
    if splits_evenly(model, tensor_parallel):
        return
    splits = [count for count in range(1, MAX_GPUS + 1) if splits_evenly(model, count)]
    widths = f"heads {model.heads}, kv_heads {model.kv_heads}, ffn {model.ffn}"
    if model.moe is not None:
        widths += f", experts' ffn {model.moe.ffn}"
    raise InputError(
        f"{model.name} cannot be split over {tensor_parallel} GPUs ({widths})",
        hint=f"tensor_parallel may be {', '.join(map(str, splits))}",
    )


def kv_heads_per_gpu(model: Model, tensor_parallel: int) -> int:
    """Return the KV heads of a full layer that each GPU holds, at least one.

    Raises InputError where the model cannot be spread over that many GPUs.
    """
    check_splits(model, tensor_parallel)
    return max(1, model.kv_heads // tensor_parallel)


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (data_folder("hardware") / folder).glob("*.yaml"))


def _load(folder: str, kind: str, name_or_path: str | Path, schema: type[File]) -> File:
    path = Path(name_or_path)
    if not _is_path(path):
        if str(name_or_path) not in _names(folder):
            raise UnknownNameError(kind, str(name_or_path), _names(folder))
        path = data_folder("hardware") / folder / f"{name_or_path}.yaml"
    return load_document(path, schema)


def _is_path(path: Path) -> bool:
    """Return whether a file is meant; a slash alone is part of the names that hubs give."""
    return (
        path.suffix in SUFFIXES or path.is_absolute() or path.parts[:1] in ((".",), ("..",), ("~",))
    )
