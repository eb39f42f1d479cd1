"""Measured step times: a CSV with one step a row, as profilers and `calibrate --measure` write it.

    gpu,model,tp,phase,new_tokens,context_tokens,batch,decode_ctx,measured_ms

`phase` prefill: `new_tokens` of one prompt after `context_tokens` cached ones. decode: `batch`
requests of `context_tokens` keys each. mixed: the prompt chunk of a prefill row, and `batch`
decodes of `decode_ctx` keys each. Other columns are left alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.errors import ConfigError, InputError, Problem
from replay.gpu.spec import Model, load_model, model_names
from replay.reading import read_whole

COLUMNS = ("gpu", "model", "tp", "phase", "new_tokens", "context_tokens", "batch", "measured_ms")
PHASES = ("prefill", "decode", "mixed")
TIME_COLUMN = "measured_ms"
MAX_COUNT = 2**24
MOST_NEW = 2**20  # of a step; a table of step times spans all of them
LEAST_MS = 1e-6  # a nanosecond
MAX_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Measured:
    """Rows of one GPU; arrays of one length, counts as int64.

    `models` are the names of replay's models. `decodes` requests have `context` keys each;
    `cached` and `new` are 0 where there is no prompt chunk.
    """

    gpu: str
    models: NDArray[np.str_]
    tensor_parallel: NDArray[np.int64]
    phase: NDArray[np.str_]
    new: NDArray[np.int64]
    cached: NDArray[np.int64]
    decodes: NDArray[np.int64]
    context: NDArray[np.int64]
    measured_ns: NDArray[np.float64]
    lines: NDArray[np.int64]
    head: bool = True

    def __len__(self) -> int:
        return len(self.measured_ns)

    def where(self, kept: NDArray[np.bool_]) -> Measured:
        """Return some of the rows."""
        arrays = {
            name: getattr(self, name)[kept]
            for name in self.__slots__
            if name not in ("gpu", "head")
        }
        return Measured(gpu=self.gpu, head=self.head, **arrays)

    @property
    def short_suffix(self) -> NDArray[np.bool_]:
        """Which rows are a short suffix on a long cached context."""
        return (self.phase == "prefill") & (self.new <= 512) & (self.cached >= 4096)

    def groups(self) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
        """Yield each model and its GPUs with the rows that are theirs."""
        for model in np.unique(self.models):
            for gpus in np.unique(self.tensor_parallel[self.models == model]):
                yield str(model), int(gpus), (self.models == model) & (self.tensor_parallel == gpus)


def read_measured(
    path: Path,
    *,
    gpu: str | None = None,
    renames: Mapping[str, str] | None = None,
    time_column: str = TIME_COLUMN,
    head: bool = True,
    known_models_only: bool = False,
) -> Measured:
    """Return the rows of a CSV that were measured on one GPU, named as the CSV names it.

    `gpu` may be left out where the file has one only. `renames` turns the file's model names into
    those of replay. `head` off says that the LM head is not in the times. Raises ConfigError with
    every bad row, InputError for a file that cannot be used.
    """
    records = _records(path, (*COLUMNS, time_column))
    found = sorted({record["gpu"] for _, record in records})
    if gpu is None and len(found) != 1:
        raise InputError(
            f"{path}: rows of {len(found)} GPUs: {', '.join(found)}", hint="name one with --rows-of"
        )
    wanted = gpu or found[0]
    if wanted not in found:
        raise InputError(f"{path}: no rows of {wanted}", hint=f"there are: {', '.join(found)}")
    names = _model_names(path, records, wanted, renames or {}, skip=known_models_only)
    rows: list[tuple[object, ...]] = []
    problems: list[Problem] = []
    for line, record in records:
        if record["gpu"] != wanted or record["model"] not in names:
            continue
        try:
            rows.append((names[record["model"]], *_row(record, time_column), line))
        except ValueError as error:
            problems.append(Problem(str(path), str(error), line))
    if problems:
        raise ConfigError(problems)
    if not rows:
        raise InputError(f"{path}: no rows of {wanted} for models that are known")
    columns = list(zip(*rows, strict=True))
    integers = [np.array(column, np.int64) for column in (columns[1], *columns[3:7], columns[8])]
    gpus, new, cached, decodes, context, lines = integers
    return Measured(
        gpu=wanted,
        models=np.array(columns[0]),
        tensor_parallel=gpus,
        phase=np.array(columns[2]),
        new=new,
        cached=cached,
        decodes=decodes,
        context=context,
        measured_ns=np.array(columns[7], np.float64),
        lines=lines,
        head=head,
    )


def _records(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Return each row with its line; raises ConfigError for those of other lengths."""
    try:
        text = read_whole(path, most_bytes=MAX_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path}: no column {', '.join(missing)}",
                hint=f"columns: {', '.join(COLUMNS)}, and decode_ctx for mixed steps",
            )
        records = [(reader.line_num, record) for record in reader]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    cells = len(reader.fieldnames or ())
    torn = [
        Problem(str(path), f"needs {cells} cells, as the header has (got {_cells(record)})", line)
        for line, record in records
        if None in record or None in record.values()
    ]
    if torn:
        raise ConfigError(torn)
    return records


