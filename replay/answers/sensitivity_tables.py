"""The band of `replay run --sensitivity` as tables and as a record of the manifest."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replay.analysis.sensitivity import Variant
    from replay.report.tables import Table


def band_record(band: list[Variant]) -> dict[str, Any]:
    """Return what a manifest keeps: each run of the band, and what stands."""
    from replay.analysis.sensitivity import verdicts

    return {
        "runs": [asdict(variant) for variant in band],
        "differences": [asdict(verdict) for verdict in verdicts(band)],
    }


def band_tables(band: list[Variant]) -> list[Table]:
    """Return the runs of the band, and caching on against off: what stands and what is a tie."""
    from replay.analysis.sensitivity import METRICS, verdicts
    from replay.report.tables import Table

    off = [f"no_cache_{name}" for name in METRICS if name.startswith("ttft_mean")]
    rows = [
        (
            variant.knob,
            variant.token_hit_rate,
            *(variant.metrics[name] for name in METRICS),
            variant.no_cache["ttft_mean_ms"],
        )
        for variant in band
    ]
    tables = [Table(("run", "token_hit_rate", *METRICS, *off), rows)]
    found = [asdict(verdict) for verdict in verdicts(band)]
    if found:
        names = tuple(found[0])
        tables.append(Table(names, [tuple(one.values()) for one in found]))
    return tables
