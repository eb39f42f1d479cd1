"""Values given on the command line, laid over those of a scenario file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from replay.config.explain import key_path, shown
from replay.config.marks import Document, KeyPath, Mark, compose
from replay.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Override:
    """One value for one key: `path` is dotted, `label` is the option as an error names it."""

    path: str
    value: object
    label: str


def parse_setting(text: str) -> Override:
    """Return the override that `--set cache.block_size=32` stands for.

    The value is read as a YAML scalar, so `off` is text and an empty one is null; `[50, 100]` is a
    list of them. Raises ConfigError for anything that is not `path=value` with one of the two.
    """
    label = f"--set {text}"
    path, equals, written = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        message = f"expected path=value (got {shown(text)})"
        raise ConfigError([Problem("--set", message)], hint="write --set cache.block_size=32")
    refused = ConfigError(
        [Problem(label, f"{path}: must be one value (got {shown(written)})")],
        hint="put quotes around text that has a meaning in YAML",
    )
    try:
        document = compose(written, label)
    except ConfigError as error:
        raise refused from error
    values = document.data if isinstance(document.data, list) else [document.data]
    if any(isinstance(one, dict | list) for one in values) or document.problems:
        raise refused
    return Override(path, document.data, label)


def apply(overrides: Sequence[Override], document: Document) -> None:
    """Lay overrides over a document in place, so that errors name the option they came from.

    Raises ConfigError where two of them give one key different values, whatever their order.
    """
    _refuse_contradictions(overrides)
    for override in overrides:
        mark = Mark(override.label)
        *sections, name = override.path.split(".")
        target = document.data
        path: KeyPath = ()
        for section in sections:
            path = (*path, section)
            if not isinstance(target, dict):
                break
            if target.get(section) is None:
                target[section] = {}
                document.values[path] = document.keys[path] = mark
            target = target[section]
        if not isinstance(target, dict):
            message = f"{override.path}: {key_path(path)} holds one value, not a section"
            document.problems.append(mark.problem(message))
            continue
        target[name] = override.value
        document.values[(*path, name)] = document.keys[(*path, name)] = mark


def _refuse_contradictions(overrides: Sequence[Override]) -> None:
    given: dict[str, Override] = {}
    for override in overrides:
        first = given.setdefault(override.path, override)
        if str(first.value) != str(override.value):
            message = f"{override.path}: given twice, as {first.label} and as {override.label}"
            raise ConfigError([Problem(override.label, message)])
