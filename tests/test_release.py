"""What a stranger looks for in a release is there and agrees with itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import replay
from tests.dist_contents import RELATIVE_LINK, SDIST

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_licence_is_named_and_there_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_what_goes_into_the_source_distribution_is_there():
    assert [name for name in SDIST if not (ROOT / name).exists()] == []


def test_every_python_from_the_lowest_on_is_named():
    named = re.findall(r"Python :: 3\.(\d+)", " ".join(PROJECT["project"]["classifiers"]))
    lowest = re.fullmatch(r">=3\.(\d+)", PROJECT["project"]["requires-python"])[1]
    assert named == [str(minor) for minor in range(int(lowest), int(named[-1]) + 1)]


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == replay.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_the_long_description_links_to_nothing_beside_it():
    text = (ROOT / "README.md").read_text()
    assert RELATIVE_LINK.search(text)
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for one in hook["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    assert RELATIVE_LINK.search(text) is None
    assert "docs/architecture.md" in text  # the name of what was linked stays


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_links_and_places_named_exist(page):
    text = (ROOT / page).read_text()
    paths = re.findall(r"`((?:replay|tests|docs|hardware|\.ci)/[\w./*-]+)`", text)
    assert [path for path in paths if "NAME" not in path and not any(ROOT.glob(path))] == []


def test_dependencies_have_a_lowest_version():
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    named = [one for group in groups for one in group if not one.startswith("kvreplay[")]
    assert [one for one in named if ">=" not in one] == []
