"""Files from the web: into a `.part` that the next attempt continues, and that Ctrl-C leaves there.

A part is continued only where its address is the same and the server says that the file is (a
strong ETag or Last-Modified, RFC 9110 sections 13.1.5 and 14.2), or where a digest will tell.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import io
import json
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from replay import __version__
from replay.errors import FetchError, OutputError
from replay.progress import Hook, ignore
from replay.trace.redirects import SafeRedirects

ATTEMPTS = 5  # in a row that bring nothing new
TIMEOUT_S = 30.0
LONGEST_WAIT_S = 30.0
CHUNK_BYTES = 1 << 16
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_NETWORK = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})
_SIZE = "[0-9]{1,18}"
_CHANGED = "the file there is no longer the one that the catalogue describes"

Sleep = Callable[[float], None]
Finish = Callable[["Downloaded"], None]


@dataclass(frozen=True, slots=True)
class Download:
    """What is asked for: an address, and what is known of the file there."""

    address: str
    size_bytes: int | None = None
    digest_known: bool = False


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A part that is whole: its size, its SHA-256, and the other hosts that it came through."""

    size_bytes: int
    sha256: str
    hosts: tuple[str, ...]


class _Again(Exception):  # noqa: N818  (an event, not a mistake)
    """What went wrong for now: trying again may do."""


def state_beside(part: Path) -> Path:
    """Return the file that says which file on the web a part is of."""
    return part.with_name(f"{part.name}.json")


def leave(got: Downloaded) -> None:
    """Leave the part where it is: the end of a download that nobody moves."""


def download(
    wanted: Download,
    part: Path,
    *,
    finish: Finish = leave,
    progress: Hook = ignore,
    sleep: Sleep = time.sleep,
) -> Downloaded:
    """Return what is known of a file once `part` holds all of it, what it held before included.

    `finish` is told so while nobody else can take up the part: the time to move it. Broken
    connections and answers of a server in trouble are tried again, `ATTEMPTS` times in a row that
    bring nothing new. Raises FetchError where that does not help and for answers that will not
    change, OutputError where `part` cannot be written. `part` stays in either case.
    """
    with _opened(part) as file:
        got = _whole(wanted, part, file, progress=progress, sleep=sleep)
        finish(got)
    return got


def _whole(
    wanted: Download, part: Path, file: io.FileIO, *, progress: Hook, sleep: Sleep
) -> Downloaded:
    """Return what is known of a file after as many attempts as it takes."""
    transfer = _Transfer(wanted, part, file, progress)
    furthest, failures = transfer.done, 0
    while True:
        try:
            return transfer.attempt()
        except _Again as trouble:
            failures = 1 if transfer.done > furthest else failures + 1
            furthest = max(furthest, transfer.done)
            if failures >= ATTEMPTS:
                raise FetchError(f"{wanted.address}: {trouble} ({failures} times)") from trouble
            progress(f"Waiting: {trouble}", transfer.done, transfer.total or 0)
            sleep(min(2.0 ** (failures - 1), LONGEST_WAIT_S))


