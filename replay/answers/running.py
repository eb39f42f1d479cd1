"""One run, from a source and a scenario to what is told of it and what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.answers.sensitivity_tables import band_record
from replay.config.dump import dump_scenario
from replay.engine.prepare import Prepared
from replay.engine.run import RunResult, execute
from replay.progress import Hook, ignore
from replay.runs.write import write_run
from replay.trace.rejected import rejected_text

if TYPE_CHECKING:
    from replay.analysis.sensitivity import Variant


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that is done: what it was made of, its tables, its band where that was asked for."""

    prepared: Prepared
    result: RunResult
    band: list[Variant] | None

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest with the band in it."""
        band = {} if self.band is None else {"sensitivity": band_record(self.band)}
        return {**self.result.manifest, **band}


def replayed(
    prepared: Prepared, *, threads: int, sensitivity: bool = False, progress: Hook = ignore
) -> Ran:
    """Return the run of a prepared trace; `sensitivity` runs it again at the model's edges."""
    result = execute(prepared, threads=threads, progress=progress)
    band = None
    if sensitivity:
        from replay.analysis.sensitivity import band_runs  # which knows GPUs; no other run needs to

        band = band_runs(prepared, result, threads=threads, progress=progress)
    return Ran(prepared, result, band)


def write_ran(
    ran: Ran, folder: Path, *, told: Mapping[str, Any] | None = None, force: bool = False
) -> None:
    """Write the run directory, whole or not at all; `told` is what else its manifest says."""
    write_run(
        folder,
        ran.result.rows,
        {**(told or {}), **ran.manifest},
        dump_scenario(ran.result.scenario),
        rejected=rejected_text(ran.prepared.trace.rejected),
        force=force,
    )
