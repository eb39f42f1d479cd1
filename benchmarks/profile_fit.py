"""Print how generated traces compare with the traffic their profiles were fitted to.

    python -m benchmarks.profile_fit [PROFILE ...] [--seeds N]

For each profile: statistic, target, where the target is from, the median over N seeds (default 4),
the difference, and whether it is within its bar. `chat` is compared with the Mooncake conversation
trace itself, which is looked for in `../shared/traces/mooncake`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks import profile_measures as measures
from benchmarks import profile_targets as targets
from benchmarks.profile_measures import Statistics
from benchmarks.profile_targets import Target
from replay.trace.frame import Trace
from replay.units import NS_PER_S
from replay.workload.generate import generate
from replay.workload.profiles import load_profile

SEEDS = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """One profile: its targets by statistic, how a trace is measured, and how long a trace to draw.

    `requests` and `duration_ns` replace those of the profile.
    """

    targets: Callable[[], dict[str, Target]]
    measure: Callable[[Trace], Statistics]
    requests: int | None = None
    duration_ns: int | None = None

    def measured(self, name: str, seeds: Iterable[int]) -> list[Statistics]:
        """Return the statistics of one generated trace for each seed."""
        length = {"requests": self.requests, "duration_ns": self.duration_ns}
        profile = load_profile(name)
        return [self.measure(generate(profile.changed(seed=seed, **length))) for seed in seeds]


FITS = {
    "chat": Fit(measures.chat_targets, measures.chat_statistics, requests=12_031),
    "human_chat": Fit(
        targets.human_targets, measures.human_statistics, duration_ns=76_870 * NS_PER_S
    ),
    "agentic_coding": Fit(targets.agentic_targets, measures.agentic_statistics, requests=120_000),
    "doc_qa": Fit(targets.document_targets, measures.document_statistics, requests=3_993),
}


def medians(found: list[Statistics]) -> Statistics:
    """Return the median of each statistic."""
    return {key: float(np.median([one[key] for one in found])) for key in found[0]}


def table(wanted: dict[str, Target], found: Statistics) -> list[str]:
    """Return the lines of a Markdown table, one statistic a line."""
    lines = [
        "| statistic | target | source | generated | difference | within bar |",
        "|---|---:|---|---:|---:|---|",
    ]
    for name, target in wanted.items():
        value = found[name]
        if target.bar is None:
            verdict = "(no bar)"
        else:
            verdict = ("yes" if target.holds(value) else "**no**") + f" ({target.written_bar()})"
        cells = (
            name, _number(target.value), target.source, _number(value),
            target.written_difference(value), verdict,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def main() -> int:
    """Print the tables; return 1 where a statistic is outside its bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", nargs="*", choices=[*FITS, []], default=[])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="traces to draw of each profile")
    options = parser.parse_args()
    outside = 0
    for name in options.profile or FITS:
        print(f"## {name}\n")
        fit = FITS[name]
        try:
            wanted = fit.targets()
        except FileNotFoundError as absent:
            print(f"skipped: {absent}\n")
            continue
        found = medians(fit.measured(name, range(1, options.seeds + 1)))
        print("\n".join(table(wanted, found)), end="\n\n")
        failed = [key for key, target in wanted.items() if not target.holds(found[key])]
        outside += len(failed)
        print(f"{len(wanted) - len(failed)} of {len(wanted)} within their bars", end="\n\n")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
