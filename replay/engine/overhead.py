"""What a server adds to the time of its GPUs: by request, beside the clock, and by step, in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.config.hardware.server import ServerTimes
from replay.config.scenario import Scenario
from replay.gpu.spec import load_engine, load_model

NOTHING = ServerTimes()


@dataclass(frozen=True, slots=True)
class EngineOverhead:
    """What a request takes outside the GPU until its first token is out, in ns.

    It takes `request_ns`, `prompt_token_ns` for each prompt token, and `answer_ns` for each request
    that gets a token when it gets its first: answers go out one after another, the newest last. It
    comes on top of the clock of the engine, which goes on with other requests meanwhile.
    """

    request_ns: float = 0.0
    prompt_token_ns: float = 0.0
    answer_ns: float = 0.0

    def of(self, input_tokens: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return the overhead of requests, int64 in ns, by prompt tokens and `answers_beside`."""
        own = self.request_ns + self.prompt_token_ns * input_tokens
        return np.rint(own + self.answer_ns * answers).astype(np.int64)


def server_times(scenario: Scenario) -> ServerTimes:
    """Return what the engine that a scenario names adds, nothing where it names none.

    Raises UnknownNameError for an engine and a model.
    """
    engine = scenario.engine
    if engine.name is None or engine.overhead == "none":
        return NOTHING
    kind = load_model(scenario.model.name).kind
    which = engine.overhead or "typical"
    return load_engine(engine.name).times(kind, scenario.gpu.tensor_parallel, which)


def server_range(scenario: Scenario) -> tuple[ServerTimes, ServerTimes]:
    """Return the least and the most that the engine named was seen to add, nothing for none.

    Raises what `server_times` does.
    """
    engine = scenario.engine
    if engine.name is None or engine.overhead == "none":
        return NOTHING, NOTHING
    kind, named = load_model(scenario.model.name).kind, load_engine(engine.name)
    gpus = scenario.gpu.tensor_parallel
    return named.times(kind, gpus, "low"), named.times(kind, gpus, "high")


def request_ends(
    times: ServerTimes,
    ends: tuple[ServerTimes, ServerTimes],
    input_tokens: np.ndarray,
    answers: np.ndarray | None,
) -> dict[str, float]:
    """Return how far what requests take outside the GPU may be from what it was taken for, in ns.

    `input_tokens` int64[R] are of all requests, `answers` int64[R] as of `answers_beside`, None
    where answering takes no time. `less` and `more` are how far below and above it the ends of
    what was seen are, as mean over the requests and of the request with most of it.
    """
    beside = np.zeros(1, np.int64) if answers is None else answers
    used, low, high = (overhead_of(one).of(input_tokens, beside) for one in (times, *ends))
    found: dict[str, float] = {}
    for name, apart in (("less", used - low), ("more", high - used)):
        found[f"mean_{name}_ns"] = float(apart.mean()) if len(apart) else 0.0
        found[f"most_{name}_ns"] = float(apart.max(initial=0))
    return found


def without_steps(times: ServerTimes) -> ServerTimes:
    """Return what a server adds to requests alone: for steps that are given as they are."""
    return ServerTimes(times.request_ns, times.prompt_token_ns, times.answer_ns)


def overhead_of(times: ServerTimes) -> EngineOverhead:
    """Return of what a server adds that of requests."""
    return EngineOverhead(times.request_ns, times.prompt_token_ns, times.answer_ns)


def answers_beside(first_ns: np.ndarray, done_ns: np.ndarray) -> np.ndarray:
    """Return how many requests get a token when each gets its first, itself among them, int64[R].

    `first_ns` int64[R] is when a request had its first token and `done_ns` int64[R] its last, 0
    where it never did. Those are counted that have had their first by then and not yet their last,
    or just then, so one that was preempted and waits counts among them.
    """
    had_first = first_ns > 0
    begun, ended = np.sort(first_ns[had_first]), np.sort(done_ns[had_first & (done_ns > 0)])
    begun_by = np.searchsorted(begun, first_ns, side="right")
    ended_before = np.searchsorted(ended, first_ns, side="left")
    return np.where(had_first, begun_by - ended_before, 0)
