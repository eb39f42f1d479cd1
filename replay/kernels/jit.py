"""How kernels are compiled; `code_cache.py` says where their machine code is kept between runs.

A kernel takes contiguous arrays and scalars and returns them; it checks nothing, because the
caller has cast and checked already.
"""

from __future__ import annotations

import functools
import hashlib
import json
import pickle
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import llvmlite
import numba
from numba.core import serialize, sigutils, types
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import CPUDispatcher, cpu_target
from numba.core.runtime import rtsys
from numba.extending import intrinsic

from replay.kernels import code_cache
from replay.kernels.linked import LinkedCompiler, give_environments

VERSION = numba.__version__
CACHED = code_cache.FOLDER is not None
_OPTIONS = {"nogil": True}
_INNER = {
    "nogil": True,
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": LinkedCompiler,
}


class KeptCode(NullCache):
    """Machine code of one kernel, kept between runs; Numba calls it as it would its own cache.

    Numba's own has an index that two processes may write at once, and believes every byte it
    reads. Here every specialisation is an entry by itself, and its key (types, processor,
    versions, options) stands in its name and, whole, in its content.
    """

    def __init__(self, function: Any) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code kept for these types, or None."""
        if code_cache.FOLDER is None:
            return None
        rtsys.initialize(target_context)
        key = self._key(sig, target_context.codegen())
        path = self._path(key)
        payload = code_cache.read_entry(path)
        if payload is None:
            return None
        try:
            kept, code = pickle.loads(payload)
            if kept == key:
                return CompileResult._rebuild(target_context, *code)
        except _FOREIGN:
            pass
        code_cache.drop_entry(path, "not of this kernel")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Make what was compiled for these types ready to run, and keep it where it can be kept."""
        give_environments(data)
        if code_cache.FOLDER is None or data.lifted or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        code_cache.write_entry(self._path(key), serialize.dumps((key, data._reduce())))

    def _key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        arguments, returned = sigutils.normalize_signature(sig)
        return self._name, tuple(arguments), returned, _machine(codegen)

    def _path(self, key: tuple[Any, ...]) -> Path:
        assert code_cache.FOLDER is not None
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        tables = next((f"{one.instance_class.__name__}-" for one in key[1] if _is_named(one)), "")
        return code_cache.FOLDER / f"{self._name}-{tables}{digest}{code_cache.SUFFIX}"


def _is_named(kind: Any) -> bool:
    """Return whether a type is that of a NamedTuple, all of one type or of several."""
    return isinstance(kind, types.BaseNamedTuple)


# What unpickling raises for an entry that is whole, but was written by something else.
_FOREIGN = (pickle.UnpicklingError, ImportError, AttributeError, TypeError, ValueError, EOFError)


def _machine(codegen: Any) -> tuple[Any, ...]:
    """Return what machine code depends on beside its source: processor, versions, options."""
    options = numba.config.OPT, numba.config.BOUNDSCHECK, numba.config.DEBUGINFO_DEFAULT
    versions = sys.implementation.cache_tag, numba.__version__, llvmlite.__version__
    return *versions, *map(str, options), *codegen.magic_tuple()


def load_entries() -> None:
    """Load the entries named on the command line; answer that, then each, with a line of JSON.

    The answer is `good`, `foreign` for one of another machine, or the troubles for one that could
    not be loaded and was dropped.
    """
    sys.stdout.write('"ready"\n')
    for name in sys.argv[2:]:
        code_cache.troubles.clear()
        answer = "good" if _load_entry(Path(name)) else "foreign"
        sys.stdout.write(json.dumps(code_cache.troubles or answer) + "\n")
        sys.stdout.flush()


def _load_entry(path: Path) -> bool:
    """Load an entry; return whether it is of this machine, also where it had to be dropped."""
    payload = code_cache.read_entry(path)
    if payload is None:
        return True
    context = cpu_target.target_context
    rtsys.initialize(context)
    try:
        key, code = pickle.loads(payload)
        if key[-1] != _machine(context.codegen()):
            return False
        CompileResult._rebuild(context, *code)
    except _FOREIGN:
        code_cache.drop_entry(path, "not of this replay")
    return True


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


