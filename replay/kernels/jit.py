"""How kernels are compiled, and where their machine code is kept between runs.

A kernel takes contiguous arrays and scalars and returns them; it checks nothing, because the
caller has cast and checked already. Compiled code is cached in a private folder named after the
hash of all kernel sources: Numba does not notice when a *callee* in another file changes, so a
change anywhere gives a new folder. Loading that cache runs code, so the folder must belong to us
and be writable by nobody else; where there is none such, kernels compile in memory on each run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import stat
import threading
from pathlib import Path
from types import FrameType
from typing import Any

FOLDER_VARIABLE = "NUMBA_CACHE_DIR"


def source_digest() -> str:
    """Return twelve hex digits that change when any kernel source changes."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path | None:
    """Return a private, writable folder for compiled kernels, or None where there is none."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    folder = Path(home) / "replay" / "kernels" / source_digest()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
        if private and status.st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    return None


def _choose_folder() -> bool:
    """Point Numba at the cache folder; return whether kernels may be cached at all."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        try:
            Path(chosen).mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(chosen, os.W_OK | os.X_OK)
    folder = cache_folder()
    if folder is None:
        return False
    os.environ[FOLDER_VARIABLE] = str(folder)
    return True


def is_compiled(entry: str) -> bool:
    """Return whether machine code of the kernel called `entry` lies in the cache folder."""
    return CACHED and any(Path(os.environ[FOLDER_VARIABLE]).rglob(f"*.{entry}-*.nbc"))


CACHED = _choose_folder()

import numba  # noqa: E402  (reads the folder variable when imported)
from numba.core.registry import CPUDispatcher  # noqa: E402
from numba.extending import intrinsic, overload  # noqa: E402

VERSION = numba.__version__
_OPTIONS = {"cache": CACHED, "nogil": True}
_INNER = {"nogil": True, "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _Held(CPUDispatcher):
    """A kernel that holds Ctrl-C back until it has handed its results over.

    Python sees the signal when Numba makes arrays of the results, in the midst of C code that does
    not expect an exception: the process crashes. So the handler runs afterwards. Only the main
    thread runs handlers, and compiling is left open to Ctrl-C.
    """

    def __call__(self, *arguments: Any) -> Any:
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            return super().__call__(*arguments)
        if not self.overloads:
            self.compile(tuple(self.typeof_pyval(argument) for argument in arguments))
        came: list[tuple[int, FrameType | None]] = []
        signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
        try:
            return super().__call__(*arguments)
        finally:
            signal.signal(signal.SIGINT, handler)
            if came:
                handler(*came[0])


def _held(dispatcher: Any) -> Any:
    """Return a compiled function that holds Ctrl-C back; a plain one where compiling is off."""
    if isinstance(dispatcher, CPUDispatcher):
        dispatcher.__class__ = _Held
    return dispatcher


def jit(function: Any) -> Any:
    """Compile a kernel that may allocate."""
    return _held(numba.njit(**_OPTIONS)(function))


# Counting references to the arrays of a NamedTuple costs the cache kernels a factor of five. They
# allocate nothing, so they are compiled without; the option has no public name, and where Numba
# does not know it they are merely slower. A kernel that only kernels call needs no door for
# Python, which is most of what there is to compile, and no cache entry of its own; it is inlined,
# because handing two dozen arrays over at every call would take most of a step; one that is hardly
# ever called is not, so that it takes no room among what is.
try:
    _uncounted = numba.njit(_nrt=False, **_OPTIONS)
    inner = numba.njit(_nrt=False, **_INNER)
    rare = numba.njit(_nrt=False, **_INNER | {"forceinline": False})
    _CHOSEN = {"_nrt": False, "nogil": True, "forceinline": True}
except KeyError:
    _uncounted = numba.njit(**_OPTIONS)
    inner = numba.njit(**_INNER)
    rare = numba.njit(**_INNER | {"forceinline": False})
    _CHOSEN = {"nogil": True, "forceinline": True}


def kernel(function: Any) -> Any:
    """Compile a kernel that allocates nothing."""
    return _held(_uncounted(function))


def by_tables(choose: Any) -> Any:
    """Return a function whose code depends on the type of the tables it is given first.

    `choose` returns the kernel for a class of tables. A kernel that calls it is compiled anew for
    each class it meets, with the code of that class alone.
    """

    @functools.wraps(choose)
    def chosen(tables: Any, *arguments: Any) -> Any:
        return choose(type(tables))(tables, *arguments)

    def typed(tables: Any, *arguments: Any) -> Any:
        kernel_of_class = choose(tables.instance_class)

        def call(tables: Any, *arguments: Any) -> Any:
            return kernel_of_class(tables, *arguments)

        return call

    if not numba.config.DISABLE_JIT:
        overload(chosen, jit_options=_CHOSEN)(typed)
    return chosen


def instruction(function: Any) -> Any:
    """Return a function that kernels can call from its definition as Numba's `intrinsic` takes it.

    For hints only: where compiling is off it does nothing.
    """
    return _nothing if numba.config.DISABLE_JIT else intrinsic(function)


def _nothing(*_: Any) -> None:
    """Do nothing."""
