"""Public traces on this machine: downloaded once, verified, and only then under their name."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from replay.config.catalogue import PublicTrace
from replay.errors import FetchError, OutputError, OutputExistsError
from replay.progress import Hook, ignore
from replay.trace.download import Download, Downloaded, Sleep, download, state_beside
from replay.writing.whole import whole_file

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file: where it is, what it is, and how it came there."""

    path: Path
    size_bytes: int
    sha256: str
    hosts: tuple[str, ...] | None
    """Other hosts that redirects led to; None where nothing had to be downloaded."""
    pinned: bool
    """Whether the digest was unknown before and is recorded now."""
    columns: Path | None
    """What `--columns` takes to read the file, where its format needs that."""


def traces_folder() -> Path:
    """Return the folder where downloaded traces are kept; it need not be there."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    return Path(home) / "replay" / "traces"


def cached_path(trace: PublicTrace) -> Path:
    """Return where a trace is kept; a file of that name has been verified before."""
    return traces_folder() / trace.file_name


def is_cached(trace: PublicTrace) -> bool:
    """Return whether a trace is kept already, judging by name and size only."""
    path = cached_path(trace)
    try:
        return path.is_file() and trace.size_bytes in (None, path.stat().st_size)
    except OSError:
        return False


def fetch_trace(
    trace: PublicTrace,
    output: Path | None = None,
    *,
    force: bool = False,
    progress: Hook = ignore,
    sleep: Sleep = time.sleep,
) -> Fetched:
    """Return a trace as a verified file, downloaded unless it is there already.

    It goes to the cache, or to `output`. A digest that the catalogue does not know is recorded
    beside the file and checked from then on; `force` downloads in any case, and takes what comes
    for such a trace. Raises FetchError where the download fails or brings another file, with what
    to do by hand; OutputExistsError for another file at `output`; OutputError where writing fails.
    """
    target = output or cached_path(trace)
    pin = _pinned(trace, target)
    expected = trace.sha256 or (None if force else pin)
    if not force and target.exists():
        found = _verified(trace, target, expected, progress)
        if found:
            return _fetched(trace, target, found, pinned=False, came=False)
        if output is not None:
            raise OutputExistsError(
                f"{output} is there already and is not {trace.name}", hint="--force overwrites it"
            )
    if output is None:
        _make_folder(target.parent)
    part = target.with_name(f"{target.name}.part")
    wanted = Download(trace.address, trace.size_bytes, digest_known=expected is not None)

    def finish(got: Downloaded) -> None:
        if expected is not None and got.sha256 != expected:
            _drop(part)
            raise _another_file(trace, target, got.sha256, expected)
        if trace.sha256 is None:
            record = {"address": trace.address, "sha256": got.sha256}
            _write(pin_beside(target), json.dumps(record) + "\n")
        try:
            part.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
        _drop(part)

    try:
        got = download(wanted, part, finish=finish, progress=progress, sleep=sleep)
    except FetchError as error:
        raise FetchError(error.message, hint=error.hint or _by_hand(trace, target)) from error
    pinned = trace.sha256 is None and got.sha256 != pin
    return _fetched(trace, target, got, pinned=pinned, came=True)


def pin_beside(path: Path) -> Path:
    """Return the file that keeps the digest of a first download."""
    return path.with_name(f"{path.name}.pin.json")


def _fetched(
    trace: PublicTrace, target: Path, got: Downloaded, *, pinned: bool, came: bool
) -> Fetched:
    columns, text = None, trace.columns_text()
    if text is not None:
        columns = target.with_name(f"{target.name}.columns.yaml")
        if not columns.is_file() or columns.read_bytes() != text.encode():
            _write(columns, text)
    return Fetched(target, got.size_bytes, got.sha256, got.hosts if came else None, pinned, columns)


def _pinned(trace: PublicTrace, target: Path) -> str | None:
    """Return the digest that the first download from the same address recorded."""
    try:
        record = json.loads(pin_beside(target).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("address") != trace.address:
        return None
    digest = record.get("sha256")
    return digest if isinstance(digest, str) else None


def _verified(
    trace: PublicTrace, path: Path, expected: str | None, progress: Hook
) -> Downloaded | None:
    """Return what is known of a file that is there, None unless it is the one expected."""
    try:
        size_bytes = path.stat().st_size
        if expected is None or trace.size_bytes not in (None, size_bytes):
            return None
        digest, done = hashlib.sha256(), 0
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                progress("Verifying", done, size_bytes)
                digest.update(chunk)
                done += len(chunk)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if digest.hexdigest() != expected:
        return None
    return Downloaded(size_bytes, expected, ())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {folder}: {error.strerror or error}",
            hint="-o FILE writes elsewhere, and XDG_CACHE_HOME moves the cache",
        ) from error


def _write(path: Path, text: str) -> None:
    with whole_file(path, force=True) as file:
        file.write(text.encode())


def _drop(part: Path) -> None:
    for path in (part, state_beside(part)):
        path.unlink(missing_ok=True)


def _by_hand(trace: PublicTrace, target: Path) -> str:
    check = f" (sha256 {trace.sha256})" if trace.sha256 else ""
    return f"by hand: put the file of that address at {target}{check}"


def _another_file(trace: PublicTrace, target: Path, got: str, expected: str) -> FetchError:
    if trace.sha256 is None:
        before, hint = "the first download", "--force takes the file that is there now"
    else:
        before = "the catalogue"
        hint = "the file was changed there or on the way; nothing is kept, try again"
    return FetchError(
        f"{trace.address}: another file than {before} knows (got sha256 {got}, not {expected})",
        hint=f"{hint}; {target} is as it was" if target.exists() else hint,
    )
