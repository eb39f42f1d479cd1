"""The scenario of a call: its keywords laid over a file, as the command line does with options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, TypedDict

from replay.api.given import path_if
from replay.config.load import load_scenario
from replay.config.overrides import Override, parse_setting
from replay.config.scenario import Scenario
from replay.config.short_names import short_overrides
from replay.errors import InputError, UnknownNameError

Settings = Mapping[str, Any] | Iterable[str] | str


class CacheKeys(TypedDict, total=False):
    """Keywords of a scenario that a question to the cache alone takes.

    `config` is a scenario file; `set` has any of its keys, `{"cache.kind": "radix"}` or
    `"cache.kind=radix"`; the others are short names of some.
    """

    config: str | PathLike[str] | None
    set: Settings
    gpu: str | None
    model: str | None
    kv_dtype: str | None
    tp: int | None
    no_responses: bool
    partial_blocks: bool
    separate_by: str | Iterable[str] | None
    seed: int | None


class ScenarioKeys(CacheKeys, total=False):
    """Keywords of a scenario that a run takes: those of `CacheKeys`, the cache and the engine."""

    engine: str | None
    block_size: int | None
    capacity: str | int | None
    untimed: bool
    no_cache: bool


def scenario_of(
    given: Mapping[str, Any],
    known: Iterable[str],
    fixed: Mapping[str, object] | None = None,
    *,
    fixed_by: str = "this call",
) -> Scenario:
    """Return the scenario that keywords describe; `fixed` are keys that the call decides,
    or its keyword `fixed_by`.

    Raises UnknownNameError for a keyword that is not `known`, and ConfigError with every problem.
    """
    for name in given:
        if name not in known:
            raise UnknownNameError("keyword", name, known)
    overrides = short_overrides(given, {})
    if given.get("separate_by") is not None:
        named = given["separate_by"]
        text = named if isinstance(named, str) else ",".join(named)
        overrides.append(Override("trace.separate_by", text, "separate_by"))
    overrides += _settings(() if given.get("set") is None else given["set"])
    overrides += [Override(path, value, fixed_by) for path, value in (fixed or {}).items()]
    return load_scenario(path_if("config", given.get("config")), overrides)


def _settings(settings: Settings) -> list[Override]:
    if isinstance(settings, Mapping):
        return [Override(path, value, f"set {path}") for path, value in settings.items()]
    given = [settings] if isinstance(settings, str) else settings
    texts = [*given] if isinstance(given, Iterable) else None
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"set must be a dict of keys, or texts (got {settings!r})",
            hint='set={"cache.kind": "radix"}, or "cache.kind=radix"',
        )
    return [parse_setting(text) for text in texts]


CACHE_KEYS = tuple(CacheKeys.__annotations__)
SCENARIO_KEYS = tuple(ScenarioKeys.__annotations__)
