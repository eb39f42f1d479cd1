"""What a scenario names, looked up before its trace is read: GPUs, model, engine, step times.

A name that does not exist, a model that does not fit and a table that cannot be read are told at
once, and not after the minutes that a long trace takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from replay.config.scenario import Scenario
from replay.engine.named_engine import engine_notes, with_engine
from replay.engine.sizing import Hardware, needed_hardware

if TYPE_CHECKING:
    from replay.engine.costing import Costing


@dataclass(frozen=True, slots=True)
class Machine:
    """A scenario with the named engine's own values in it, and what it takes to run it.

    `hardware` is None where nothing about a GPU is needed, `costing` where no time passes. `notes`
    say what of the engine was taken for granted.
    """

    scenario: Scenario
    hardware: Hardware | None
    costing: Costing | None
    notes: tuple[str, ...]


def find_machine(scenario: Scenario) -> Machine:
    """Return what a scenario names.

    Raises UnknownNameError, DoesNotFitError, InputError where something given does not go with the
    engine named, and what making step times raises.
    """
    whole = with_engine(scenario)
    hardware = needed_hardware(whole)
    if whole.engine.mode != "timed":
        return Machine(whole, hardware, None, ())
    from replay.engine.costing import make_costing

    return Machine(whole, hardware, make_costing(whole, hardware), tuple(engine_notes(scenario)))
