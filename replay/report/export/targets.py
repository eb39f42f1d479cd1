"""What a run can be exported to: the table that the command and its documentation are made from."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, cast

from replay.errors import InputError, UnknownNameError
from replay.writing.partial import partial_folder
from replay.writing.target import descriptor_of

if TYPE_CHECKING:
    from replay.writing.whole import Sink

GZIP_SUFFIX = ".gz"
DASHBOARD = Path(__file__).parent / "grafana.json"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to export to: told by name or by the suffixes of the output.

    `options` are the options of the command that mean something to it.
    """

    name: str
    meaning: str
    suffixes: tuple[str, ...]
    options: tuple[str, ...] = ()
    is_folder: bool = False
    may_compress: bool = False


TARGETS = (
    Target(
        "perfetto",
        "a timeline for ui.perfetto.dev and chrome://tracing",
        (".json", ".trace"),
        ("window", "limit"),
        may_compress=True,
    ),
    Target("duckdb", "one database file: tables, reports, what columns mean", (".duckdb",)),
    Target(
        "openmetrics",
        "time series with vLLM's metric names, for Prometheus and Grafana",
        (".om", ".prom", ".openmetrics"),
        ("step", "start", "dashboard"),
        may_compress=True,
    ),
    Target("csv", "a folder with a CSV file a table", (), is_folder=True),
)


def target_of(name: str | None, output: Path) -> Target:
    """Return the target asked for, or told by the suffix of the output.

    Raises UnknownNameError, and InputError where neither tells.
    """
    known = {target.name: target for target in TARGETS}
    if name is not None:
        if name not in known:
            raise UnknownNameError("target", name, known)
        return known[name]
    suffixes = [suffix.lower() for suffix in output.suffixes]
    if suffixes and suffixes[-1] == GZIP_SUFFIX:
        suffixes.pop()
    for target in TARGETS:
        if suffixes and suffixes[-1] in target.suffixes:
            return target
    raise InputError(
        f"{output}: the suffix tells no target (got {output.suffix!r})",
        hint=f"give --to, one of {', '.join(known)}",
    )


def is_compressed(target: Target, output: Path) -> bool:
    """Return whether the output is to be compressed; InputError where the target cannot be."""
    if output.suffix.lower() != GZIP_SUFFIX:
        return False
    if not target.may_compress:
        raise InputError(f"{output}: {target.name} is not written compressed", hint="leave out .gz")
    return True


@contextmanager
def stream_of(sink: Sink, *, compressed: bool) -> Iterator[BinaryIO]:
    """Yield what to write to: the sink itself, or what compresses into it, the same each time."""
    if not compressed:
        yield cast(BinaryIO, sink)
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=cast(BinaryIO, sink), mtime=0) as stream:
        yield cast(BinaryIO, stream)


@contextmanager
def scratch_beside(output: Path) -> Iterator[Path]:
    """Yield a folder to work in, gone when the block ends: beside a file, else for a stream."""
    if descriptor_of(output) is None and (not output.exists() or output.is_file()):
        with partial_folder(output.resolve()) as folder:
            yield folder
    else:
        with TemporaryDirectory(prefix="replay-") as name:
            yield Path(name)


def check_options(target: Target, given: Iterable[str]) -> None:
    """Raise InputError for an option that means nothing to the target."""
    for option in given:
        if option not in target.options:
            meant = next(other.name for other in TARGETS if option in other.options)
            raise InputError(
                f"--{option} means nothing to {target.name}: it is for {meant}", hint="leave it out"
            )
