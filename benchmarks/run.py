"""What replay costs: CPU seconds of whole processes, beside peers' figures and its own twins.

    python benchmarks/run.py [--trace TRACE] [--runs 5] [--peer COMMAND] [-o RESULTS.json]

Each command runs once to warm the kernel cache, then `--runs` times; the median of user plus
system time and the largest resident set are printed. Peers' figures are those of the sources
named in benchmarks/README.md, on the same trace; absolute times of different machines compare
only roughly, so the ratio to replay's own slow twin is printed too. Where kvcache-simulator is
installed (`pip install kvcache-simulator==0.1.3`, in an environment of its own), it and `replay
curve` take turns on the same trace and the ratio is taken pair by pair; `--peer` says where its
command is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONVERSATION = ROOT.parent / "shared" / "traces" / "mooncake" / "conversation_trace.jsonl"
SAMPLE = ROOT / "traces" / "chat-small.jsonl"
COPIES = 10


# Started by a small process, because a child's peak memory counts from that of its parent.
LAUNCHER = """
import os, sys
silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
_, status, usage = os.wait4(child, 0)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_once(command: list[str]) -> tuple[float, float]:
    """Return CPU seconds and peak RSS in MB of a command."""
    launch = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}")
    cpu_s, peak_mb = map(float, done.stdout.split())
    return cpu_s, peak_mb


def measured(command: list[str], runs: int) -> dict[str, float]:
    """Return median CPU seconds and the largest peak RSS in MB of a command run several times."""
    figures = [run_once(command) for _ in range(runs + 1)][1:]
    cpu, peak = zip(*figures, strict=True)
    return {"cpu_s": statistics.median(cpu), "peak_mb": max(peak)}


def against_peer(replay: str, peer: str, trace: Path, runs: int) -> dict[str, float]:
    """Return median CPU seconds of `replay curve` and of kvcache-simulator, and of their ratio."""
    own = [replay, "curve", str(trace)]
    other = [
        peer, "run", "--trace", str(trace), "--model", "llama-3.1-70b", "--block-size", "512",
        "--policies", "lru", "--no-progress",
    ]  # fmt: skip
    pairs = [(run_once(own)[0], run_once(other)[0]) for _ in range(runs + 1)][1:]
    return {
        "curve_cpu_s": statistics.median(ours for ours, _ in pairs),
        "kvcache_simulator_cpu_s": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(ours / theirs for ours, theirs in pairs),
    }


def copies(trace: Path, folder: Path, count: int = COPIES) -> Path:
    """Write the trace several times end to end, with ids of its own for each copy."""
    rows = [json.loads(line) for line in trace.read_text().splitlines()]
    span = rows[-1]["timestamp"] + 1000
    ids = 1 + max(max(row["hash_ids"]) for row in rows)
    target = folder / "copies.jsonl"
    with target.open("w") as file:
        for copy in range(count):
            for row in rows:
                shifted = {
                    **row,
                    "timestamp": row["timestamp"] + copy * span,
                    "hash_ids": [one + copy * ids for one in row["hash_ids"]],
                }
                file.write(json.dumps(shifted) + "\n")
    return target


def kernel_rates(trace: Path) -> dict[str, float]:
    """Return CPU seconds of the kernels alone, best of five, and of their naive twins."""
    from replay.config.scenario import Scenario
    from replay.engine.plan import make_plan
    from replay.engine.run import prepare
    from replay.engine.simulate import simulate_timed, simulate_untimed
    from replay.trace.readers import load_trace
    from tests.naive import pool as naive

    prepared = prepare(trace, Scenario())
    blocks = prepared.sizing.capacity_blocks
    plan = make_plan(
        prepared.trace, prepared.tree, Scenario(), block_size=512, capacity_blocks=blocks
    )

    def best(function) -> float:
        times = []
        for _ in range(6):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times[1:])

    prompts = load_trace(trace).frame["block_ids"].to_list()
    start = time.process_time()
    naive.dictionary_lru(prompts, blocks)
    return {
        "requests": plan.requests,
        "untimed_kernel_s": best(lambda: simulate_untimed(plan)),
        "timed_kernel_s": best(lambda: simulate_timed(plan, prepared.cost)),
        "dictionary_lru_s": time.process_time() - start,
    }


