"""Configuration files as checked pydantic models, with every mistake named at its place."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from replay.config.explain import boolean_numbers, explain
from replay.config.marks import Document, KeyPath, Mark, compose
from replay.config.overrides import Override, apply
from replay.config.scenario import Scenario
from replay.errors import ConfigError, InputError, Problem
from replay.reading import read_whole

MAX_BYTES = 250_000

Model = TypeVar("Model", bound=BaseModel)


def load_document(path: Path, schema: type[Model]) -> Model:
    """Return the YAML file at `path` as a `schema`.

    Raises ConfigError with all problems of the file at once, each as
    `file:line:column: key.path: what is wrong (got ...)`, and InputError where it cannot be read.
    """
    return _checked(_read(path), schema)


def load_scenario(path: Path | None = None, overrides: Sequence[Override] = ()) -> Scenario:
    """Return the scenario of a file, or the default one, with overrides laid over it.

    Overrides are checked exactly as the file is; a problem of theirs names the option. Raises as
    `load_document` does, and ConfigError for two overrides that contradict each other.
    """
    document = _read(path) if path else Document({}, {(): Mark("scenario")})
    apply(overrides, document)
    return _checked(document, Scenario)


def check_values(values: Mapping[str, object], schema: type[Model], source: str) -> Model:
    """Return values that were never a file as a `schema`; problems name `source` in its place.

    Raises ConfigError with all problems at once.
    """
    document = Document(dict(values), {(): Mark(source)})
    _mark_all(document.data, (), document, Mark(source))
    return _checked(document, schema)


def _mark_all(data: object, path: KeyPath, document: Document, mark: Mark) -> None:
    document.values[path] = document.keys[path] = mark
    named = data if isinstance(data, dict) else {}
    if isinstance(data, list):
        named = dict(enumerate(data))
    for key, value in named.items():
        _mark_all(value, (*path, key), document, mark)


def _checked(document: Document, schema: type[Model]) -> Model:
    problems = document.problems + boolean_numbers(document, schema)
    try:
        model = schema.model_validate(document.data)
    except ValidationError as error:
        problems += explain(error, document, schema)
    if problems:
        raise ConfigError(sorted(problems, key=_place))
    return model


def _place(problem: Problem) -> tuple[bool, int, int]:
    """Order problems as the file has them, those of options last."""
    return (problem.line is None, problem.line or 0, problem.column or 0)


def _read(path: Path) -> Document:
    """Return a file as plain data with marks; its outermost value is a mapping."""
    document = compose(read_text(path), str(path))
    if document.data is None and not document.problems:
        raise ConfigError(
            [Problem(str(path), "the file is empty")], hint="expected `key: value` lines"
        )
    if not isinstance(document.data, dict):
        what = "a list" if isinstance(document.data, list) else "a single value"
        message = f"must be a mapping of keys to values (got {what})"
        raise ConfigError([*document.problems, document.values[()].problem(message)])
    return document


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Return a configuration file as text.

    Raises InputError where it cannot be read or is far too long, ConfigError where it is not UTF-8.
    """
    try:
        raw = read_whole(path, most_bytes=max_bytes)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise InputError(
                f"{path}: longer than {max_bytes:,} bytes, too long for a configuration file",
                hint="is this a trace? `replay run TRACE -c SCENARIO.yaml` takes both",
            ) from error
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a name that cannot be one
        raise InputError(f"{path}: cannot be read: {error}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 text (got byte 0x{raw[error.start]:02x})"
        raise ConfigError([Problem(str(path), message, line)]) from error
