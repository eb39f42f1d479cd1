"""Values for the keys of a scenario that nobody gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from replay.config.scenario import Scenario
from replay.errors import InputError


def is_given(scenario: Scenario, path: str) -> bool:
    """Return whether somebody gave the key at `section.key` a value, be it the default."""
    section, key = path.split(".")
    return key in getattr(scenario, section).model_fields_set


def with_defaults(scenario: Scenario, defaults: Mapping[str, object], *, whose: str) -> Scenario:
    """Return the scenario with `section.key` set to these values, those that were given kept.

    Raises InputError, which names whose values they are, where a given key does not go with them.
    """
    data: dict[str, Any] = scenario.model_dump(mode="json", exclude_unset=True)
    for path, value in defaults.items():
        if not is_given(scenario, path):
            section, key = path.split(".")
            data.setdefault(section, {})[key] = value
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        what = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
        given = ", ".join(f"{path} {value}" for path, value in defaults.items())
        raise InputError(
            f"what was given does not go with {whose}: {what}", hint=f"it has {given}"
        ) from error
