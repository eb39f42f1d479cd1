"""Ctrl-C while a kernel runs is an interrupt when it is done, never a crash."""

import subprocess
import sys

SCRIPT = """
import os, signal, threading
import numpy as np
from replay.kernels.tree.factorize import codes_of_any_ids

ids = np.arange(4_000_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
codes_of_any_ids(ids[:4].copy(), 1024)  # compiled, or loaded
for _ in range(5):
    press = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        press.start()
        codes, distinct = codes_of_any_ids(ids, 1024)
        press.join()
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        press.join()
        print("interrupted")
assert codes_of_any_ids(ids[:9].copy(), 1024)[1] == 9
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def test_an_interrupt_waits_for_the_kernel_and_then_comes():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["interrupted"] * 5
