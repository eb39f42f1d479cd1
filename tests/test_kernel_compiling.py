"""How kernels are compiled: once, linked into their callers, and chosen by the class of tables."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pytest

from replay.kernels.jit import by_tables, inner, jit, kernel, rare

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


class Pair(NamedTuple):
    a: np.ndarray
    b: np.ndarray


class OtherPair(Pair):
    pass


@inner
def added(x, y):
    return x + y


@rare
def checked(x):
    if x < 0:
        raise ValueError("negative", 7)
    return x


@inner
def first(t):
    return t.a[0]


@inner
def second(t):
    return t.b[0]


@by_tables
def one_of(kind):
    return second if kind is OtherPair else first


def test_a_literal_compiles_nothing_anew():
    @kernel
    def sums(x):
        return added(x, 0) + added(x, 1) + added(x, x) + added(0, x)

    assert sums(7) == 7 + 8 + 14 + 7
    assert len(added.signatures) == 1


def test_what_only_kernels_call_is_linked_and_has_no_code_of_its_own():
    @kernel
    def doubled(x):
        return added(x, x)

    assert doubled(4) == 8
    [compiled] = added.overloads.values()
    library = compiled.library
    assert library.get_pointer_to_function(compiled.fndesc.llvm_func_name) == 0
    [outer] = doubled.overloads.values()
    assert outer.library.get_pointer_to_function(outer.fndesc.llvm_func_name) != 0


def test_an_error_of_a_linked_kernel_comes_through():
    @jit
    def through(x):
        return checked(x)

    assert through(3) == 3
    with pytest.raises(ValueError) as raised:
        through(-5)
    assert raised.value.args == ("negative", 7)


@pytest.mark.parametrize(("kind", "expected"), [(Pair, 1), (OtherPair, 2)])
def test_the_class_of_the_tables_decides_and_python_may_call_too(kind, expected):
    @kernel
    def asked(t):
        return one_of(t)

    tables = kind(np.array([1]), np.array([2]))
    assert asked(tables) == expected
    assert one_of.choose(kind).py_func(tables) == expected
