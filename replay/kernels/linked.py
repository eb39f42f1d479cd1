"""Code of kernels that only kernels call: kept for linking, never made executable by itself.

Numba optimises every function fully and turns it into machine code, also one that is then inlined
into each of its callers and optimised there again: with kernels nested ten deep a tenth of the time
to compile. Here such a function is left as it can be linked and inlined. Numba has no option
for it, so this overrides what `tests/test_kernel_compiling.py` holds to be there.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _NoEnvironment:
    """A code generator that lets a function without an address have no environment either."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, env_name: str, env: Any) -> None:
        """Do nothing; `give_environments` does it for the kernel that links the function."""


class _Library(JITCodeLibrary):
    """A library for other libraries to link; its functions have no address."""

    @property
    def codegen(self) -> Any:
        return _NoEnvironment(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def _optimize_final_module(self) -> None:
        """Optimise once and without vectors: whoever links it optimises the whole.

        Inlining alone would save another tenth of the time to compile, and costs the timed engine a
        sixth of its speed.
        """
        passes, builder = self._codegen._module_pass_manager(
            loop_vectorize=False, slp_vectorize=False, opt=2
        )
        passes.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class LinkedCompiler(Compiler):
    """Numba's pipeline with such a library in place of one that the processor can run."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function that callers will link."""
        self.state.library = _Library(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


def give_environments(compiled: Any) -> None:
    """Give a compiled kernel the environments of what it links, as loading it from a file does."""
    for environment in compiled._find_referenced_environments():
        compiled.codegen.set_env(environment.env_name, environment)
