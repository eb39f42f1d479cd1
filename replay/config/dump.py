"""Scenarios written back: as YAML that loads to the same scenario, and as a schema for editors."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from replay.config.marks import add_resolvers
from replay.config.scenario import CapacityText, DurationNs, Scenario

_UNITS_NS = (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3))
_AS_WRITTEN = (
    (DurationNs, {"type": ["string", "number"], "examples": ["80ms", "30s", "10m", "1.5h"]}),
    (CapacityText, {"type": ["string", "number"], "examples": ["inf", "10Mtokens", "40GiB"]}),
)


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, putting quotes around whatever YAML 1.1 or 1.2 would not read as text."""


add_resolvers(_Dumper)


def dump_scenario(scenario: Scenario) -> str:
    """Return the scenario as YAML with every key written out; loading it gives an equal one."""
    data = scenario.model_dump(mode="json")
    for section, name in _fields_of(DurationNs):
        duration_ns = data[section][name]
        data[section][name] = None if duration_ns is None else write_duration(duration_ns)
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def scenario_schema() -> dict[str, Any]:
    """Return the JSON schema of scenario files, for editors that check YAML as it is typed."""
    schema = Scenario.model_json_schema()
    for kind, written in _AS_WRITTEN:
        for section, name in _fields_of(kind):
            model = schema["properties"][section]["$ref"].rpartition("/")[2]
            field = schema["$defs"][model]["properties"][name]
            types = [*written["type"], *(["null"] if "anyOf" in field else [])]
            field.pop("anyOf", None)
            field |= written | {"type": types}
    return schema


def write_duration(duration_ns: int) -> str:
    """Return a duration as a scenario has it, exactly: `80ms`, `90s`, `1500ns`."""
    for unit, size in _UNITS_NS:
        if duration_ns % size == 0:
            return f"{duration_ns // size}{unit}"
    return f"{duration_ns}ns"


def _fields_of(kind: object) -> Iterator[tuple[str, str]]:
    """Yield section and name of the scenario's fields of an annotated type, optional ones too."""
    for section, outer in Scenario.model_fields.items():
        if isinstance(outer.annotation, type) and issubclass(outer.annotation, BaseModel):
            for name, field in outer.annotation.model_fields.items():
                if _is_of(field, kind):
                    yield section, name


def _is_of(field: FieldInfo, kind: Any) -> bool:
    if kind in typing.get_args(field.annotation):
        return True
    # Pydantic takes the outermost Annotated apart.
    return all(part in field.metadata for part in kind.__metadata__)
