"""The order of SGLang's queue, sorted in place, with every match it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.naive.sglang_requests import MOST_MATCHED, REFRESH_EVERY, REFRESHED, SHORT, Request
from tests.naive.sglang_state import State
from tests.naive.token_tree import Node, Tokens


class Orders(State):
    def match_all(self, waiting: list[Request]) -> set[Request]:
        """Match what waits, in order; return those that are late: they share with one before."""
        late: set[Request] = set()
        starts: set[Tokens] = set()
        for one in waiting:
            one.node, hit = self.tree.match(one.tokens)
            one.matched = min(hit, len(one.tokens) - 1)
            one.hit, one.filled = hit, len(one.tokens)
            if hit <= SHORT and len(one.tokens) >= SHORT:
                start = one.tokens[:SHORT]
                if start in starts:
                    late.add(one)
                starts.add(start)
        return late

    def sort_waiting(self) -> None:
        rules = self.rules
        order = rules.order if rules.cached or rules.order == "lof" else "fcfs"
        if order in ("lpm", "hrrn") and len(self.waiting) > MOST_MATCHED:
            order = "nothing"
        sort: dict[str, Callable[[], None]] = {
            "fcfs": self.sort_fcfs,
            "lof": self.sort_lof,
            "lpm": self.sort_lpm,
            "hrrn": self.sort_hrrn,
            "spf": self.sort_spf,
            "dfs": self.sort_dfs,
            "nothing": lambda: None,
        }
        sort[order]()
        if order in ("fcfs", "nothing", "lof"):
            self.refresh()
        for one in self.waiting:
            one.node = None

    def refresh(self) -> None:
        if not self.waiting:
            return
        if self.orderings % REFRESH_EVERY == 0 and self.rules.cached:
            for one in reversed(self.waiting[:REFRESHED]):
                self.tree.match(one.tokens)
        self.orderings += 1

    def sort_fcfs(self) -> None:
        if self.rules.priorities:
            self.waiting.sort(key=lambda one: (-one.priority, one.joined))

    def sort_lof(self) -> None:
        priorities = self.rules.priorities
        self.waiting.sort(key=lambda one: (-one.priority if priorities else 0, -one.n_out))

    def sort_lpm(self) -> None:
        late = self.match_all(self.waiting)
        self.waiting.sort(key=lambda one: (one in late, 0 if one in late else -one.matched))

    def sort_hrrn(self) -> None:
        late = self.match_all(self.waiting)

        def key(one: Request) -> tuple[float, int]:
            work = one.n_in - one.matched
            if one in late:
                return float("inf"), one.idx
            if work <= 0:
                return -float("inf"), one.idx
            return -(self.prompt_clock - one.joined_clock) / work, one.idx

        self.waiting.sort(key=key)

    def work(self, one: Request) -> int:
        return max(1, len(one.tokens) - one.matched)

    def sort_spf(self) -> None:
        late = self.match_all(self.waiting)
        self.waiting.sort(key=lambda one: (one in late, self.work(one), one.joined))

    def sort_dfs(self) -> None:
        self.match_all(self.waiting)
        weight = Counter(node for one in self.waiting for node in one.node.path)

        def visit(node: Node) -> list[Request]:
            children = [child for child in node.children.values() if weight[child]]
            found = []
            for child in sorted(children, key=lambda child: -weight[child]):
                found += visit(child)
            return found + [one for one in self.waiting if one.node is node]

        self.waiting = visit(self.tree.root)
