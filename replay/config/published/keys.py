"""The keys of a published `config.json`, read one by one, with everything wrong with them noted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.config.explain import shown

MOST = 2**24  # of any number in a config but those below; a layer or a width is far smaller
MOST_LAYERS = 4096
MOST_TOKENS = 2**31  # of a context
_MOST = {"num_hidden_layers": MOST_LAYERS, "max_position_embeddings": MOST_TOKENS}

# What one thing is called by the families; the first name is the one that errors show.
ALIASES: dict[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head",),
    "num_key_value_heads": ("num_kv_heads", "multi_query_group_num"),
    "head_dim": ("kv_channels",),
    "intermediate_size": ("ffn_hidden_size", "n_inner"),
    "vocab_size": ("padded_vocab_size",),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": (
        "experts_per_token",
        "num_experts_per_token",
        "top_k_experts",
        "moe_topk",
        "moe_k",
    ),
    "n_shared_experts": ("num_shared_experts", "moe_num_shared_experts"),
}


class Keys:
    """The keys of a config; a key that is missing or wrong is noted and stands as 1 meanwhile.

    So one reading finds all that is wrong. `missing` and `wrong` are to be looked at before
    anything made of the values is used.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.defaults: Mapping[str, Any] = {}
        self.missing: list[str] = []
        self.wrong: list[str] = []

    def get(self, name: str) -> Any:
        """Return a value by its name or one of its aliases; None where it is null or not there."""
        for key in (name, *ALIASES.get(name, ())):
            if self.data.get(key) is not None:
                return self.data[key]
        return self.defaults.get(name)

    def number(self, name: str, default: int | None = None) -> int:
        """Return a whole number above 0; without a default the key must be there."""
        value = self.get(name)
        if value is None:
            if default is None:
                aliases = ALIASES.get(name, ())
                self.missing.append(f"{name} (or {' or '.join(aliases)})" if aliases else name)
            return 1 if default is None else default
        return self._whole(name, value, lowest=1)

    def count(self, name: str, default: int = 0) -> int:
        """Return a whole number that may be 0."""
        value = self.get(name)
        return default if value is None else self._whole(name, value, lowest=0)

    def flag(self, name: str, default: bool) -> bool:
        """Return a true-or-false key."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong.append(f"{name} must be true or false (got {shown(value)})")
        return value is True

    def items(self, name: str, length: int | None = None) -> list[Any] | None:
        """Return a list, at least `length` long and cut to that, or None where there is none."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or (length is not None and len(value) < length):
            self.wrong.append(f"{name} must be a list of one item a layer")
            return None
        return value[:length]

    def whole_numbers(self, name: str, length: int | None = None) -> list[int] | None:
        """Return a list as `items` does, of whole numbers from 0 (or true and false) alone."""
        found = self.items(name, length)
        if found is not None and not all(
            isinstance(item, int) and 0 <= item <= MOST for item in found
        ):
            self.wrong.append(f"{name} must be a list of whole numbers")
            return None
        return found

    def section(self, name: str) -> Keys | None:
        """Return the keys of a mapping inside; what is wrong with them is noted here."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong.append(f"{name} must be a mapping")
            return None
        return self.inside(value)

    def inside(self, value: Mapping[str, Any]) -> Keys:
        """Return the keys of a mapping inside; what is wrong with them is noted here."""
        inner = Keys(value)
        inner.missing, inner.wrong = self.missing, self.wrong
        return inner

    def refuse(self, name: str, why: str) -> None:
        """Note that a key asks for what is not modelled."""
        self.wrong.append(f"{name} is not modelled: {why}")

    def _whole(self, name: str, value: Any, *, lowest: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            self.wrong.append(f"{name} must be a whole number from {lowest} (got {shown(value)})")
            return max(lowest, 1)
        if value > (most := _MOST.get(name, MOST)):
            self.wrong.append(f"{name} must be at most {most:,} (got {shown(value)})")
            return most
        return value
