"""The scripts of Vega, Vega-Lite and vega-embed as one text, put together once and kept.

vl-convert carries them and needs a second of work to join them. What is kept lies in a folder of
ours alone and is taken only if it is byte for byte what was kept: it becomes code in a page.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import stat
from pathlib import Path

from replay.errors import InputError
from replay.units import format_bytes

# What V8 reserves when it starts, and aborts without. It takes a hundredth of it at most.
_RESERVED_BYTES = 72 * 2**30


def check_extra(what: str = "a page needs") -> None:
    """Raise InputError where what draws is not installed, or would abort the process."""
    try:
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{what} a module that is not installed ({error.name})",
            hint="pip install 'kvreplay[report]'",
        ) from error
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _RESERVED_BYTES:
        raise InputError(
            f"{what} {format_bytes(_RESERVED_BYTES)} of address space, which it reserves and does "
            f"not use; this process is limited to {format_bytes(limit)}",
            hint="raise the limit: ulimit -v",
        )


def vega_script() -> str:
    """Return the scripts, fit to stand inside a page."""
    from importlib.metadata import version

    import vl_convert

    folder = _folder()
    path = None if folder is None else folder / f"vega-{version('vl-convert-python')}.js"
    found = None if path is None else _kept(path)
    if found is None:
        whole = vl_convert.javascript_bundle(None)  # type: ignore[arg-type] # stubs lack the default
        found = whole.replace("</script", "<\\/script")
        if path is not None:
            _keep(path, found)
    return found


def _folder() -> Path | None:
    """Return a folder that only we can write, None where there is none."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    folder = Path(home).absolute() / "replay" / "page"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
    return folder if private and status.st_uid == os.getuid() else None


def _kept(path: Path) -> str | None:
    """Return what was kept, None where it is not there or not whole."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            digest, _, content = file.read().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    return content.decode()


def _keep(path: Path, text: str) -> None:
    """Keep a text, all of it or nothing; a disk that refuses costs a second the next time."""
    content = text.encode()
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    with contextlib.suppress(OSError):
        partial.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        partial.replace(path)
