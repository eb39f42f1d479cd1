"""Models whose layers do not all keep KV of every token: what is shown of them is a bound.

The pool counts tokens of the layers that grow, and a hit is a prefix of blocks. An engine keeps
groups of blocks beside each other instead, one for each kind of layer, all out of one memory: a
prompt takes blocks in every group, so fewer fit, and a hit needs what every kind of layer needs
there, so fewer are found. Which kinds a model has is told by its list of layers, not by its name.
"""

from __future__ import annotations

from replay.config.hardware import AttentionGroup, Model


def upper_bound(model: Model) -> str | None:
    """Return in one line why hits and capacity of a model are bounds; None where they are exact.

    A model of windows alone has one group, whose hits need only the window: up to its length the
    bound holds, and beyond it hits may be more or less.
    """
    groups = [_group_in_words(group) for group in model.attention_groups]
    special = [words for words in groups if words is not None]
    if not special:
        return None
    kinds = " and ".join(special)
    window = model.window.tokens if model.window else None
    if window is not None and len(groups) == len(special) == 1 and not model.linear:
        return (
            f"UPPER BOUND up to prompts of {window:,} tokens: {model.name} has {kinds}. Beyond it "
            "an engine gives KV back and needs only the window for a hit: hit rates and capacity "
            "may be above or below what is shown."
        )
    return (
        f"UPPER BOUND: {model.name} has {kinds}. In an engine each kind of layer takes blocks of "
        "its own out of one memory and a hit needs what every kind needs, which is not modelled: "
        "hit rates and the tokens that fit are at most what is shown."
    )


def _group_in_words(group: AttentionGroup) -> str | None:
    """Return what a group of layers keeps, None where it is KV of every token."""
    layers = f"{group.layers} layer{'s' if group.layers > 1 else ''}"
    if group.kind == "window":
        return f"{layers} that keep KV of the last {group.window:,} tokens only (sliding window)"
    if group.kind == "chunked":
        return f"{layers} that keep KV of the current {group.window:,} tokens only (chunked-local)"
    if group.kind == "linear":
        return f"{layers} that keep a state, stored at few places (linear attention)"
    if group.kind == "compressed":
        return f"{layers} that keep one entry for {group.ratio:,} tokens (compressed)"
    return None
