"""Values for the keys of a scenario that nobody gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from replay.config.scenario import Scenario
from replay.config.section import Section
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
        what = "; ".join(map(_by_key, error.errors()))
        given = ", ".join(f"{path} {word_of(value)}" for path, value in defaults.items())
        raise InputError(
            f"what was given does not go with {whose}: {what}", hint=f"it has {given}"
        ) from error


def word_of(value: object) -> str:
    """Return a value as notes and hints show it: on or off, numbers with commas."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _by_key(error: ErrorDetails) -> str:
    """Return what is wrong by the key as `--set` takes it."""
    path = ".".join(map(str, error["loc"]))
    what = str(error["msg"]).removeprefix("Value error, ")
    section = getattr(Scenario(), path, None)
    first = what.partition(" ")[0].partition(".")[0]
    of_a_key = isinstance(section, Section) and first in type(section).model_fields
    return f"{path}.{what}" if of_a_key else f"{path}: {what}".removeprefix(": ")
