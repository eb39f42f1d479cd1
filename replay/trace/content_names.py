"""What sources call the columns that decide who shares KV and who looks it up: one table of names.

A name is compared without capitals and punctuation, so `lora_name`, `loraName` and `LoRA-Name` are
one. The first that a source has becomes the column, and others fill in where it says nothing. A
salt and a key beside it (SGLang's `extra_key`) name the content together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import polars as pl

ALIASES = {
    "model": ("model", "modelname", "modelid"),
    "adapter": (
        "adapter", "adaptername", "adapterid", "lora", "loraname", "loraadapter", "loraadaptername",
        "lorarequest", "lorapath", "loraid", "loraintid",
    ),
    "cache_salt": ("cachesalt", "kvcachesalt", "salt", "extrakey"),
    "tenant": (
        "tenant", "tenantid", "tenantname", "organization", "organizationid", "organisation",
        "organisationid", "org", "orgid",
    ),
}  # fmt: skip
SKIPS = "skips_lookup"
_ASKS_PROMPT_LOGPROBS = "promptlogprobs"  # vLLM: any number, 0 too
_SAYS_IT_SKIPS = ("skipslookup", "skipreadingprefixcache")
_SAYS_IT_WITH_OTHERS = ("echo", "returnlogprob")
_COLUMN_OF = {alias: column for column, aliases in ALIASES.items() for alias in aliases}
_NAMES_IN_OBJECTS = ("name", "id", "path", "lora_name", "lora_int_id", "lora_path", "adapter_name")
_FALSE = ("", "false", "no", "none", "null", "off", "f", "n")
_TRUE_ONLY = ("0", *_FALSE)  # of what is no number of log-probabilities


def content_column(name: str) -> str | None:
    """Return the column that a source's name stands for, None for any other name."""
    return _COLUMN_OF.get(_plain(name))


def tells_skipping(name: str) -> bool:
    """Return whether a request may skip the look-up by what it says under this name."""
    return _plain(name) in (_ASKS_PROMPT_LOGPROBS, *_SAYS_IT_SKIPS, *_SAYS_IT_WITH_OTHERS)


def name_text(value: object) -> str | None:
    """Return a name as text: numbers as they are written, objects by the name in them."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in _NAMES_IN_OBJECTS if value.get(key)), value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        value = json.dumps(value, default=str)
    return value.encode(errors="backslashreplace").decode()


def skips_lookup(values: Mapping[str, Any]) -> bool:
    """Return whether a request asks for what no engine computes without all of the prompt's KV.

    vLLM skips the look-up where log-probabilities of the prompt are asked for: `prompt_logprobs`,
    or `echo` together with `logprobs`; SGLang finds nothing where they are from token 0 on.
    """
    for name, value in values.items():
        if _plain(name) == _ASKS_PROMPT_LOGPROBS and _says_so(value, _FALSE):
            return True
        if _plain(name) in _SAYS_IT_SKIPS and _says_so(value, _TRUE_ONLY):
            return True
    if values.get("echo") is True:
        asked = values.get("logprobs")
        if isinstance(asked, bool):  # of chats, where another key says how many
            asked = values.get("top_logprobs")
        return asked is not None
    return values.get("return_logprob") is True and values.get("logprob_start_len") == 0


def with_content_columns(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return a frame whose columns of names in ALIASES have the names of replay, and notes."""
    notes: list[str] = []
    for column, aliases in ALIASES.items():
        places = {_plain(name): name for name in reversed(frame.columns)}
        found = [places[alias] for alias in aliases if alias in places]
        texts = [text for name in found if (text := _as_text(frame[name])) is not None]
        if not texts:
            continue
        first = texts[0].name
        whole = _together(texts) if column == "cache_salt" else pl.coalesce(texts)
        frame = frame.drop(first).with_columns(whole.alias(column))
        if first != column:
            notes.append(f"column {column} is the source's {first}")
    return _with_skips(frame), notes


def _with_skips(frame: pl.DataFrame) -> pl.DataFrame:
    skips = pl.Series(SKIPS, [False]).new_from_index(0, frame.height)
    for name in frame.columns:
        plain = _plain(name)
        if plain == _ASKS_PROMPT_LOGPROBS or plain in _SAYS_IT_SKIPS:
            refused = _FALSE if plain == _ASKS_PROMPT_LOGPROBS else _TRUE_ONLY
            text = _as_text(frame[name])
            if text is not None:
                said = text.str.to_lowercase().is_in(refused)
                skips = skips | (~said).fill_null(False)
    if not skips.any() and SKIPS not in frame.columns:
        return frame
    return frame.with_columns(skips.alias(SKIPS))


def _together(texts: list[pl.Series]) -> pl.Expr:
    return pl.concat_str(
        [pl.lit(text) for text in texts], separator="/", ignore_nulls=True
    ).replace("", None)


def _as_text(values: pl.Series) -> pl.Series | None:
    """Return a column of names as text, empty ones as missing; None where it holds no names."""
    if values.dtype.is_nested() or values.dtype in (pl.Object, pl.Binary):
        return None
    return values.cast(pl.String).replace("", None)


def _says_so(value: object, refused: tuple[str, ...]) -> bool:
    return value is not None and str(value).lower() not in refused


@lru_cache(4096)
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
