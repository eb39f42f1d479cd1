"""`--plot FILE`: a command's answer as a picture, checked before its work and drawn after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from replay.cli.output import note
from replay.errors import InputError

if TYPE_CHECKING:
    from replay.report.pictures.picture import Picture

Command = TypeVar("Command", bound=Callable[..., Any])

plot_option = click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw it as .png, .svg, .html or .json (needs kvreplay[report]).",
)


def claim_plot(plot: Path | None, *, force: bool, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise unless the picture can be made and its file written; nothing where none is asked for.

    Raises what `claim` and `check_plot` raise.
    """
    if plot is None:
        return
    from replay.cli.targets import claim
    from replay.report.pictures.files import check_plot

    claim(plot, force=force, inputs=inputs)
    check_plot(plot)


def check_known(plot: Path | None, *, content_known: bool) -> None:
    """Raise InputError where a picture of reuse is asked for and what repeats is unknown."""
    if plot is not None and not content_known:
        raise InputError("no content: reuse unknown, so there is nothing to draw", hint="no --plot")


def draw(picture: Picture, plot: Path, *, force: bool) -> None:
    """Write a picture, and say where it is."""
    from replay.report.pictures.files import write_picture

    write_picture(picture, plot, force=force)
    note(f"Plot written to {plot}")
