"""What SGLang's scheduler keeps besides the pool, and the columns of its integer tables.

`waiting` is the queue in its order; `running` who decodes, in the order that sums, retraction and
results go by; `unfinished` the one prompt that is partly computed, in neither of them. A batch is
prompts, decodes or both: its prompts are `parts`, its decodes all that run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.kernels.cost import CostTables
from replay.kernels.layout import (
    COMPUTED,
    FIRST_RUNNING,
    JOINED,
    LAST_RUNNING,
    NEXT_DECODING,
    NEXT_RUNNING,
    NOW_FIELDS,
    PREVIOUS_DECODING,
    PREVIOUS_RUNNING,
)

# now int64[SGLANG_NOW]: where the engine is, after the columns of every engine. RUNNING counts
# who holds a row, DECODING_COUNT who is in `running`, DECODE_STEP the decodes that have ended
QUEUE_FIRST = NOW_FIELDS  # the waiting are queue[QUEUE_FIRST:QUEUE_STOP]
QUEUE_STOP = NOW_FIELDS + 1
UNFINISHED_PROMPT = NOW_FIELDS + 2
FULL = NOW_FIELDS + 3  # 1 while nobody is looked at
LAST = NOW_FIELDS + 4  # the batch planned before, NONE for none
FIRST_DECODING = NOW_FIELDS + 5  # ends of `running`
LAST_DECODING = NOW_FIELDS + 6
ENDED = NOW_FIELDS + 7  # of `running`, who ended since it was tidied up
LAUNCHED = NOW_FIELDS + 8  # decodes launched; those that have ended are DECODE_STEP
LAST_RANK = NOW_FIELDS + 9  # places in `running`: the greatest and the least given
FIRST_RANK = NOW_FIELDS + 10
JOINS = NOW_FIELDS + 11  # how often somebody joined the queue
ORDERINGS = NOW_FIELDS + 12  # orderings that went by no match, of a queue that was not empty
PASS = NOW_FIELDS + 13
WAIT_PASSES = NOW_FIELDS + 14  # passes to go without prompts
PROMPT_CLOCK = NOW_FIELDS + 15  # prompt tokens so far, as SGLang counts them
GROWN_FROM = NOW_FIELDS + 16  # those of the batch that `running` grew out of
STUCK = NOW_FIELDS + 17  # passes in a row that came to nothing though somebody waits
BUSY_UNTIL_NS = NOW_FIELDS + 18  # when the step launched last ends
EVICTED_BEFORE = NOW_FIELDS + 19  # pages evicted before this pass
PASS_ADMITTED = NOW_FIELDS + 20
CHUNK = NOW_FIELDS + 21  # what is left of a prefill batch's budgets, in tokens
INPUT = NOW_FIELDS + 22
CURRENT = NOW_FIELDS + 23  # what it takes at once
STATES = NOW_FIELDS + 24  # rows of `states` in use, NONE before there are any
CHOSEN = NOW_FIELDS + 25  # requests preempted in this pass
GREW = NOW_FIELDS + 26  # 1 where the unfinished prompt has computed what is not in the tree yet
SGLANG_NOW = NOW_FIELDS + 27

# while a request waits, two columns of its state mean something else
MATCHED = COMPUTED  # tokens of it that the order found
QUEUED_CLOCK = JOINED  # PROMPT_CLOCK when it joined the queue

# ratios float64[RATIOS]
RATIO = 0  # share of its remaining tokens that a running request counts with
RATIO_FIRST = 1
RATIO_LEAST = 2
DECAY = 3  # of the ratio, each decode
TOTAL = 4  # what a prefill batch and all that runs take in the end, in tokens
RATIOS = 5

# batches int64[2, BATCH_FIELDS]: the one that is planned, and the one before
PARTS = 0
DECODES = 1
NUMBER = 2  # which decode that is, counted from 1
END_NS = 3
CUT = 4  # whose prompt it leaves unfinished, NONE for nobody's
EXTENDED = 5  # tokens it counts with in PROMPT_CLOCK
BATCH_FIELDS = 6

# parts int64[2, max_sequences, PART_FIELDS]: the prompts of a batch, in order
WHO = 0
START = 1  # tokens of it that were there
TOKENS = 2
WHOLE = 3  # 1 where a token is sampled
LIFE = 4  # how often it had been preempted
PART_FIELDS = 5

# states int64[max_sequences + 1, 2]: who ends when, the earliest first; without a cache only
TOKENS_LEFT = 0
OCCUPIED = 1

# the columns of links.py
ROWS = (NEXT_RUNNING, PREVIOUS_RUNNING, FIRST_RUNNING, LAST_RUNNING)
DECODING_LIST = (NEXT_DECODING, PREVIOUS_DECODING, FIRST_DECODING, LAST_DECODING)
OUT = -2  # in PREVIOUS_DECODING: not in `running`

CLIP = 4096  # output tokens that a request counts with at most
REFRESH_EVERY = 32
REFRESHED = 128
MOST_MATCHED = 128  # waiting requests beyond which an order by match is given up
SHORT = 32  # tokens that a late request shares with an earlier one
RETRACT_TOKENS = 20
RATIO_AT_START = 0.7
RATIO_AT_LEAST = 0.14
DECAY_STEPS = 600
SPARE_TOKENS = 6  # a prompt leaves at least so many of the pool
ANY = 2**60
MOVE_FROM = 1024  # places at the start of the queue that are worth having again


class SglangEngine(NamedTuple):
    """What the engine keeps besides the pool, and what a step costs."""

    now: np.ndarray
    ratios: np.ndarray
    queue: np.ndarray  # int64[*], see QUEUE_FIRST; room for twice the requests
    batches: np.ndarray
    parts: np.ndarray
    finishing: np.ndarray  # heap int64[max_sequences, 3], see heap.py
    new: np.ndarray  # int64[max_sequences], decodes that joined since the last one ended
    phases: np.ndarray  # int64[block_size], who opens a page, by decode modulo page size
    peaks: np.ndarray  # int64[*, 2], as in the Engine of layout/tables.py
    bins: np.ndarray
    cost: CostTables
    chunk_sums: np.ndarray
    steps: np.ndarray  # int64[*, STEP_FIELDS], no rows where none are kept
    keys: np.ndarray  # float64[2, *], what is sorted by; room for what it is merged into
    ties: np.ndarray  # int64[2, *]
    sorted: np.ndarray  # int64[2, *], requests
    stamps: np.ndarray  # int64[E], the pass that saw a waiting prompt start with it, or no rows
    states: np.ndarray
    chosen: np.ndarray  # int64[max_sequences]
