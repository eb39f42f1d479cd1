"""Documents written back, as YAML that loads to the same document."""

from __future__ import annotations

import yaml
from pydantic import BaseModel

from replay.config.marks import add_resolvers
from replay.config.scenario import Scenario


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, putting quotes around whatever YAML 1.1 or 1.2 would not read as text."""


add_resolvers(_Dumper)


def dump_scenario(scenario: Scenario) -> str:
    """Return the scenario as YAML with every key written out; loading it gives an equal one.

    Untimed, GPU and model are written only where they were given: `capacity: auto` is the memory
    of a GPU that is named and unlimited where none is, so naming one would make another run of it.
    """
    data = scenario.model_dump(mode="json")
    if scenario.engine.mode == "untimed" and not {"gpu", "model"} & scenario.model_fields_set:
        del data["gpu"], data["model"]
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def dump_document(document: BaseModel) -> str:
    """Return a document as YAML, keys at their default left out; loading it gives an equal one."""
    data = document.model_dump(mode="json", exclude_defaults=True)
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