class _Transfer:
    """A download going on: how much is there, and the digest of that."""

    def __init__(self, wanted: Download, part: Path, file: io.FileIO, progress: Hook) -> None:
        self.wanted, self.part, self.file, self.progress = wanted, part, file, progress
        self.total = wanted.size_bytes
        self.redirects = SafeRedirects(wanted.address)
        self.opener = _opener(self.redirects)
        state = _state(part)
        self.validator = state.get("validator")
        self.done = 0
        self.digest = hashlib.sha256()
        if self._continues and state.get("address") == wanted.address:
            self._take_up()
        else:
            self._restart()

    @property
    def _continues(self) -> bool:
        """Whether more of a file can be told from more of another one."""
        return self.validator is not None or self.wanted.digest_known

    def attempt(self) -> Downloaded:
        """Ask for what is missing and take it; raises _Again for what may pass."""
        if self.total is None or self.done != self.total or not self.done:
            with self._response() as response:
                self._prepare(response)
                self._receive(response)
        if not self.done:
            raise FetchError(f"{self.wanted.address}: the server sent nothing")
        with _written(self.part):
            os.fsync(self.file.fileno())
        return Downloaded(self.done, self.digest.hexdigest(), self.redirects.hosts)

    def _take_up(self) -> None:
        """Read what an earlier call left; a file longer than wanted is none of it."""
        with _written(self.part):
            self.file.seek(0)
            while chunk := self.file.read(CHUNK_BYTES):
                self.digest.update(chunk)
                self.done += len(chunk)
        if self.total is not None and self.done > self.total:
            self._restart()

    def _restart(self) -> None:
        self.done, self.digest = 0, hashlib.sha256()
        with _written(self.part):
            self.file.seek(0)
            self.file.truncate()

    def _response(self) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"kvreplay/{__version__}", "Accept-Encoding": "identity"}
        if not self._continues:
            self._restart()
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
            if self.validator:
                headers["If-Range"] = self.validator
        request = urllib.request.Request(self.wanted.address, headers=headers)
        try:
            response: http.client.HTTPResponse = self.opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from error
        return response

    def _refused(self, error: urllib.error.HTTPError) -> http.client.HTTPResponse:
        """Return the answer after a restart where a part is what the server refused; or raise."""
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self.done:
            self._restart()
            return self._response()
        if error.code < http.HTTPStatus.BAD_REQUEST:
            raise FetchError(f"{self.wanted.address}: redirects without end") from error
        said = f"the server says {error.code} {error.reason}".rstrip()
        if error.code in _AGAIN:
            raise _Again(said) from error
        raise FetchError(f"{self.wanted.address}: {said}") from error

    def _failed(self, error: OSError | http.client.HTTPException) -> Exception:
        """Return what to raise for a connection that was not made or broke."""
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        if isinstance(reason, socket.gaierror):
            return FetchError(f"{self.wanted.address}: the host is not found: {text}")
        if isinstance(reason, ssl.SSLCertVerificationError):
            text = f"the certificate is not good: {reason.verify_message}"
            return FetchError(f"{self.wanted.address}: {text}")
        if isinstance(reason, OSError) and reason.errno in _NO_NETWORK:
            return FetchError(f"{self.wanted.address}: there is no way to the host: {text}")
        return _Again(f"the connection failed: {text}")

    def _prepare(self, response: http.client.HTTPResponse) -> None:
        """Take an answer's word on what it sends: the rest of the file, or all of it."""
        headers = response.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            raise FetchError(
                f"{self.wanted.address}: sent packed (got Content-Encoding "
                f"{headers['Content-Encoding']!r})"
            )
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            start, total = _content_range(headers)
            if start != self.done:
                self._restart()
                raise _Again(f"the server sent bytes from {start} on")
            if _names_another(headers, self.validator):  # a server that passes over If-Range
                self._restart()
                raise _Again("the file there changed meanwhile")
        else:
            if self.done:
                self._restart()
            total = _length(headers)
        if total is not None and self.wanted.size_bytes not in (None, total):
            raise FetchError(
                f"{self.wanted.address}: the file has another size "
                f"(got {total:,} bytes, not {self.wanted.size_bytes:,})",
                hint=_CHANGED,
            )
        self.total = total or self.wanted.size_bytes
        told = self.total is not None or response.length is not None or response.chunked
        if not told and not self.wanted.digest_known:
            raise FetchError(
                f"{self.wanted.address}: the server does not say how long the file is",
                hint="a size_bytes or sha256 in the catalogue would tell whether it came whole",
            )
        self.validator = _validator(headers)
        with _written(self.part):
            state = {"address": self.wanted.address, "validator": self.validator}
            state_beside(self.part).write_text(json.dumps(state) + "\n")

    def _receive(self, response: http.client.HTTPResponse) -> None:
        while True:
            self.progress("Downloading", self.done, self.total or 0)
            try:
                chunk = response.read(CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise self._failed(error) from error
            if not chunk:
                break
            with _written(self.part):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[self.file.write(rest) :]
            self.digest.update(chunk)
            self.done += len(chunk)
            if self.total is not None and self.done > self.total:
                raise FetchError(
                    f"{self.wanted.address}: the file is longer than {self.total:,} bytes",
                    hint=_CHANGED,
                )
        if self.total is not None and self.done < self.total:
            raise _Again(f"the connection ended after {self.done:,} of {self.total:,} bytes")
        if response.length:
            raise _Again(f"the connection ended {response.length:,} bytes early")


def _state(part: Path) -> dict[str, str]:
    """Return the address that a part is from, and what the server called the file; or nothing."""
    try:
        state = json.loads(state_beside(part).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(state, dict):
        return {}
    return {key: value for key, value in state.items() if isinstance(value, str)}


def _opener(redirects: SafeRedirects) -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone: no files, no ftp, no data in the address."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        redirects,
    ):
        opener.add_handler(handler)
    return opener


def _validator(headers: Message) -> str | None:
    """Return what names this version of a file: its strong ETag, else its Last-Modified."""
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    modified = headers.get("Last-Modified")
    return str(modified) if modified and not etag else None


def _names_another(headers: Message, validator: str | None) -> bool:
    """Return whether an answer says that it is of another version of the file."""
    if validator is None:
        return False
    said = headers.get("ETag" if validator.startswith('"') else "Last-Modified")
    return said is not None and said != validator


def _content_range(headers: Message) -> tuple[int, int | None]:
    """Return the first byte of a partial answer and the size of the file."""
    found = re.fullmatch(
        rf"bytes ({_SIZE})-{_SIZE}/({_SIZE}|\*)", headers.get("Content-Range", "").strip()
    )
    if not found:
        raise _Again("the server does not say which bytes it sends")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _length(headers: Message) -> int | None:
    length = headers.get("Content-Length", "")
    return int(length) if re.fullmatch(_SIZE, length) else None


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[io.FileIO]:
    """Give the part to read and to append to, for nobody else meanwhile."""
    with _written(part):
        file = part.open("a+b", buffering=0)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())
        except BlockingIOError:
            alone = False
        if not alone:
            raise FetchError(f"{part}: is being downloaded by another replay", hint="wait for it")
        yield file


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "what came is kept; free some space, and the same command goes on from there"
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}",
            hint=hint if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None,
        ) from error
