"""What a page costs: its size, CPU seconds and peak memory, from a short run to a long one.

    python benchmarks/page.py [--trace TRACE] [--requests 1000000] [--runs 3] [-o RESULTS.json]

Runs the sample that ships, a trace (by default Mooncake's conversations, where they are) and as
many copies of it end to end as reach `--requests`, each timed, and makes the page of each run in a
process of its own, drawn by its reader and `--static`. The bars are those of docs/page.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.run import CONVERSATION, SAMPLE, copies, measured  # noqa: E402

REPLAY = [sys.executable, "-m", "replay"]
BARS = {"sample": (2.5, 3.0), "trace": (3.0, 4.0), "copies": (4.0, 20.0)}  # MB, CPU s


def page(run: Path, file: Path, runs: int, *, static: bool = False) -> dict[str, float]:
    """Return what making a page of a run takes, and its size."""
    words = ["report", str(run), "--html", str(file), "--force", *(["--static"] if static else [])]
    figures = measured([*REPLAY, *words], runs)
    return {**figures, "size_mb": file.stat().st_size / 1e6}


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path, default=CONVERSATION)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        traces = {"sample": SAMPLE}
        if options.trace.exists():
            lines = options.trace.read_bytes().count(b"\n")
            traces["trace"] = options.trace
            traces["copies"] = copies(options.trace, folder, -(-options.requests // lines))
        for name, trace in traces.items():
            words = ["run", str(trace), "--gpu", "h100-sxm", "--model", "llama-3.1-8b"]
            run = folder / name
            subprocess.run([*REPLAY, *words, "-o", str(run)], check=True, capture_output=True)
            requests = json.loads((run / "manifest.json").read_text())["tables"]["requests"]
            for static in (False, True):
                found = page(run, folder / "page.html", options.runs, static=static)
                job = f"{name}, {requests:,} requests{', --static' if static else ''}"
                rows.append({"job": job, "requests": requests, "static": static, **found})
                mb, seconds = BARS[name]
                print(
                    f"{job:38}{found['size_mb']:7.2f} MB{found['cpu_s']:7.2f} CPU s"
                    f"{found['peak_mb']:7.0f} MB peak  (bars {mb:g} MB, {seconds:g} s)",
                    flush=True,
                )
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
