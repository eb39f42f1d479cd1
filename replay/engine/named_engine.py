"""What a serving engine does unless told otherwise, laid under a scenario that names one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replay.config.backends import TAKES_NUMBERS
from replay.config.defaults import is_given, with_defaults, word_of
from replay.config.scenario import Scenario

if TYPE_CHECKING:
    from replay.gpu.spec import Engine

# Hardware is imported where an engine is named: a question to the cache alone names none.

UNNAMED = (
    "no engine is named: TTFT is queueing and GPU time, and what a server adds before the first "
    "token (receiving, tokenising, answering) is not counted; --engine vllm counts it"
)

_OF_A_REQUEST = ("request_ns", "prompt_token_ns", "answer_ns")
_OF_A_STEP = ("launch_ns", "launch_request_ns", "launch_layer_ns", "eager_layer_ns", "after_ns")


def with_engine(scenario: Scenario) -> Scenario:
    """Return the scenario with the named engine's own values where none were given.

    Its scheduler's are those on the GPU named. Raises UnknownNameError for an engine or a GPU, and
    InputError where something given does not go with the engine.
    """
    if scenario.engine.name is None:
        return scenario
    from replay.gpu.spec import load_engine

    engine = load_engine(scenario.engine.name)
    return with_defaults(scenario, _defaults(scenario, engine), whose=f"engine {engine.name}")


def _defaults(scenario: Scenario, engine: Engine) -> dict[str, object]:
    from replay.gpu.spec import load_gpu

    size = engine.scheduler_on(load_gpu(scenario.gpu.name))
    rules = scenario.engine.scheduler if is_given(scenario, "engine.scheduler") else engine.rules
    mixed = {"engine.mixed_steps": engine.mixed_steps} if rules == engine.rules else {}
    return {
        "engine.scheduler": engine.rules,
        "engine.async_scheduling": engine.async_scheduling,
        "engine.max_batched_tokens": size.max_batched_tokens,
        "engine.max_sequences": size.max_sequences,
        "engine.chunked_prefill": engine.chunked_prefill,
        **mixed,
        "gpu.memory_utilization": engine.memory_utilization,
        "gpu.memory_share_of": engine.memory_share_of,
        "cache.enabled": engine.prefix_caching,
        "cache.kind": engine.cache_kind,
    }


def rules_of(name: str) -> str:
    """Return the scheduler by whose rules a named engine is replayed; raises as `with_engine`."""
    from replay.gpu.spec import load_engine

    return load_engine(name).rules


def default_block_size(scenario: Scenario) -> int | None:
    """Return the block size of the engine named, for traces without one; None where none is."""
    if scenario.engine.name is None:
        return None
    from replay.gpu.spec import load_engine

    return load_engine(scenario.engine.name).block_size


def engine_notes(scenario: Scenario) -> list[str]:
    """Return what a reader of a timed run should know of the engine, given or taken for granted.

    `scenario` is as it was given, before `with_engine`.
    """
    if scenario.engine.name is None:
        return [UNNAMED]
    from replay.gpu.spec import load_engine

    engine = load_engine(scenario.engine.name)
    defaults = _defaults(scenario, engine)
    taken = [
        f"{path} {word_of(value)}"
        for path, value in defaults.items()
        if not is_given(scenario, path)
    ]
    return [
        f"of {engine.name} {engine.version}: {', '.join(taken) or 'nothing'}",
        *server_notes(scenario, engine),
    ]


def server_notes(scenario: Scenario, engine: Engine) -> list[str]:
    """Return what a named engine adds to the time of its GPUs, and which of it is an estimate."""
    from replay.engine.overhead import server_times

    if scenario.engine.overhead == "none":
        return [f"nothing of what {engine.name} takes outside the GPU is counted"]
    times = server_times(scenario)
    given = scenario.gpu.backend == TAKES_NUMBERS
    used = _OF_A_REQUEST if given else (*_OF_A_REQUEST, *_OF_A_STEP)
    of_request = (
        f"{times.request_ns / 1e6:g} ms and {times.prompt_token_ns / 1e3:g} us a prompt token, and "
        f"{times.answer_ns / 1e3:g} us for each answer that goes out with its first token"
    )
    graphed = engine.graphed_tokens(with_engine(scenario).engine.max_sequences)
    doubtful = [name for name in used if name in engine.unverified]
    doubt = f" (estimates: {', '.join(doubtful)})" if doubtful else ""
    if given:
        return [f"{engine.name} adds to a request {of_request}; steps are as given{doubt}"]
    beyond = f"with prompts and more than {graphed:,} tokens" if graphed else "with prompts"
    of_step = (
        f"{times.after_ns / 1e6:g} ms, and it lasts no less than its launch on the CPU: "
        f"{times.launch_ns / 1e6:g} ms, {times.launch_request_ns / 1e3:g} us a request, with a "
        f"prompt {times.launch_layer_ns / 1e3:g} us a layer, and {times.eager_layer_ns / 1e3:g} us "
        f"more a layer in every step {beyond}, launched without CUDA graphs"
    )
    return [f"{engine.name} adds to a request {of_request}; to a step {of_step}{doubt}"]
