"""The single values of a logged request, wherever they stand: beside it, in it, in its metadata.

    {"tenant_id": 7, "request": {"model": "m", "temperature": 0, "metadata": {"team": "x"},
     "extra_body": {"cache_salt": "s"}}}

gives the columns tenant_id, model, temperature, team and cache_salt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replay.trace.content_names import (
    SKIPS,
    content_column,
    name_text,
    skips_lookup,
    tells_skipping,
)
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.json_text import object_in
from replay.trace.readers.log_keys import own_values

# What clients and gateways pass on beside the API's own keys, and what vLLM takes there.
_INSIDE = ("extra_body", "vllm_xargs", "sampling_params", "metadata", "extra_args")


def logged_values(
    row: Mapping[str, Any],
    request: Mapping[str, Any],
    answer: Mapping[str, Any],
    *,
    left_out: frozenset[str],
) -> dict[str, object]:
    """Return the values of a row by key: its own, those of its request, then what is inside these.

    Keys that say a prompt or a time are left out, and so are `left_out`. Where places differ on a
    key, the first has it and a later one is `request_` and that key; of the model, the request's
    own word counts first, then the response's.
    """
    found = _values(row, left_out)
    for place in _places(row, request):
        for name, value in _values(place, left_out).items():
            if name not in found:
                found[name] = value
            elif found[name] != value:
                found.setdefault(f"request_{name}", value)
    model = request.get("model") or answer.get("model") or row.get("model")
    if isinstance(model, str):
        if row is not request and found.get("model", model) != model:
            found["source_model"] = found["model"]
        found["model"] = model
    asked = {name: value for place in (request, *_inside(request)) for name, value in place.items()}
    if skips_lookup(asked):
        found[SKIPS] = True
    return found


def named_values(row: Mapping[str, Any]) -> dict[str, object]:
    """Return the adapters, salts and tenants of a row, and of its metadata, by their keys."""
    return {
        name: value
        for place in (*_inside(row), row)
        for name, value in place.items()
        if content_column(name) not in (None, "model") and value is not None
    }


def named_attributes(attributes: Mapping[str, Any]) -> dict[str, object]:
    """Return the attributes of a span that name an adapter, a salt or a tenant, or skip a look-up.

    The last parts of an attribute's name count, so `gen_ai.request.cache_salt` and `app.tenant.id`
    are such; each is returned under these parts alone.
    """
    found: dict[str, object] = {}
    for name, value in attributes.items():
        parts = name.split(".")
        for few in (parts[-1:], parts[-2:]):
            last = "_".join(few)
            if content_column(last) not in (None, "model") or tells_skipping(last):
                found.setdefault(last, value)
                break
    return found


def _places(row: Mapping[str, Any], request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if request is not row:
        yield request
        yield from _inside(request)
    yield from _inside(row)


def _inside(values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in _INSIDE:
        try:
            inner = object_in(values.get(name), name)
        except RowError:  # a text that only looks like JSON
            continue
        if isinstance(inner, Mapping):
            yield inner


def _values(place: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, object]:
    named = {
        name: name_text(value)
        for name, value in place.items()
        if isinstance(value, Mapping) and content_column(name) is not None
    }
    return own_values(place, left_out) | named