def step_query_ns(steps: int = 200_000) -> dict[str, float]:
    """Return CPU nanoseconds a step of a vectorised query: mixed steps, and decodes alone."""
    import numpy as np

    from replay.gpu.cost import step_cost, time_steps, uniform_steps
    from replay.gpu.spec import load_gpu, load_model

    cost = step_cost(
        load_gpu("h100-sxm"),
        load_model("llama-3.1-8b"),
        tensor_parallel=1,
        max_batched_tokens=8192,
        max_sequences=256,
    )
    draw = np.random.default_rng(0)
    decodes, context = draw.integers(1, 256, steps), draw.integers(1, 30_000, steps)
    mixed = uniform_steps(draw.integers(1, 7_000, steps), context, decodes, context)
    found = {}
    for name, asked in (("mixed", mixed), ("decode", uniform_steps(0, 0, decodes, context))):
        times = []
        for _ in range(6):
            start = time.process_time()
            time_steps(cost, asked)
            times.append(time.process_time() - start)
        found[name] = min(times[1:]) / steps * 1e9
    return found


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = CONVERSATION if CONVERSATION.exists() else SAMPLE
    parser.add_argument("--trace", type=Path, default=default)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", default=shutil.which("kvcache-simulator"), metavar="COMMAND")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    replay = str(Path(sys.executable).parent / "replay")
    sys.path.insert(0, str(ROOT))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        many = copies(options.trace, folder)
        out = ["-o", str(folder / "run"), "--force"]
        jobs = [
            ("replay --help", ["--help"], "0.10", "-"),
            ("describe", ["describe", str(options.trace)], "-", "aiperf analyze-trace 3.3"),
            (
                "curve, every capacity",
                ["curve", str(options.trace)],
                "1.1",
                "kvcache-simulator 1.1 (14 capacities)",
            ),
            (
                f"curve, {COPIES} copies",
                ["curve", str(many)],
                "4",
                "kvcache-simulator 12.3, 352 MB",
            ),
            (
                "run --untimed, 20,000 blocks",
                ["run", str(options.trace), "--untimed", "--capacity", "20000blocks", *out],
                "1.2",
                "kvcache-simulator 1.1 (14 capacities)",
            ),
            (
                "run, timed pair, 1 GPU",
                ["run", str(options.trace), *out],
                "1.5",
                "dynamo.replay 2.8-3.1",
            ),
            (
                f"run --untimed, {COPIES} copies",
                ["run", str(many), "--untimed", "--capacity", "20000blocks", *out],
                "4",
                "kvcache-simulator 12.3, 352 MB",
            ),
            (
                f"run, timed pair, {COPIES} copies",
                ["run", str(many), *out],
                "4",
                "dynamo.replay 17.7, 5,864 MB",
            ),
        ]
        for name, arguments, goal, peer in jobs:
            figures = measured([replay, *arguments], options.runs)
            rows.append({"job": name, **figures, "goal_cpu_s": goal, "peer_cpu_s": peer})
        paired = {}
        if options.peer:
            for name, trace, runs in (("one copy", options.trace, options.runs), ("ten", many, 2)):
                paired[name] = against_peer(replay, options.peer, trace, runs)
    print(f"{'job':34}{'CPU s':>8}{'peak MB':>9}{'goal':>7}  peer, same trace")
    for row in rows:
        line = f"{row['job']:34}{row['cpu_s']:8.2f}{row['peak_mb']:9.0f}{row['goal_cpu_s']:>7}"
        print(f"{line}  {row['peer_cpu_s']}")
    for name, figures in paired.items():
        line = f"curve {figures['curve_cpu_s']:.2f}, kvcache-simulator"
        line += f" {figures['kvcache_simulator_cpu_s']:.2f} CPU s"
        print(f"paired, {name:9} {figures['ratio']:.2f} x its CPU time: {line}")
    rates = kernel_rates(
        options.trace
    )  # last: Polars leaves settings for children in the environment
    requests = rates["requests"]
    untimed, timed = rates["untimed_kernel_s"], rates["timed_kernel_s"]
    ratio = rates["dictionary_lru_s"] / untimed
    print(f"\nuntimed kernel  {requests / untimed:12,.0f} requests/s")
    print(f"{'':16}{ratio:12,.0f} x the dictionary LRU")
    print(f"timed kernel    {requests / timed:12,.0f} requests/s (goal 300,000)")
    query = step_query_ns()
    print(f"step query      {query['mixed']:12.0f} ns a mixed step, vectorised (goal 500)")
    print(f"{'':16}{query['decode']:12.0f} ns a decode step")
    rates |= {f"step_query_{name}_ns": ns for name, ns in query.items()}
    if options.output:
        results = {"commands": rows, "paired": paired, "kernels": rates}
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
