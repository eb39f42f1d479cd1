"""How long work tells that it goes on, and how it is stopped: a plain hook, no display.

A kernel that may take seconds has an int64 array `counter`: it writes how much is done to
`counter[0]` now and then, and returns early once `counter[1]` is no longer zero.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from replay.errors import Interrupted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Result = TypeVar("Result")

Hook = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0: nobody knows)."""

POLL_S = 0.1


def ignore(title: str, done: int, total: int) -> None:
    """Show nothing: the hook of whoever asked for no progress."""


def watch(
    function: Callable[[], Result],
    counter: NDArray[np.int64],
    *,
    total: int,
    title: str,
    hook: Hook = ignore,
) -> Result:
    """Return what `function` returns, telling the hook how far it is while it runs.

    The function runs in a thread of its own and should release the GIL, so that Ctrl-C is seen at
    once: it sets `counter[1]`, waits for the function to stop, and raises Interrupted. What the
    function raises is raised here.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  (raised again below, in the caller's thread)
            failure.append(error)

    # A daemon, so that a second Ctrl-C leaves even when the function does not look at its counter.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        running = True
        while running:
            thread.join(POLL_S)
            running = thread.is_alive()
            hook(title, int(counter[0]), total)
    except KeyboardInterrupt as error:
        counter[1] = 1
        thread.join()
        raise Interrupted("interrupted") from error
    if failure:
        raise failure[0]
    return outcome[0]
