"""What each cache of a session store is worth: one trace with none, either and both of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from replay.config.scenario import Scenario
from replay.engine.run import Prepared, execute
from replay.engine.totals import total
from replay.progress import Hook, ignore

_ABOUT_CONTENT = (
    "request_hit_rate", "token_hit_rate", "session_hit_share", "cross_request_hit_share",
    "tokens_prefilled", "prefill_reduction", "ttft_saving", "hit_ttft_saving",
)  # fmt: skip
_COLUMNS = [
    "status", "input_tokens", "hit_tokens", "session_hit_tokens", "cross_request_hit_tokens",
    "recomputed_tokens", "ttft_ns",
]  # fmt: skip
VARIANTS = {
    "none": (False, False),
    "session": (True, False),
    "cross-request": (False, True),
    "both": (True, True),
}


@dataclass(frozen=True, slots=True)
class Gain:
    """One line of the table: which caches, and what the completed requests had of them.

    Rates and shares are 0..1, and null where the content is unknown. `ttft_mean_ms` and the like
    are null where the clock never ran; savings are paired with the same requests without any
    cache, of those completed both times.
    """

    caches: str
    completed: int
    request_hit_rate: float | None
    token_hit_rate: float | None
    session_hit_share: float | None
    cross_request_hit_share: float | None
    tokens_prefilled: int | None
    prefill_reduction: float | None
    ttft_mean_ms: float | None
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None
    ttft_saving: float | None
    hit_ttft_saving: float | None
    overloaded: bool | None


def cache_gains(prepared: Prepared, *, progress: Hook = ignore) -> list[Gain]:
    """Return what a prepared trace gains from no cache, either cache and both, in that order.

    The scenario is one with a session store; its other keys, the token budget among them, hold
    for all four.
    """
    return list(_lines(prepared, progress))


def _lines(prepared: Prepared, progress: Hook) -> Iterator[Gain]:
    without: pl.DataFrame | None = None
    for name, (session, cross_request) in VARIANTS.items():
        scenario = _variant(prepared.scenario, session=session, cross_request=cross_request)

        def titled(_: str, done: int, total: int, name: str = name) -> None:
            progress(f"Replaying with {name}", done, total)

        result = execute(dataclasses.replace(prepared, scenario=scenario), progress=titled)
        requests = result.rows["requests"].frame(_COLUMNS)
        if without is None:
            without = requests
        overload = result.manifest["overload"]
        line = _gain(name, requests, without, overload and bool(overload["overloaded"]))
        if not result.manifest["content_known"]:
            unknown: dict[str, Any] = dict.fromkeys(_ABOUT_CONTENT)
            line = dataclasses.replace(line, **unknown)
        yield line


def _variant(scenario: Scenario, *, session: bool, cross_request: bool) -> Scenario:
    store = scenario.cache.session_store.model_copy(
        update={"enable_session_caching": session, "enable_cross_request_caching": cross_request}
    )
    cache = scenario.cache.model_copy(update={"session_store": store})
    engine = scenario.engine.model_copy(update={"baseline": False})
    return scenario.model_copy(update={"cache": cache, "engine": engine})


def _gain(
    name: str, requests: pl.DataFrame, without: pl.DataFrame, overloaded: bool | None
) -> Gain:
    done = requests.filter(requests["status"] == "completed")
    tokens = _total(done, "input_tokens")
    saved = _total(done, "hit_tokens") - _total(done, "recomputed_tokens")
    ttft = done["ttft_ns"].drop_nulls().sort()
    pairs = requests.with_columns(off_ns=without["ttft_ns"]).filter(
        (requests["status"] == "completed") & (without["status"] == "completed")
    )
    return Gain(
        caches=name,
        completed=len(done),
        request_hit_rate=_share(len(done.filter(done["hit_tokens"] > 0)), len(done)),
        token_hit_rate=_share(_total(done, "hit_tokens"), tokens),
        session_hit_share=_share(_total(done, "session_hit_tokens"), tokens),
        cross_request_hit_share=_share(_total(done, "cross_request_hit_tokens"), tokens),
        tokens_prefilled=tokens - saved,
        prefill_reduction=_share(saved, tokens),
        ttft_mean_ms=total(ttft) / len(ttft) / 1e6 if len(ttft) else None,
        ttft_p50_ms=_quantile_ms(ttft, 0.5),
        ttft_p99_ms=_quantile_ms(ttft, 0.99),
        ttft_saving=_saving(pairs),
        hit_ttft_saving=_saving(pairs.filter(pairs["hit_tokens"] > 0)),
        overloaded=overloaded,
    )


def _saving(pairs: pl.DataFrame) -> float | None:
    off = _total(pairs, "off_ns")
    return _share(off - _total(pairs, "ttft_ns"), off)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _total(done: pl.DataFrame, column: str) -> int:
    return total(done[column])  # of unknown content there is no number: 0


def _quantile_ms(ordered: pl.Series, share: float) -> float | None:
    """Return the value that `share` of them do not exceed, as DuckDB's quantile_disc does."""
    if not len(ordered):
        return None
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] / 1e6
