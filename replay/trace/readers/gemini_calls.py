"""Calls of Gemini's API, asked in `contents` and answered in `candidates`, as chat APIs write them.

(https://ai.google.dev/api/generate-content). What a request takes from a cache of its own making
(`cachedContent`) is in no log: the prompt lacks it, though the counts have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from replay.trace.problems import shown
from replay.trace.readers.api_logs import count_in, first, mapping_in, told
from replay.trace.readers.chat_messages import RowError

_ROLES = {"model": "assistant", "function": "tool"}
_SYSTEM = ("systemInstruction", "system_instruction")


def gemini_request(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as chat APIs write it; raises RowError for contents that are none."""
    messages = []
    system = first(asked, *_SYSTEM)
    if isinstance(system, str):
        messages.append({"role": "system", "content": system})
    elif isinstance(system, Mapping):
        messages.append({**_message(system, "systemInstruction"), "role": "system"})
    contents = asked.get("contents")
    contents = [contents] if isinstance(contents, str | Mapping) else contents
    if not isinstance(contents, list):
        raise RowError(f"contents must be a list of contents (got {shown(contents)})")
    for place, one in enumerate(contents):
        if isinstance(one, str):
            messages.append({"role": "user", "content": one})
        elif isinstance(one, Mapping):
            messages.append(_message(one, f"contents[{place}]"))
        else:
            raise RowError(f"contents[{place}] must be an object (got {shown(one)})")
    settings = mapping_in(asked, "generationConfig", "generation_config")
    return told(
        messages=messages,
        tools=_tools(asked.get("tools")) or None,
        max_tokens=count_in(settings, "maxOutputTokens", "max_output_tokens"),
        model=asked.get("model") if isinstance(asked.get("model"), str) else None,
    )


def gemini_response(answer: object) -> dict[str, Any] | None:
    """Return a response as chat APIs write it, also one of several chunks; None for none."""
    given = answer if isinstance(answer, list) else [answer]
    chunks = [one for one in given if isinstance(one, Mapping)]
    if not chunks:
        return None
    parts: list[Any] = []
    usage: Mapping[str, Any] = {}
    for chunk in chunks:
        if chunk.get("error"):
            return {"error": chunk["error"]}
        usage = mapping_in(chunk, "usageMetadata", "usage_metadata") or usage
        for candidate in _first_of(chunk.get("candidates")):
            parts += _parts(mapping_in(candidate, "content"))
    message = {"role": "assistant", "content": [_part(one) for one in parts]}
    return told(choices=[{"message": message}], usage=_usage(usage) or None)


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts: a prompt holds what came from the cache, an answer its thoughts apart."""
    asked = count_in(usage, "promptTokenCount", "prompt_token_count")
    more = count_in(usage, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
    given = count_in(usage, "candidatesTokenCount", "candidates_token_count")
    thoughts = count_in(usage, "thoughtsTokenCount", "thoughts_token_count")
    cached = count_in(usage, "cachedContentTokenCount", "cached_content_token_count")
    if given is None and asked is not None and usage:
        given = 0
    return told(
        prompt_tokens=_sum(asked, more),
        completion_tokens=_sum(given, thoughts),
        prompt_tokens_details=None if cached is None else {"cached_tokens": cached},
        completion_tokens_details=None if thoughts is None else {"reasoning_tokens": thoughts},
    )


def _sum(count: Any, more: Any) -> Any:
    return count + more if type(count) is int and type(more) is int else count


def _first_of(candidates: object) -> Sequence[Mapping[str, Any]]:
    if candidates is None:
        return []
    if not isinstance(candidates, list):
        raise RowError(f"candidates must be a list (got {shown(candidates)})")
    return [one for one in candidates[:1] if isinstance(one, Mapping)]


def _message(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    role = content.get("role", "user")
    if not isinstance(role, str):
        raise RowError(f"{name} must have a role (got {shown(role)})")
    return {"role": _ROLES.get(role, role), "content": [_part(one) for one in _parts(content)]}


def _parts(content: Mapping[str, Any]) -> list[Any]:
    parts = content.get("parts", [])
    parts = [parts] if isinstance(parts, Mapping | str) else parts
    if not isinstance(parts, list):
        raise RowError(f"parts must be a list (got {shown(parts)})")
    return parts


def _part(part: object) -> Any:
    """Return a part as chat APIs write it; media stay as they are."""
    if not isinstance(part, Mapping):
        return {"type": "text", "text": part} if isinstance(part, str) else part
    text = part.get("text")
    if isinstance(text, str):
        if part.get("thought") is True:
            return {"type": "thinking", "thinking": text}
        return {"type": "text", "text": text}
    call = mapping_in(part, "functionCall", "function_call")
    if call:
        return {"type": "tool_use", "name": call.get("name"), "input": call.get("args")}
    result = mapping_in(part, "functionResponse", "function_response")
    if result:
        said = json.dumps(result.get("response"), ensure_ascii=False)
        return {"type": "tool_result", "content": said}
    return part


def _tools(tools: object) -> list[Any]:
    found: list[Any] = []
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, Mapping):
            declared = first(tool, "functionDeclarations", "function_declarations")
            found += declared if isinstance(declared, list) else []
    return [one for one in found if isinstance(one, Mapping)]
