"""What all tests share: how many examples are drawn, and the state of the process they start in.

REPLAY_TEST_PROFILE chooses how many examples a property test draws of those it asks for: `quick`
a tenth of them, `default` all, `nightly` ten times as many. No example has a deadline and none is
too slow to draw: nothing here may depend on the clock, or on what else the machine does.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.shared_data import pytest_runtest_makereport  # noqa: F401 - a hook of pytest

EXAMPLES = {"quick": 0.1, "default": 1.0, "nightly": 10.0}
FEWEST = 5

settings.register_profile("replay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("replay")


def profile() -> str:
    """Return the name of the profile asked for; a usage error for one that is not known."""
    name = os.environ.get("REPLAY_TEST_PROFILE") or "default"
    if name not in EXAMPLES:
        known = ", ".join(EXAMPLES)
        raise pytest.UsageError(f"REPLAY_TEST_PROFILE must be one of {known} (got {name!r})")
    return name


def with_share(asked: settings, share: float) -> settings:
    """Return settings with a share of the examples, at least FEWEST of those asked for."""
    fewest = min(asked.max_examples, FEWEST)
    return settings(asked, max_examples=max(round(share * asked.max_examples), fewest))


def pytest_configure() -> None:
    """Check the profile; hear Ctrl-C where the shell that started us in the background does not.

    Tests press Ctrl-C themselves, and a process inherits that it is ignored.
    """
    profile()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each property test, once for all its parameters, the profile's share of examples."""
    share, done = EXAMPLES[profile()], set()
    for item in items:
        test = getattr(item, "obj", None)
        test = getattr(test, "__func__", test)
        asked = getattr(test, "_hypothesis_internal_use_settings", None)
        if asked is not None and share != 1 and id(test) not in done:
            done.add(id(test))
            test._hypothesis_internal_use_settings = with_share(asked, share)


def pytest_collection_finish() -> None:
    """Leave what was imported to no collection of the garbage collector's."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Switch the garbage collector on again: a command switches it off, for it ends soon."""
    yield
    gc.enable()
