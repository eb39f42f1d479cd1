"""OpenInference attributes of a span, as Phoenix and others record them, in OpenTelemetry's names.

    {"openinference.span.kind": "LLM", "llm.model_name": "m", "session.id": "s",
     "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Hi",
     "llm.output_messages.0.message.content": "Hello", "llm.token_count.prompt": 9,
     "llm.token_count.prompt_details.cache_read": 4, "llm.token_count.completion": 1}

(https://arize-ai.github.io/openinference/spec/semantic_conventions.html). Attributes are flat, as
here, or nested objects and lists, as exports of spans have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replay.trace.readers.json_text import object_in

_PREFIX = "llm."
_DEEPEST = 12
_COUNTS = {
    "prompt": "gen_ai.usage.input_tokens",
    "completion": "gen_ai.usage.output_tokens",
    "prompt_details.cache_read": "gen_ai.usage.cache_read.input_tokens",
    "prompt_details.cache_write": "gen_ai.usage.cache_creation.input_tokens",
    "completion_details.reasoning": "gen_ai.usage.reasoning.output_tokens",
}
_NAMES = {
    "model_name": "gen_ai.request.model",
    "provider": "gen_ai.provider.name",
    "system": "gen_ai.system",
}
_SESSION = "session.id"
Tree = dict[str, Any]


def in_gen_ai_names(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes with what they say of a model's call under OpenTelemetry's names.

    Those that have such names already keep them; a span that says nothing of one stays as it is.
    """
    tree = _tree_of(attributes)
    if not tree:
        return attributes
    found: dict[str, Any] = {}
    for name, messages in (("input", "input_messages"), ("output", "output_messages")):
        told = [_message(_inner(one, "message")) for one in _listed(tree.get(messages))]
        if told:
            found[f"gen_ai.{name}.messages"] = told
    prompts = [_inner(one, "prompt").get("text") for one in _listed(tree.get("prompts"))]
    if prompts and "gen_ai.input.messages" not in found:
        found["gen_ai.prompt"] = prompts[0]
    tools = [_tool(_inner(one, "tool")) for one in _listed(tree.get("tools"))]
    if tools:
        found["gen_ai.tool.definitions"] = tools
    counts = tree.get("token_count")
    for path, meant in _COUNTS.items():
        count = _at(counts, path)
        if count is not None:
            found[meant] = int(count) if isinstance(count, float) and count == count // 1 else count
    found |= {meant: tree[name] for name, meant in _NAMES.items() if name in tree}
    session = _session(attributes)
    if session is not None:
        found["gen_ai.conversation.id"] = session
    return {**found, **attributes}


def _tree_of(attributes: Mapping[str, Any]) -> Tree:
    """Return what stands under `llm`, flat names taken apart, lists as objects of their places."""
    tree: Tree = {}
    nested = attributes.get("llm")
    for path, value in _leaves(nested, 0) if isinstance(nested, Mapping) else ():
        _set(tree, path, value)
    for name, value in attributes.items():
        if name.startswith(_PREFIX):
            start = name.removeprefix(_PREFIX).split(".")[:_DEEPEST]
            for path, inner in _leaves(value, 0):
                _set(tree, [*start, *path], inner)
    return tree


def _leaves(value: object, depth: int) -> Iterator[tuple[list[str], object]]:
    entries: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping) and value and depth < _DEEPEST:
        entries = iter(value.items())
    elif isinstance(value, list) and value and depth < _DEEPEST:
        entries = ((str(place), one) for place, one in enumerate(value))
    if entries is None:
        yield [], value
        return
    for name, inner in entries:
        for path, leaf in _leaves(inner, depth + 1):
            yield [*str(name).split("."), *path], leaf


def _set(tree: Tree, path: list[str], value: object) -> None:
    for name in path[:-1]:
        inner = tree.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    if path:
        tree.setdefault(path[-1], value)


def _listed(node: object) -> list[Tree]:
    """Return the entries of a list that stands as an object of places, in their order."""
    if not isinstance(node, dict):
        return []
    places = sorted((name for name in node if name.isdecimal() and len(name) < 10), key=int)
    return [node[name] if isinstance(node[name], dict) else {} for name in places]


def _inner(node: Tree, name: str) -> Tree:
    inner = node.get(name, node)
    return inner if isinstance(inner, dict) else {}


def _message(node: Tree) -> dict[str, Any]:
    """Return a message as chat APIs write it."""
    told: dict[str, Any] = {"role": node.get("role", "assistant"), "content": node.get("content")}
    parts = [_part(_inner(one, "message_content")) for one in _listed(node.get("contents"))]
    if parts:
        told["content"] = parts
    calls = [_call(_inner(one, "tool_call")) for one in _listed(node.get("tool_calls"))]
    if calls:
        told["tool_calls"] = calls
    return told | {name: node[name] for name in ("name", "tool_call_id") if name in node}


def _part(node: Tree) -> dict[str, Any]:
    if "text" in node:
        return {"type": "text", "text": node["text"]}
    image = _at(node, "image.image.url") or _at(node, "image.url")
    if image is not None:
        return {"type": "image_url", "image_url": {"url": image}}
    return {"type": node.get("type", "unknown"), **node}


def _call(node: Tree) -> dict[str, Any]:
    function = node.get("function")
    function = function if isinstance(function, dict) else {}
    told = {"name": function.get("name"), "arguments": function.get("arguments")}
    number = {"id": node["id"]} if "id" in node else {}
    return {**number, "type": "function", "function": told}


def _tool(node: Tree) -> Any:
    """Return a tool by its schema, which is JSON as text."""
    return object_in(node.get("json_schema"), "llm.tools") if "json_schema" in node else node


def _at(node: object, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(node, Mapping):
            return None
        node = node.get(name)
    return None if isinstance(node, Mapping) else node


def _session(attributes: Mapping[str, Any]) -> str | None:
    found = attributes.get(_SESSION)
    if found is None and isinstance(attributes.get("session"), Mapping):
        found = attributes["session"].get("id")
    return found if isinstance(found, str) and found else None
