"""What the traffic behind each fitted profile is like: the figures a generated trace should have.

Figures of the conversation trace are measured on the file itself; those of the others are of
files that are large, cannot be redistributed or are not public, and were measured on these.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a statistic should be: within `bar` of `value`, relative unless `absolute`.

    Without a bar it is shown alone. `at_most` takes any value up to the bar.
    """

    value: float
    source: str
    bar: float | None = 0.10
    absolute: bool = False
    at_most: bool = False

    def difference(self, generated: float) -> float:
        """Return how far a value is from the target, in the unit of the bar."""
        off = generated - self.value
        return off if self.absolute or not self.value else off / abs(self.value)

    def written_bar(self) -> str:
        """Return the bar in words."""
        assert self.bar is not None
        if self.at_most:
            return f"at most {self.bar:g}"
        return f"{self.bar:g}" if self.absolute else f"{self.bar:.0%}"

    def written_difference(self, generated: float) -> str:
        """Return the difference, in percent where the bar is relative."""
        off = self.difference(generated)
        return f"{off:+.4f}" if self.absolute or not self.value else f"{off:+.1%}"

    def holds(self, generated: float) -> bool:
        """Return whether a value is within the bar; without one it is."""
        if self.bar is None:
            return True
        if self.at_most:
            return generated <= self.bar
        return abs(self.difference(generated)) <= self.bar


def human_targets() -> dict[str, Target]:
    """Return the statistics of the Bidaw traces: 503,366 rounds of parts 1-4."""
    values = {
        "gap p50 s": 43, "gap p90 s": 87, "gap p99 s": 140, "Spearman(gap, response before)": 0.75,
        "rounds p50": 18, "rounds mean": 22.4, "rounds p90": 46, "rounds max": 490,
        "single-round share": 0.112, "P(second round)": 0.89, "P(further round) early": 0.99,
        "P(further round) late": 0.94,
        "query mean": 35, "query p5": 8, "query p25": 16, "query p50": 26, "query p75": 46,
        "query p95": 92, "query p99": 128,
        "response mean": 44, "response p5": 2, "response p50": 38, "response p95": 110,
        "response p99": 162,
    }  # fmt: skip
    return {key: Target(value, "Bidaw, FAST'26") for key, value in values.items()}


def agentic_targets() -> dict[str, Target]:
    """Return the statistics of the WEKA traces: 710 sessions, 49,334 requests, 64-token blocks."""
    values = {
        "input mean": 122_379, "input p5": 30_544, "input p25": 66_519, "input p50": 103_659,
        "input p75": 138_566, "input p95": 300_666, "input p99": 498_519,
        "output mean": 440, "output p5": 89, "output p50": 216, "output p95": 1_554,
        "output p99": 3_686,
        "ideal block hit rate": 0.9634, "ideal token hit rate": 0.9632,
        "share of requests that hit": 0.98,
        "request hit rate p25": 0.98, "request hit rate p50": 0.99, "request hit rate p75": 1.0,
        "request hit rate p90": 1.0,
        "appended p50": 713, "appended p90": 4_206, "appended p99": 65_706,
        "share of rounds that shrink": 0.009,
        "gap p50 s": 18, "think p50 s": 10, "think p75 s": 33, "think p95 s": 449,
        "requests per session p50": 45, "requests per session p90": 155,
        "requests per session mean": 69.5, "session p50 s": 3_600,
        "first input p25": 18_000, "first input p75": 105_000, "tools and system p50": 15_000,
    }  # fmt: skip
    return {key: Target(value, "WEKA, 710 traces") for key, value in values.items()}


def document_targets() -> dict[str, Target]:
    """Return the statistics of the Mooncake synthetic trace: 3,993 requests, 512-token blocks."""
    values = {
        "duration s": 1_022, "requests per s": 3.91, "inter-arrival CV": 1.01,
        "dispersion 1 s": 1.1, "dispersion 10 s": 1.2, "dispersion 60 s": 1.2,
        "input mean": 15_325, "input p5": 22, "input p25": 277, "input p50": 11_587,
        "input p75": 23_175, "input p95": 48_835, "input p99": 66_456,
        "output mean": 149, "output p5": 2, "output p50": 69, "output p95": 519,
        "output p99": 768, "Spearman(input, output)": -0.52,
        "Spearman(response, response before)": 0.45,
        "blocks": 121_877, "unique blocks": 43_924,
        "ideal block hit rate": 0.6396, "ideal token hit rate": 0.6512,
        "ideal full-block hit rate": 0.6594, "mean request block hit rate": 0.4232,
        "mean request token hit rate": 0.4315, "mean request full-block hit rate": 0.6030,
        "share of requests that hit": 0.4463,
        "request hit rate p50": 0.0, "request hit rate p75": 0.97, "request hit rate p90": 0.99,
        "reuse distance p10": 708, "reuse distance p50": 6_265, "reuse distance p90": 20_392,
        "reuse distance p99": 33_941,
        "reuse time p10 s": 4.8, "reuse time p25 s": 18, "reuse time p50 s": 59,
        "reuse time p75 s": 158, "reuse time p90 s": 282, "reuse time p99 s": 583,
        "blocks used once": 0.584, "hits of top 0.1% blocks": 0.013, "hits of top 1% blocks": 0.101,
        "hits of top 10% blocks": 0.496, "Zipf slope": -0.51, "most used block": 24,
        "first-block groups": 2_211, "groups of one": 1_803, "document groups": 394,
        "questions mean": 5.5, "questions p50": 5, "questions p90": 9, "questions p99": 20,
        "shared blocks p50": 38, "shared blocks p90": 84, "tail p50": 377, "question gap p50 s": 55,
        "requests below 512 tokens": 1_107,
        "LRU block hit rate at 1k": 0.0825, "LRU block hit rate at 10k": 0.4235,
        "LRU block hit rate at 30k": 0.6242, "LRU block hit rate at 50k": 0.6396,
        "token hit rate, blocks of 512": 0.650, "token hit rate, blocks of 1024": 0.642,
        "token hit rate, blocks of 2048": 0.629, "token hit rate, blocks of 4096": 0.597,
        "token hit rate, blocks of 8192": 0.541,
        "block hit rate, 2 replicas": 0.516, "block hit rate, 4 replicas": 0.366,
        "block hit rate, 8 replicas": 0.230, "block hit rate, 16 replicas": 0.132,
    }  # fmt: skip
    # 17 windows of a minute tell their dispersion only to a third, 102 of 10 s to a seventh.
    too_few = ("dispersion 10 s", "dispersion 60 s")
    return {
        key: Target(value, "Mooncake synthetic", None if key in too_few else 0.10)
        for key, value in values.items()
    }
