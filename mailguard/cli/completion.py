"""``mailguard completion``: the script by which a shell completes mailguard's commands and options.

The script asks mailguard itself each time (``_MAILGUARD_COMPLETE`` in the environment), so that it never lags behind;
only the command that stands in the line is imported for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # exported, though not by __all__

VARIABLE = "_MAILGUARD_COMPLETE"


class Shell(StrEnum):
    """Which shell."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print the script by which a shell completes commands and options."""
    typer.echo(get_completion_script(prog_name="mailguard", complete_var=VARIABLE, shell=shell.value))
