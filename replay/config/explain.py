"""What pydantic found wrong, in replay's words and at the place where it stands."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from replay.config.marks import Document, KeyPath
from replay.errors import Problem

SHOWN_CHARACTERS = 60
MAX_DEPTH = 8

_MESSAGES = {
    "missing": "required key is missing",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "bool": "must be true or false",
    "string": "must be text",
    "list": "must be a list",
    "tuple": "must be a list",
    "model": "must be a mapping of keys to values",
    "dict": "must be a mapping of keys to values",
}
_KINDS_OF_VALUE = {"type", "parsing", "parsing_size", "from_float", "number"}


def explain(error: ValidationError, document: Document, schema: type[BaseModel]) -> list[Problem]:
    """Return one problem per validation error, placed by the document's marks."""
    return [_problem(details, document, schema) for details in error.errors(include_url=False)]


def boolean_numbers(document: Document, schema: type[BaseModel]) -> list[Problem]:
    """Return a problem for each `true` or `false` that pydantic would take for a number."""
    return [
        document.values[path].problem(f"{key_path(path)}: must be a number (got {shown(value)})")
        for path, value in _leaves(document.data, ())
        if isinstance(value, bool) and _wants_number(schema, path)
    ]


def key_path(path: KeyPath) -> str:
    """Return a path the way a person writes it: `cache.tiers[1].capacity`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def shown(value: object) -> str:
    """Return a value as an error shows it: YAML's words, text in quotes, cut when long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    # An integer of thousands of digits has no decimal text in Python.
    text = hex(value) if isinstance(value, int) and value.bit_length() > 256 else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _problem(details: Mapping[str, Any], document: Document, schema: type[BaseModel]) -> Problem:
    kind, value = details["type"], details["input"]
    path, known = _in_document(details["loc"], document, is_missing=kind == "missing")
    unknown = kind == "extra_forbidden"
    mark = document.keys.get(path) if unknown else None
    mark = mark or document.values[known]
    message = f"unknown key{_suggest_key(path, schema)}" if unknown else _message(details)
    if not unknown and kind != "missing" and "(got " not in message:
        message += _got(value, whole_section=kind == "value_error")
    if kind == "literal_error":
        message += _suggest(value, re.findall(r"'([^']*)'", details["ctx"]["expected"]))
    return mark.problem(f"{key_path(path)}: {message}" if path else message)


def _message(details: Mapping[str, Any]) -> str:
    """Return what is wrong, without the place and without the value."""
    name, _, rest = details["type"].partition("_")
    if name in _MESSAGES and (not rest or rest in _KINDS_OF_VALUE):
        return _MESSAGES[name]
    text = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = re.sub(r"^Input should be", "must be", text)
    text = re.sub(r"^\w+ should (have .*) after validation, not \d+$", r"must \1", text)
    return text[:1].lower() + text[1:] if re.match(r"[A-Z][a-z]", text) else text


def _got(value: object, *, whole_section: bool) -> str:
    if isinstance(value, dict):
        return "" if whole_section else " (got a mapping)"
    return " (got a list)" if isinstance(value, list) else f" (got {shown(value)})"


def _in_document(
    loc: Iterable[str | int], document: Document, *, is_missing: bool
) -> tuple[KeyPath, KeyPath]:
    """Return the key path an error speaks of, and its longest part that has a place.

    Pydantic adds the names of union members and validators to its locations; these stand in no
    document and are left out. A missing key stands in none either, but is named.
    """
    parts = list(loc)
    missing = (parts.pop(),) if is_missing and parts else ()
    path: KeyPath = ()
    for part in parts:
        if (*path, part) in document.values:
            path = (*path, part)
    return (*path, *missing), path


def _suggest(name: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name).lower(), list(known), n=2, cutoff=0.6)
    return f", did you mean {' or '.join(near)}?" if near else ""


def _suggest_key(path: KeyPath, schema: type[BaseModel]) -> str:
    """Return a suggestion from the same section, else the same word in another section."""
    siblings = {name for model in _models_at(schema, path[:-1]) for name in model.model_fields}
    if path[-1] in siblings:  # a key of another kind of section that may stand here
        return " here"
    here = _suggest(path[-1], siblings)
    if here:
        return here
    places = [place for place in _places(schema, ()) if place[-1] == path[-1]]
    return f", did you mean {' or '.join(map(key_path, places[:2]))}?" if places else ""


def _models_at(schema: type[BaseModel], path: KeyPath) -> Iterator[type[BaseModel]]:
    """Yield the models a path may lead to."""
    for annotation in _annotations_at(schema, path):
        yield from _models_in(annotation)


def _annotations_at(schema: type[BaseModel], path: KeyPath) -> list[Any]:
    """Return the annotations of what a path leads to; an index or a free key changes nothing."""
    annotations: list[Any] = [schema]
    for part in path:
        fields = [
            model.model_fields[str(part)]
            for annotation in annotations
            for model in _models_in(annotation)
            if part in model.model_fields
        ]
        annotations = [item.annotation for item in fields] or annotations
    return annotations


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for inner in _types_in(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield inner


def _wants_number(schema: type[BaseModel], path: KeyPath) -> bool:
    types = [inner for found in _annotations_at(schema, path) for inner in _types_in(found)]
    return (int in types or float in types) and bool not in types


def _types_in(annotation: Any) -> Iterator[Any]:
    """Yield an annotation without parts, or everything that stands inside it."""
    arguments = typing.get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _types_in(argument)


def _places(schema: type[BaseModel], prefix: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of every key of a schema."""
    for name in schema.model_fields:
        yield (*prefix, name)
        for inner in _models_at(schema, (name,)):
            if len(prefix) < MAX_DEPTH:  # a model may contain itself
                yield from _places(inner, (*prefix, name))


def _leaves(data: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """Yield every scalar of plain data with its path."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _leaves(value, (*path, index))
    else:
        yield path, data
