"""Short names of the keys of a scenario that are asked for most: options and keywords alike."""

from __future__ import annotations

from collections.abc import Mapping

from replay.config.overrides import Override

KEYS = {
    "gpu": "gpu.name",
    "model": "model.name",
    "engine": "engine.name",
    "kv_dtype": "model.kv_dtype",
    "tp": "gpu.tensor_parallel",
    "block_size": "cache.block_size",
    "capacity": "cache.capacity",
    "seed": "seed",
}
# Said or left out; what is said gives the key this value.
FLAGS: dict[str, tuple[str, object]] = {
    "untimed": ("engine.mode", "untimed"),
    "no_responses": ("cache.responses", False),
    "partial_blocks": ("cache.partial_blocks", True),
    "no_cache": ("cache.enabled", False),
}


def short_overrides(given: Mapping[str, object], labels: Mapping[str, str]) -> list[Override]:
    """Return the overrides that values under short names stand for; None and False are not given.

    `labels` say what an error calls a name, where that is another.
    """
    found = []
    for name, path in KEYS.items():
        if given.get(name) is not None:
            found.append(Override(path, given[name], labels.get(name, name)))
    for name, (path, value) in FLAGS.items():
        if given.get(name):
            found.append(Override(path, value, labels.get(name, name)))
    return found
