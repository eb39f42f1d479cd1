"""What in a manifest its readers rely on, checked where a run is opened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_NUMBER = (int, float)
_OPTIONAL: dict[str, tuple[type, ...]] = {
    "argv": (list,), "notes": (list,), "replay_version": (str,), "created_at": (str,),
    "result_digest": (str,), "tables.requests": (int,),
    "scenario": (dict,), "scenario.trace": (dict,), "scenario.trace.speedup": _NUMBER,
    "scenario.cache": (dict,), "scenario.model": (dict,),
    "cache": (dict,), "cache.block_size": (int,), "cache.capacity_blocks": (int,),
    "cache.kv_bytes_per_token": (int,),
    "trace": (dict,), "trace.notes": (list,), "trace.path": (str,), "trace.sha256": (str,),
    "trace.name": (str,), "trace.block_size": (int,),
    "gpu": (dict,), "step_times": (dict,), "step_times.prefill_error_p90_percent": _NUMBER,
    "step_times.decode_error_p90_percent": _NUMBER,
    "step_times.server": (dict,), "step_times.server_range": (dict,),
    "step_times.server_range.low": (dict,), "step_times.server_range.high": (dict,),
    "step_times.request_overhead": (dict,), "scenario.engine": (dict,),
    "causality": (dict,), "causality.follow_ups": (int,), "causality.premature_follow_ups": (int,),
    "sensitivity": (dict,), "sensitivity.runs": (list,), "sensitivity.differences": (list,),
    "overload": (dict,), "no_cache_overload": (dict,),
}  # fmt: skip
_VERDICT: dict[str, tuple[type, ...]] = {
    "overloaded": (bool,), "queue_growth": _NUMBER, "backlog_requests": (int,), "drain_ns": (int,),
}  # fmt: skip
_MODES = ("timed", "untimed")
_TEXTS = ("notes", "trace.notes", "argv")


def shape_fault(manifest: Mapping[str, Any]) -> str | None:
    """Return what in a manifest is not as runs have it, with its place; None where all is."""
    if manifest.get("mode") not in (*_MODES, None):
        return f"mode: must be timed or untimed (got {manifest.get('mode')!r})"
    for place, allowed in _OPTIONAL.items():
        value = _at(manifest, place)
        if value is not None and type(value) not in allowed:
            return f"{place}: must be {_words(allowed)} (got {value!r})"
    for place in _TEXTS:
        if not all(isinstance(text, str) for text in _at(manifest, place) or ()):
            return f"{place}: must hold texts"
    for name in ("overload", "no_cache_overload"):
        for key, allowed in _VERDICT.items() if manifest.get(name) is not None else ():
            if type(manifest[name].get(key)) not in allowed:
                return f"{name}.{key}: must be {_words(allowed)} (got {manifest[name].get(key)!r})"
    try:
        datetime.fromisoformat(str(manifest.get("created_at") or "2026-01-01"))
    except ValueError:
        return f"created_at: must be a time in ISO 8601 (got {manifest['created_at']!r})"
    return _band_fault(manifest.get("sensitivity") or {})


def _band_fault(band: Mapping[str, Any]) -> str | None:
    """Return what in the runs at the edges of the model's error is not as runs have it."""
    for at, run in enumerate(band.get("runs") or ()):
        metrics = run.get("metrics") if isinstance(run, Mapping) else None
        if not isinstance(metrics, Mapping):
            return f"sensitivity.runs: {at}: must be an object with metrics"
        for name, value in (*metrics.items(), ("token_hit_rate", run.get("token_hit_rate"))):
            if value is not None and type(value) not in _NUMBER:
                return f"sensitivity.runs: {at}: {name}: must be a number (got {value!r})"
    if not all(isinstance(one, Mapping) for one in band.get("differences") or ()):
        return "sensitivity.differences: must hold objects"
    return None


def _at(manifest: Mapping[str, Any], place: str) -> Any:
    value: Any = manifest
    for key in place.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _words(allowed: tuple[type, ...]) -> str:
    names = {
        dict: "an object", list: "a list", str: "a text", bool: "true or false",
        int: "a whole number", float: "a number",
    }  # fmt: skip
    return names[allowed[-1]]
