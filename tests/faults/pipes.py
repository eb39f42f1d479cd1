"""Pipes, links, devices and folders in the place of every file that is read or written."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.faults.trial import WRITING, Attempt, Trial, prepare, run
from tests.fuzz import samples

# A command, and the name of the file in it that is something else.
_READ: dict[str, tuple[tuple[str, ...], str]] = {
    "a trace": (("describe", "X"), "X"),
    "a scenario": (("run", "t.jsonl", "--dry-run", "-c", "X"), "X"),
    "a profile": (("generate", "X.yaml", "-o", "o.parquet"), "X.yaml"),
    "columns": (("describe", "t.jsonl", "--columns", "X"), "X"),
    "a tokenizer": (("describe", "chat.jsonl", "--tokenizer", "X"), "X"),
    "a template": (("describe", "chat.jsonl", "--chat-template", "X"), "X"),
    "a key": (("anonymize", "t.jsonl", "-o", "o.jsonl", "--key-file", "X"), "X"),
    "a GPU": (("cost", "--gpu", "./X.yaml", "--new", "9"), "X.yaml"),
    "a config.json": (("cost", "--model", "./X.json", "--new", "9"), "X.json"),
    "measured steps": (("calibrate", "X", "-o", "o.yaml"), "X"),
    "a catalogue": (("fetch", "nothing", "--catalogue", "X"), "X"),
    "a table of a run": (("report", "R", "summary"), "R/requests.parquet"),
    "a manifest": (("report", "R", "summary"), "R/manifest.json"),
    "a verified table": (("verify", "R"), "R/timeline.parquet"),
    "a verified file": (("verify", "X"), "X"),
}


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    import socket

    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


_THINGS: dict[str, Callable[[Path], None]] = {
    "a pipe without writer": _fifo,
    "a device without end": _zero,
    "a folder": Path.mkdir,
    "a link to itself": _loop,
    "a socket": _socket,
}


def trials() -> Iterator[Trial]:
    """Yield trials of every file that is read, and of pipes that are written."""
    for thing, make in _THINGS.items():
        for name, (words, file) in _READ.items():
            yield Trial("pipes", f"{thing} for {name}", _reading(words, file, make))
    for name in ("convert to Mooncake", "curve", "query"):
        yield Trial("pipes", f"{name} into a pipe", _into_a_pipe(name))
        yield Trial("pipes", f"{name} into a pipe without reader", _into_nothing(name))


def _reading(words: tuple[str, ...], file: str, make: Callable[[Path], None]) -> Attempt:
    def attempt(folder: Path, _: Random) -> str | None:
        prepare(folder)
        (folder / "chat.jsonl").write_bytes(samples.trace_samples()["openai"][0].data)
        path = folder / file
        path.unlink(missing_ok=True)
        make(path)
        done = run(*words, cwd=folder)
        if words[0] == "verify":
            return done.fault or ("calls it whole" if done.code == 0 else None)
        return done.refused()

    return attempt


def _into_a_pipe(name: str) -> Attempt:
    words, output = WRITING[name]

    def attempt(folder: Path, _: Random) -> str | None:
        prepare(folder)
        path = folder / output
        os.mkfifo(path)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(path.read_bytes()), daemon=True)
        reader.start()
        done = run(*words, cwd=folder)
        reader.join(30)
        if done.code:
            return f"fails: {done.err[-300:]}"
        if not path.is_fifo():
            return "replaces the pipe"
        return None if got and got[0] else "nothing comes out of it"

    return attempt


def _into_nothing(name: str) -> Attempt:
    words, output = WRITING[name]

    def attempt(folder: Path, _: Random) -> str | None:
        prepare(folder)
        os.mkfifo(folder / output)
        return run(*words, cwd=folder).refused("nobody reads this pipe")

    return attempt
