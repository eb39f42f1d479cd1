"""Documents written back, as YAML that loads to the same document."""

from __future__ import annotations

import yaml
from pydantic import BaseModel

from replay.config.backends import TAKES_NUMBERS
from replay.config.marks import add_resolvers
from replay.config.scenario import Scenario


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, putting quotes around whatever YAML 1.1 or 1.2 would not read as text."""


add_resolvers(_Dumper)


def dump_scenario(scenario: Scenario) -> str:
    """Return the scenario as YAML with every key written out; loading it gives an equal one.

    Where neither cache nor steps need them, GPU and model are written only where they were given:
    `capacity: auto` is the memory of a GPU that is named and unlimited where none is, so naming one
    would make another run of it.
    """
    data = scenario.model_dump(mode="json")
    linear = scenario.gpu.backend == TAKES_NUMBERS
    if (scenario.engine.mode == "untimed" or linear) and not scenario.hardware_named:
        del data["gpu"], data["model"]
        if linear:
            data["gpu"] = scenario.gpu.model_dump(mode="json", include={"backend", "linear"})
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def dump_document(document: BaseModel) -> str:
    """Return a document as YAML, keys at their default left out; loading it gives an equal one."""
    data = document.model_dump(mode="json", exclude_defaults=True)
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
