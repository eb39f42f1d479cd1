"""`replay list`: what can be named on the command line, read from where it is defined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.cli.options import output_options
from replay.cli.output import emit

if TYPE_CHECKING:
    from replay.report.tables import Table


@click.command("list")
@click.argument(
    "kind",
    type=click.Choice(["gpus", "models", "policies", "formats", "profiles", "traces", "reports"]),
)
@output_options
def list_(kind: str, format: str | None, output: Path | None) -> None:
    """List GPUs, models, policies, trace formats, workload profiles, public traces or reports."""
    emit([_KINDS[kind]()], format=format, output=output)


def _gpus() -> Table:
    from replay.gpu.spec import gpu_names, load_gpu
    from replay.report.tables import Table

    columns = ("name", "memory_bytes", "hbm_bytes_per_s", "bf16_flop_per_s", "link_bytes_per_s")
    gpus = [load_gpu(name) for name in gpu_names()]
    return Table(columns, [tuple(getattr(gpu, column) for column in columns) for gpu in gpus])


def _models() -> Table:
    from replay.gpu.spec import load_model, model_names
    from replay.report.tables import Table

    columns = ("name", "parameters", "layers", "heads", "kv_heads", "kv_bytes_per_token")
    models = [load_model(name) for name in model_names()]
    return Table(columns, [tuple(getattr(model, column) for column in columns) for model in models])


def _policies() -> Table:
    from replay.cache.policies import POLICIES
    from replay.cache.replacement import REPLACEMENTS
    from replay.report.tables import Table

    rows = [
        (one.name, f"run, cache.kind {one.kind}", one.closure, one.meaning, one.reference)
        for one in POLICIES
    ]
    rows += [
        (one.name, "curve, policies", one.closure, one.meaning, one.reference)
        for one in REPLACEMENTS
    ]
    return Table(("name", "used_by", "prefix_closed", "meaning", "reference"), rows)


def _formats() -> Table:
    from replay.report.tables import Table
    from replay.trace.readers import READERS

    rows = [(one.name, one.meaning, one.assumes) for one in sorted(READERS, key=lambda r: r.name)]
    return Table(("name", "meaning", "assumes"), rows)


def _profiles() -> Table:
    from replay.report.tables import Table
    from replay.workload.profiles import load_profile, profile_names

    rows = [(name, load_profile(name).profile.description) for name in profile_names()]
    return Table(("name", "description"), rows)


def _traces() -> Table:
    from replay.config.catalogue import load_catalogue
    from replay.report.tables import Table
    from replay.trace.fetch import is_cached

    columns = ("name", "format", "requests", "size_bytes", "licence", "cached")
    rows = [
        (
            *(getattr(trace, column) for column in columns[:-1]),
            "yes" if is_cached(trace) else "no",
        )
        for trace in load_catalogue().traces
    ]
    return Table(columns, rows)


def _reports() -> Table:
    from replay.report.library import REPORTS
    from replay.report.tables import Table

    return Table(("name", "meaning"), [(report.name, report.meaning) for report in REPORTS])


_KINDS: dict[str, Callable[[], Table]] = {
    "gpus": _gpus,
    "models": _models,
    "policies": _policies,
    "formats": _formats,
    "profiles": _profiles,
    "traces": _traces,
    "reports": _reports,
}
