"""The library's door: what `replay` exports is what it says, and costs nothing to open."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import replay

ROOT = Path(replay.__file__).parent
DOCS = (ROOT.parent / "docs" / "python.md").read_text()


@pytest.mark.parametrize("name", replay.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(replay, name)
    assert value is not None
    if name != "__version__":
        assert inspect.getdoc(value), name
        assert f"`{name}" in DOCS or f"replay.{name}" in DOCS, name


def test_dir_lists_the_public_names_alone():
    assert dir(replay) == sorted(replay.__all__)


def test_type_checkers_see_the_names_that_are_exported():
    tree = ast.parse((ROOT / "__init__.pyi").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {one.name: node.module for node in imports for one in node.names} == replay._PUBLIC
    (exported,) = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    assert sorted(ast.literal_eval(exported)) == dir(replay)


def test_no_name_is_that_of_a_module_which_would_take_its_place():
    modules = {path.stem for path in ROOT.iterdir()}
    assert set(replay.__all__) & modules == set()


@pytest.mark.parametrize("name", [name for name in replay._PUBLIC if not name[0].isupper()])
def test_every_call_says_what_it_takes_and_returns(name):
    signature = inspect.signature(getattr(replay, name))
    assert signature.return_annotation not in (inspect.Signature.empty, "Any")
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        replay.no_such_thing  # noqa: B018


def test_opening_the_door_imports_nothing_heavy():
    code = "import replay, sys; print({'polars', 'numba', 'duckdb', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
