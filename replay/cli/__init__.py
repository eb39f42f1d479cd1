"""The `replay` command: one module per verb, errors turned into text in one place.

Command modules import nothing heavy at module level; `replay --help` stays fast.
"""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import shlex
import signal
import sys
from typing import Any, NoReturn

import click

from replay import __version__
from replay.cli.anonymize import anonymize
from replay.cli.calibrate import calibrate
from replay.cli.check import check
from replay.cli.compare import compare
from replay.cli.convert import convert
from replay.cli.cost import cost
from replay.cli.curve import curve
from replay.cli.demo import demo
from replay.cli.describe import describe
from replay.cli.doctor import doctor
from replay.cli.explain import explain
from replay.cli.export import export
from replay.cli.fetch import fetch
from replay.cli.gain import gain
from replay.cli.generate import generate
from replay.cli.list import list_
from replay.cli.policies import policies
from replay.cli.query import query
from replay.cli.report import report
from replay.cli.run import run
from replay.cli.tree import tree
from replay.cli.verify import verify
from replay.errors import Interrupted, OutputError, ReplayError
from replay.kernels import code_cache
from replay.printable import printable_lines


class _Commands(click.Group):
    """Commands in the order they were added, and the one place where errors become text."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands]  # `list` is a module here

    def main(self, *args: Any, **extra: Any) -> Any:
        _open_closed_streams()
        try:
            return super().main(*args, **extra)
        except OSError as error:  # of what click prints itself, such as help
            click.echo(f"Error: {error.strerror}", err=True)
            _drop_unwritten_output()
            raise SystemExit(OutputError.exit_code) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except click.ClickException as error:
            # What click itself prints; it declares the message final and reads it anew.
            error.message = printable_lines(error.message)  # type: ignore[misc]
            raise
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own; it also ends quietly when whoever read the output has gone
        except SystemExit:
            raise  # of a child, which has said all there is to say
        except (KeyboardInterrupt, Interrupted):
            click.echo("Interrupted", err=True)
            ctx.exit(Interrupted.exit_code)
        # The last resort, for bugs too: Polars raises its panics past Exception.
        except BaseException as error:  # noqa: BLE001
            _fail(ctx, error)
        finally:
            _tell_kernel_troubles()
        return result


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "REPLAY"},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--no-color", is_flag=True, help="No colour and no bold; NO_COLOR does the same.")
@click.pass_context
def main(ctx: click.Context, debug: bool, no_color: bool) -> None:
    """Replay LLM request traces through prefix (KV) caches.

    Start with `replay describe TRACE`, then `replay run TRACE`, then `replay report RUN`.
    """
    # Ctrl-C while the interpreter winds up would kill a command that is done.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    # A command ends soon and leaves few cycles: collecting them is a tenth of its time, and the
    # one collection that the interpreter makes at its end, whatever it is told, a quarter.
    gc.disable()
    atexit.register(gc.freeze)
    # Polars keeps freed memory for its next allocation, a fifth of the peak of a long trace.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    if no_color:
        ctx.color = False
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that are no text; print it rather than stop.
        sys.stdout.reconfigure(errors="backslashreplace")


for _command in (
    demo, generate, fetch, check, convert, anonymize, describe, tree, curve, policies, run, gain,
    explain, cost, calibrate, report, compare, query, export, verify, list_, doctor,
):  # fmt: skip
    main.add_command(_command)


def _open_closed_streams() -> None:
    """Let a standard stream that is closed be as /dev/null.

    Else the next file that is opened would take its number, and what is printed would go there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
        if number:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _tell_kernel_troubles() -> None:
    """Say what of the kernel cache could not be used; its kernels were compiled anew."""
    troubles = code_cache.troubles
    if troubles:
        more = f", and {len(troubles) - 1:,} more" if len(troubles) > 1 else ""
        text = f"Note: kernels were compiled anew: {troubles[0]}{more}"
        click.echo(printable_lines(text), err=True)
        troubles.clear()


def _fail(ctx: click.Context, error: BaseException) -> NoReturn:
    """Print an error, what to do about it, and leave with its exit code."""
    if ctx.params["debug"]:
        import traceback

        lines = "".join(traceback.format_exception(error))
        click.echo(printable_lines(lines), err=True, nl=False)
    message, hint, exit_code = _explained(error)
    click.echo(printable_lines(f"Error: {message}"), err=True)
    if hint:
        from replay.cli.output import wrapped

        click.echo(wrapped(printable_lines(f"Hint: {hint}")), err=True)
    if isinstance(error, OSError):
        _drop_unwritten_output()
    ctx.exit(exit_code)


def _explained(error: BaseException) -> tuple[str, str | None, int]:
    """Return message, hint and exit code of an error."""
    if isinstance(error, ReplayError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        hint = "free some space or write elsewhere" if error.errno == errno.ENOSPC else None
        return f"{where}{error.strerror}", hint, OutputError.exit_code
    if isinstance(error, MemoryError):
        return "out of memory", "replay a shorter trace, or use a machine with more memory", 1
    again = shlex.join(["replay", "--debug", *(word for word in sys.argv[1:] if word != "--debug")])
    hint = f"this is a bug in replay; please report it with the output of `{again}`"
    return f"internal error: {type(error).__name__}: {error}", hint, 1


def _drop_unwritten_output() -> None:
    """Let the interpreter end quietly when standard output itself is what failed."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
