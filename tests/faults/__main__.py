"""`python -m tests.faults`: every trial of every kind, and a line a kind."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.faults import bombs, damage, disks, escapes, kills, pipes, streams
from tests.faults.trial import Trial, command, environment

MODULES = (kills, disks, streams, damage, pipes, escapes, bombs)


def main() -> int:
    """Run the trials chosen; 1 where any went wrong."""
    trials = [trial for module in MODULES for trial in module.trials()]
    kinds = list(dict.fromkeys(trial.kind for trial in trials))
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"which of {', '.join(kinds)}; default: all")
    parser.add_argument("--seed", type=int, default=1, help="decides what is left to chance")
    parser.add_argument("--only", default="", help="trials whose name has this")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(kinds):
        parser.error(f"no such kind: {', '.join(unknown)}")
    wanted = options.kinds or kinds
    chosen = [one for one in trials if one.kind in wanted and options.only in one.name]
    # Compiled kernels first: no trial is slow for want of them.
    subprocess.run(command("doctor", "--warm"), check=True, capture_output=True, env=environment())
    wrong = [trial for trial in chosen if not _is_right(trial, options.seed)]
    counts = Counter(trial.kind for trial in chosen)
    failed = Counter(trial.kind for trial in wrong)
    for kind, count in counts.items():
        print(f"{kind:10} {count - failed[kind]:4} of {count} right")
    return 1 if wrong else 0


def _is_right(trial: Trial, seed: int) -> bool:
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="replay-fault-"))
    try:
        wrong = trial.attempt(folder, Random(f"{seed} {trial.kind} {trial.name}"))
    except (OSError, ValueError) as error:
        wrong = f"the trial itself failed: {error!r}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - started
    if wrong:
        print(f"WRONG {trial.kind}: {trial.name}: {wrong} ({took:.0f} s)", flush=True)
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
