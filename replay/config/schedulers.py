"""The schedulers that an engine may have and the orders of their queues, one line each.

What a scenario takes, the documentation and the kernels' codes are read from here: a place in a
table is what the kernels branch on, as replay/kernels/layout/ names it.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULERS = {
    "vllm": "prompts and decodes share a step and its token budget",
    "sglang": "a step computes prompts while any fit, else decodes",
}


@dataclass(frozen=True, slots=True)
class Order:
    """An order in which waiting requests are admitted, and whose schedulers know it.

    `long_name` is what an engine calls it, where that is another name; it is taken as well.
    """

    name: str
    schedulers: tuple[str, ...]
    meaning: str
    long_name: str | None = None


ORDERS = (
    Order("fcfs", ("vllm", "sglang"), "as they arrive"),
    Order(
        "priority",
        ("vllm", "sglang"),
        "by the trace's column priority: smaller is more urgent in vllm, greater in sglang",
    ),
    Order("lpm", ("sglang",), "longest cached prefix first"),
    Order("dfs-weight", ("sglang",), "along the tree, where most wait first"),
    Order("lof", ("sglang",), "longest response first"),
    Order("spf", ("sglang",), "fewest tokens to compute first", "shortest-prefill-first"),
    Order("hrrn", ("sglang",), "longest wait for its tokens to compute first"),
)


def order_names(scheduler: str | None = None) -> tuple[str, ...]:
    """Return the orders that a scheduler knows, or those of all, as the table has them."""
    return tuple(one.name for one in ORDERS if scheduler is None or scheduler in one.schedulers)


def short_order(name: object) -> object:
    """Return the name of an order that was given by its engine's; anything else as it is."""
    return next((one.name for one in ORDERS if one.long_name and one.long_name == name), name)


def scheduler_code(name: str) -> int:
    """Return what the kernels call a scheduler."""
    return tuple(SCHEDULERS).index(name)


def order_code(name: str) -> int:
    """Return what the kernels call an order."""
    return order_names().index(name)


def schedulers_told_apart() -> str:
    """Return the schedulers as a sentence of a description."""
    return "; ".join(f"{name}: {meaning}" for name, meaning in SCHEDULERS.items())


def orders_told_apart() -> str:
    """Return the orders as a sentence of a description."""
    return "; ".join(f"{one.name}: {one.meaning}" for one in ORDERS)
