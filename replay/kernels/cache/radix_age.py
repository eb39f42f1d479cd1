"""How long the nodes of a radix cache have been idle, for those that expire.

The unlocked nodes are a list in order of last use. Whatever uses or gives back a path puts its
deepest node first, and what is used below a node is used with it, so a child always comes before
its parent: the first of the list is a leaf.
"""

from __future__ import annotations

from replay.kernels.cache.radix_layout import NEWER, OLDER, USED_NS
from replay.kernels.jit import inner
from replay.kernels.layout import NONE, NOW_NS, OLDEST, YOUNGEST


@inner
def add_youngest(t, node):
    """Put a node that is not in the list at its end: it is used, or given back, now."""
    youngest = t.counters[YOUNGEST]
    t.ages[node, USED_NS] = t.counters[NOW_NS]
    t.ages[node, OLDER] = youngest
    t.ages[node, NEWER] = NONE
    if youngest == NONE:
        t.counters[OLDEST] = node
    else:
        t.ages[youngest, NEWER] = node
    t.counters[YOUNGEST] = node


@inner
def take_out(t, node):
    """Take a node out of the list."""
    older = t.ages[node, OLDER]
    newer = t.ages[node, NEWER]
    if older == NONE:
        t.counters[OLDEST] = newer
    else:
        t.ages[older, NEWER] = newer
    if newer == NONE:
        t.counters[YOUNGEST] = older
    else:
        t.ages[newer, OLDER] = older


@inner
def use_again(t, node):
    """Move a node of the list to its end."""
    take_out(t, node)
    add_youngest(t, node)
