"""`replay compare A B --html FILE`: the page of a comparison, written whole or not at all."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def write_page(
    runs: Sequence[Path], output: Path, *, static: bool = False, force: bool = False
) -> None:
    """Write the page of a comparison to a file, and say where it is.

    Raises InputError where a run cannot be read, where there is nothing to compare or where pages
    need more than is installed, and what `claim` raises.
    """
    from replay.cli.output import note
    from replay.cli.progress import progress
    from replay.cli.targets import claim, swept
    from replay.report.bundle import check_extra
    from replay.report.isolation import half_of_machine, supervise, unbind
    from replay.runs.open import open_run
    from replay.writing.whole import whole_file

    claim(output, force=force, inputs=runs)
    check_extra()
    opened = [open_run(run) for run in runs]
    memory = half_of_machine()
    with swept(output):
        supervise(memory)

    with progress("Comparing the runs") as bar:
        from replay.report.compare.compare import asked_runs, comparison
        from replay.report.compare.page.build import compose, page_text

        with asked_runs(opened, memory_bytes=memory) as asked:
            page = compose(asked, comparison(asked))
        unbind()
        bar.hook("Drawing", 0, 0)
        text = page_text(page, command=_command(runs, output, static=static), static=static)
        with whole_file(output, force=force) as sink:
            sink.write(text.encode("utf-8", "backslashreplace"))
    note(f"Page written to {output}")


def _command(runs: Sequence[Path], output: Path, *, static: bool) -> str:
    words = ["replay", "compare", *map(str, runs), "--html", str(output)]
    return shlex.join([*words, "--static"] if static else words)
