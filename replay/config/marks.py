"""YAML text as plain data, with the place of every value, so that errors can name it.

Scalars follow YAML 1.2: only `true` and `false` are booleans, `1e3` is a number, and `off`, `no`,
`12:30` and dates are text. PyYAML on its own follows 1.1 and silently keeps the last of two equal
keys; here the second is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import yaml

from replay.errors import ConfigError, Problem

KeyPath = tuple[str | int, ...]

MAX_DEPTH = 64
MAX_NODES = 100_000

_HALF = "must not hold half of a surrogate pair"
_TAG = "tag:yaml.org,2002:"
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


class _Composer(yaml.SafeLoader):
    """PyYAML's parser with the scalar types of YAML 1.2; it composes nodes and builds nothing."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def add_resolvers(machine: type[yaml.SafeLoader | yaml.SafeDumper]) -> None:
    """Teach a PyYAML class the scalar types of YAML 1.2, beside those it knows."""
    for kind, pattern, first in _RESOLVERS:
        machine.add_implicit_resolver(_TAG + kind, re.compile(rf"(?:{pattern})\Z"), first)


add_resolvers(_Composer)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, or the option a value came from (then without line and column)."""

    source: str
    line: int | None = None
    column: int | None = None

    def problem(self, message: str) -> Problem:
        """Return the problem that `message` describes, at this place."""
        return Problem(self.source, message, self.line, self.column)


@dataclass(slots=True)
class Document:
    """Data read from one source, where each key and value stands, and what was wrong on the way.

    `values` always has the place of the document itself under the empty path.
    """

    data: object
    values: dict[KeyPath, Mark]
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def compose(text: str, source: str) -> Document:
    """Return the one YAML document in `text` as plain data with the marks of its parts.

    Keys become text whatever they look like. Raises ConfigError where there is no sound YAML to
    go on with; a duplicate key or a tag is left in `problems`.
    """
    try:
        node = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, source)], hint=_syntax_hint(error)) from error
    except yaml.reader.ReaderError as error:
        mark = _mark_at(text, error.position, source)
        message = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise ConfigError([mark.problem(message)]) from error
    except RecursionError as error:
        raise ConfigError([Problem(source, f"nested deeper than {MAX_DEPTH} levels")]) from error
    document = Document(None, {(): Mark(source, 1, 1)})
    if node is not None:
        document.data = _Walk(document, source).build(node, ())
    return document


class _Walk:
    """Builds data from nodes, noting marks and problems in a document as it goes."""

    def __init__(self, document: Document, source: str) -> None:
        self.document, self.source, self.nodes = document, source, 0

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        """Return the data of a node; aliases are built anew at each place they are used."""
        mark = self.mark(node)
        self.nodes += 1
        if len(path) > MAX_DEPTH:
            raise ConfigError([mark.problem(f"nested deeper than {MAX_DEPTH} levels")])
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values once its aliases are expanded"
            raise ConfigError([mark.problem(message)])
        self.document.values[path] = mark
        if str(node.tag).removeprefix(_TAG) not in _TAGS:
            self.document.problems.append(mark.problem(f"tags are not used here (got {node.tag})"))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if not _is_text(str(node.value)):
            self.document.problems.append(mark.problem(f"{_HALF} (got {str(node.value)[:40]!a})"))
            return _HALF
        return _scalar(str(node.tag).removeprefix(_TAG), str(node.value))

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        """Return a mapping; of a key that stands twice the first value counts."""
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            mark = self.mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.problems.append(mark.problem("a key must be plain text"))
                continue
            key = str(key_node.value)
            if not _is_text(key):
                self.document.problems.append(mark.problem(f"{_HALF} (got {key[:40]!a})"))
                continue
            if key in built:
                first = self.document.keys[(*path, key)].line
                message = f"key {key!r} given twice (first on line {first})"
                self.document.problems.append(mark.problem(message))
                continue
            self.document.keys[(*path, key)] = mark
            built[key] = self.build(value_node, (*path, key))
        return built

    def mark(self, node: yaml.Node) -> Mark:
        """Return where a node starts."""
        return Mark(self.source, node.start_mark.line + 1, node.start_mark.column + 1)


def _scalar(kind: str, text: str) -> object:
    """Return what a scalar stands for, or its text where it is not what its tag says."""
    try:
        return _SCALARS.get(kind, str)(text)
    except (ValueError, KeyError):
        return text


def _is_text(value: str) -> bool:
    """Return whether escapes such as \\uD800 left no half of a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(text: str) -> int:
    for prefix, base in (("0x", 16), ("0o", 8)):
        if text.startswith(prefix):
            return int(text, base)
    return int(text)


_SCALARS: Mapping[str, Callable[[str], object]] = {
    "str": str,
    "null": lambda text: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": _integer,
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
}
_TAGS = {*_SCALARS, "map", "seq"}


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = error.problem or error.context or "not YAML"
    if mark is None:
        return Problem(source, message)
    if message.startswith("but "):  # the second half of a sentence
        message = f"{error.context}, {message}"
    elif error.context_mark and error.context_mark.line != mark.line:
        message += f" ({error.context}, line {error.context_mark.line + 1})"
    return Problem(source, message, mark.line + 1, mark.column + 1)


def _syntax_hint(error: yaml.MarkedYAMLError) -> str | None:
    if error.problem and "'\\t'" in error.problem:
        return "YAML indents with spaces, not tabs"
    return None


def _mark_at(text: str, position: int, source: str) -> Mark:
    before = text[:position]
    return Mark(source, before.count("\n") + 1, position - before.rfind("\n"))
