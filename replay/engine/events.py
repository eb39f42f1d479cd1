"""The one word per request that the look-up of its prompt came to.

The names are those of the simulator this tool grew out of, so that its users find them again; what
they count is what was reused here, by content.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from replay.engine.outcome import Outcome
from replay.kernels import layout

CONVERSATIONAL_HIT = "CONVERSATIONAL_HIT"
CROSS_REQUEST_HIT = "CROSS_REQUEST_HIT"
FULL_HIT = "FULL_HIT_NO_PREFILL_NEEDED"
MISS = "MISS_FULL"
UNEXPECTED = "CONVERSATIONAL_MISS_UNEXPECTED_PROMPT"


_ALL = slice(None)


def prefix_cache_events(
    outcome: np.ndarray | Outcome, input_tokens: np.ndarray, rows: slice = _ALL
) -> pl.Series:
    """Return the event of every completed request of some, String[*]; null for the others.

    `input_tokens` are theirs. A full hit reuses all but the one token that is always computed.
    Other hits are named after whoever put more of them there, the same session (conversational)
    or others. A miss is unexpected where the session's own cache held something and the prompt has
    nothing of it, which only a session store can tell, of requests that look.
    """
    hit, own = outcome[rows, layout.HIT], outcome[rows, layout.SESSION_HIT]
    kept = outcome[rows, layout.SESSION_KEPT]
    events = np.select(
        [
            outcome[rows, layout.STATUS] != layout.COMPLETED,
            (hit > 0) & (hit == input_tokens - 1),
            (hit > 0) & (2 * own >= hit),
            hit > 0,
            (kept > 0) & (outcome[rows, layout.DISABLED] == 0),
        ],
        ["", FULL_HIT, CONVERSATIONAL_HIT, CROSS_REQUEST_HIT, UNEXPECTED],
        MISS,
    )
    return pl.Series(events.astype(object), dtype=pl.String).replace("", None)