class _Inner(CPUDispatcher):
    """A kernel that kernels call, compiled once for an integer whether or not it is a literal.

    Numba would compile it anew for `f(t, 0)` and `f(t, 1)`. It is inlined, so the literal is put
    to use all the same.
    """

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return super().get_call_template([types.unliteral(one) for one in args], kws)


class _ByTables(CPUDispatcher):
    """A kernel that stands for the one that belongs to the class of its first argument."""

    choose: Any

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return self.choose(args[0].instance_class).get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        arguments, _ = sigutils.normalize_signature(sig)
        return self.choose(arguments[0].instance_class).get_overload(sig)

    def __call__(self, tables: Any, *arguments: Any) -> Any:
        return self.choose(type(tables))(tables, *arguments)


def _as(kind: type[CPUDispatcher], dispatcher: Any) -> Any:
    """Return a compiled function as one of these kinds; a plain one where compiling is off."""
    if isinstance(dispatcher, CPUDispatcher):
        dispatcher.__class__ = kind
    return dispatcher


def _kept(dispatcher: Any) -> Any:
    """Return a kernel that Python calls, its machine code kept between runs.

    Not of a kernel outside this package: the folder is named after the sources in it alone.
    """
    if isinstance(dispatcher, CPUDispatcher) and dispatcher.__module__.startswith(__package__):
        dispatcher._cache = KeptCode(dispatcher.py_func)
    return _as(_Held, dispatcher)


def jit(function: Any) -> Any:
    """Compile a kernel that may allocate."""
    return _kept(numba.njit(**_OPTIONS)(function))


# Counting references to the arrays of a NamedTuple costs the cache kernels a factor of five. They
# allocate nothing, so they are compiled without; the option has no public name, and where Numba
# does not know it they are merely slower. A kernel that only kernels call needs no door for
# Python, which is most of what there is to compile, and no cache entry of its own; it is inlined,
# because handing two dozen arrays over at every call would take most of a step; one that is hardly
# ever called is not, so that it takes no room among what is.
try:
    _uncounted = numba.njit(_nrt=False, **_OPTIONS)
    _inlined = numba.njit(_nrt=False, **_INNER)
    _called = numba.njit(_nrt=False, **_INNER | {"forceinline": False})
except KeyError:
    _uncounted = numba.njit(**_OPTIONS)
    _inlined = numba.njit(**_INNER)
    _called = numba.njit(**_INNER | {"forceinline": False})


def kernel(function: Any) -> Any:
    """Compile a kernel that allocates nothing."""
    return _kept(_uncounted(function))


def inner(function: Any) -> Any:
    """Compile a kernel that only kernels call, into them."""
    return _as(_Inner, _inlined(function))


def rare(function: Any) -> Any:
    """Compile a kernel that only kernels call, and hardly ever."""
    return _as(_Inner, _called(function))


def by_tables(choose: Any) -> Any:
    """Return a kernel whose code depends on the class of the tables it is given first.

    `choose` returns the kernel for a class of tables. A kernel that calls it is compiled anew for
    each class it meets, with the code of that class alone.
    """

    @functools.wraps(choose)
    def chosen(tables: Any, *arguments: Any) -> Any:
        return choose(type(tables))(tables, *arguments)

    dispatcher = _as(_ByTables, numba.njit(chosen))
    if isinstance(dispatcher, _ByTables):
        dispatcher.choose = choose
    return dispatcher


def instruction(function: Any) -> Any:
    """Return a function that kernels can call from its definition as Numba's `intrinsic` takes it.

    For hints only: where compiling is off it does nothing.
    """
    return _nothing if numba.config.DISABLE_JIT else intrinsic(function)


def _nothing(*_: Any) -> None:
    """Do nothing."""
