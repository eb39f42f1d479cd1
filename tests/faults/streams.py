"""Standard streams that are closed, full or gone: nothing crashes, nothing is written elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.faults.trial import WRITING, Attempt, Trial, prepare, run

_STREAMS = {
    "standard input closed": '"$@" <&-',
    "standard output closed": '"$@" >&-',
    "standard error closed": '"$@" 2>&-',
    "all streams closed": '"$@" <&- >&- 2>&-',
    "standard output full": '"$@" >/dev/full',
    "standard error full": '"$@" 2>/dev/full',
    "a reader that is gone": '"$@" | true; exit "${PIPESTATUS[0]}"',
}
_READING = {
    "describe": ("describe", "t.jsonl"),
    "check": ("check", "t.jsonl"),
    "report": ("report", "R", "summary"),
    "query": ("query", "R", "FROM requests", "--format", "csv"),
    "list": ("list", "gpus", "--format", "csv"),
    "cost": ("cost", "--new", "512"),
    "verify": ("verify", "R"),
    "help": ("--help",),
    "from standard input": ("describe", "-"),
}


def trials() -> Iterator[Trial]:
    """Yield trials of reading and writing commands with each of the streams in trouble."""
    for stream, shell in _STREAMS.items():
        for name, words in _READING.items():
            yield Trial("streams", f"{name}, {stream}", _without(words, shell))
        for name in ("run", "convert to Mooncake", "curve", "query"):
            yield Trial("streams", f"{name} -o, {stream}", _writing_without(name, shell))


def _without(words: tuple[str, ...], shell: str) -> Attempt:
    def attempt(folder: Path, _: Random) -> str | None:
        prepare(folder)
        done = run(*words, cwd=folder, wrap=[shell])
        if done.code == 141 or ("|" in shell and done.code == 1):  # whoever read it has gone
            return None
        return done.fault or done.steers

    return attempt


def _writing_without(name: str, shell: str) -> Attempt:
    words, output = WRITING[name]

    def attempt(folder: Path, _: Random) -> str | None:
        prepare(folder)
        run(*words, cwd=folder)
        target = folder / output
        expected = _content(target)
        argv = [f"again-{word}" if word == output else word for word in words]
        done = run(*argv, cwd=folder, wrap=[shell])
        if done.code not in (0, 141) and not ("|" in shell and done.code == 1):
            if done.fault or done.code != 2:
                return done.fault or f"exit code {done.code}"
            return None if "full" in shell else f"fails: {done.err[-200:]}"
        same = _content(folder / f"again-{output}") == expected
        return None if same else "writes something else"

    return attempt


def _content(path: Path) -> object:
    """Return what is in a file, or in the tables of a run."""
    if path.is_dir():
        tables = [*path.glob("*.parquet"), *path.glob("*.csv")]
        return {one.name: one.read_bytes() for one in tables}
    if path.suffix == ".parquet":
        return path.stat().st_size
    return path.read_bytes().replace(b"again-", b"")  # a page says which command made it