def _cells(record: Mapping[str | None, Any]) -> int:
    """Return how many cells a row of csv.DictReader had; those beyond the header are under None."""
    named = sum(value is not None for key, value in record.items() if key is not None)
    return named + len(record.get(None, ()))


def _model_names(
    path: Path,
    records: list[tuple[int, dict[str, str]]],
    gpu: str,
    renames: Mapping[str, str],
    *,
    skip: bool,
) -> dict[str, str]:
    """Return replay's name of each model of the file."""
    names: dict[str, str] = {}
    known = set(model_names())
    for name in sorted({record["model"] for _, record in records if record["gpu"] == gpu}):
        ours = renames.get(name, name.lower())
        if ours in known or Path(ours).suffix:
            names[name] = ours
        elif not skip:
            raise InputError(
                f"{path}: unknown model (got {name!r})",
                hint=f"say which it is, as --rename {name}=NAME; known: {', '.join(sorted(known))}",
            )
    return names


def _row(record: dict[str, str], time_column: str) -> tuple[object, ...]:
    """Return (gpus, phase, new, cached, decodes, context, ns) of a row; raises ValueError."""
    phase = record["phase"]
    if phase not in PHASES:
        raise ValueError(f"phase must be one of {', '.join(PHASES)} (got {phase!r})")
    context = _count(record, "context_tokens")
    measured = _time(record, time_column)
    gpus = _count(record, "tp", least=1)
    if phase == "decode":
        return gpus, phase, 0, 0, _count(record, "batch", least=1), context, measured
    new = _count(record, "new_tokens", least=1, most=MOST_NEW)
    if phase == "prefill":
        if _count(record, "batch", least=1) != 1:
            raise ValueError("a prefill row is one prompt: batch must be 1")
        return gpus, phase, new, context, 0, 0, measured
    keys = _count(record, "decode_ctx", least=1)
    return gpus, phase, new, context, _count(record, "batch", least=1), keys, measured


def _count(record: dict[str, str], name: str, *, least: int = 0, most: int = MAX_COUNT) -> int:
    text = record.get(name)
    try:
        value = float(text or "")
    except ValueError:
        raise ValueError(f"{name} must be a whole number (got {text!r})") from None
    if not value >= least or not value.is_integer():
        raise ValueError(f"{name} must be a whole number from {least} (got {text!r})")
    if value > most:
        raise ValueError(f"{name} must be at most {most:,} (got {text!r})")
    return int(value)


def _time(record: dict[str, str], name: str) -> float:
    text = record.get(name)
    try:
        value = float(text or "")
    except ValueError:
        raise ValueError(f"{name} must be milliseconds (got {text!r})") from None
    if not LEAST_MS <= value < 1e9:
        raise ValueError(f"{name} must be milliseconds, a nanosecond at least (got {text!r})")
    return value * 1e6


def models_of(measured: Measured) -> dict[str, Model]:
    """Return the models of the rows by name."""
    return {str(name): load_model(str(name)) for name in np.unique(measured.models)}
