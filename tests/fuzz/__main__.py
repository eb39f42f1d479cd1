"""`python -m tests.fuzz`: a campaign, its findings made small and kept, and its figures."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.fuzz import samples
from tests.fuzz.case import Finding
from tests.fuzz.shrink import judged_apart, shrunk
from tests.fuzz.targets import Target, case_of, prepare, targets
from tests.fuzz.workers import Told, run_all

SHOWN_SLOWEST = 5


def main() -> int:
    """Run a campaign; 1 where anything was found."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="replay-fuzz-samples-") as folder:
        made = Path(folder)
        _in_a_child(lambda: samples.write_binary(made))
        prepare(made)
        if options.only is not None:
            return _one(options, made)
        return _campaign(options, made)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides every case")
    parser.add_argument("--count", type=int, default=20_000, help="cases, over all targets")
    parser.add_argument("--start", type=int, default=0, help="index of the first case of a target")
    parser.add_argument("--target", action="append", help="targets whose name has this; repeatable")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 16))
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where findings go")
    parser.add_argument("--only", type=int, help="judge case ONLY of the one target, and show it")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Target]:
    wanted = options.target or [""]
    found = [one for one in targets().values() if any(name in one.name for name in wanted)]
    if not found:
        sys.exit(f"no such target; known: {', '.join(targets())}")
    return found


def _campaign(options: argparse.Namespace, made: Path) -> int:
    chosen = _chosen(options)
    total = sum(target.share for target in chosen)
    counts = {one.name: max(1, round(options.count * one.share / total)) for one in chosen}
    work = [
        (name, index)
        for name, count in counts.items()
        for index in range(options.start, options.start + count)
    ]
    work.sort(key=lambda pair: (pair[1] / counts[pair[0]], pair[0]))  # all targets all the time
    # Compiled kernels first: no case is slow for want of them.
    subprocess.run(
        [sys.executable, "-m", "replay", "doctor", "--warm"], check=True, capture_output=True
    )
    started, told = time.monotonic(), []
    known: dict[tuple[str, str], list[Finding]] = {}
    for one in run_all(work, seed=options.seed, samples=made, workers=options.workers):
        told.append(one)
        if one.finding is not None:
            same = known.setdefault(one.finding.cause, [])
            same.append(one.finding)
            if len(same) == 1:
                print(
                    f"{one.finding.kind}: {one.finding.what} ({one.target} {one.index})", flush=True
                )
        if len(told) % 5_000 == 0:
            _tell(told, known, started)
    for same in known.values():
        _keep(options, same, made)
    _tell(told, known, started)
    _tell_slowest(told)
    return 1 if known else 0


def _tell(told: list[Told], known: dict[tuple[str, str], list[Finding]], started: float) -> None:
    took = time.monotonic() - started
    kinds = Counter(one.finding.kind for one in told if one.finding)
    found = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "no findings"
    causes = f" of {len(known)} causes" if known else ""
    speed = f"{len(told):,} cases in {took:.0f} s, {sum(one.cpu_s for one in told):.0f} CPU s"
    print(f"{speed}: {found}{causes}", flush=True)


def _tell_slowest(told: list[Told]) -> None:
    for one in sorted(told, key=lambda one: -one.cpu_s)[:SHOWN_SLOWEST]:
        print(f"  {one.cpu_s:.1f} CPU s: {one.target} {one.index}")


def _keep(options: argparse.Namespace, same: list[Finding], made: Path) -> None:
    """Write the smallest case of a cause, its command and what it says, to a folder of its own."""
    first = same[0]
    case = shrunk(case_of(targets()[first.target], options.seed, first.index), first, made)
    name = "".join(c if c.isalnum() else "_" for c in f"{first.kind} {first.what}")[:80]
    folder = options.keep / name
    folder.mkdir(parents=True, exist_ok=True)
    case.write(folder)
    again = (
        f"python -m tests.fuzz --seed {options.seed} --target {first.target} --only {first.index}"
    )
    lines = [case.command, "", f"{len(same)} cases; made by: {again}", "", first.detail]
    (folder / "cmd").write_text("\n".join(lines), errors="backslashreplace")
    print(f"kept: {folder}")


def _one(options: argparse.Namespace, made: Path) -> int:
    target = next(one for one in _chosen(options) if one.name in options.target)
    case = case_of(target, options.seed, options.only)
    print(case.command)
    if case.changed:
        print(f"{case.changed}: {case.files[case.changed][:4000]!r}")
    finding = judged_apart(case, made)
    print("no finding" if finding is None else f"{finding.kind}: {finding.what}\n{finding.detail}")
    return 0 if finding is None else 1


def _in_a_child(work: object) -> None:
    """Do work that imports heavy libraries elsewhere: their threads would not survive a fork."""
    assert callable(work)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(code)
    if os.waitpid(pid, 0)[1]:
        sys.exit("the samples cannot be made")


if __name__ == "__main__":
    sys.exit(main())
