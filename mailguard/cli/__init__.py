"""The command line: one file a command, named here and nowhere else (operations.md, "Command line").

A command's file is imported when the command is asked for: importing all of them, the service and the laboratory among
them, takes longer than most commands do.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from mailguard import __version__

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "serve:serve",
    "reload": "control:reload",
    "drain": "control:drain",
    "observe": "control:observe",
    "status": "control:status",
    "check": "check:command",
    "test": "testing:command",
    "doctor": "doctor:doctor",
    "why": "why:why",
    "search": "search:search",
    "replay": "replay:replay",
    "lists": "lists:lists",
    "demo": "demo:demo",
    "config": "configuration:app",
    "profiles": "profiles:command",
    "schema": "schema:schema",
    "reference": "reference:reference",
    "spamrules": "spamrules:app",
}
"""Where each command is: a module of this package, and its function or its group of commands."""


class _Commands(TyperGroup):
    """The commands, each imported when it is wanted."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"mailguard.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mailguard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """A policy-driven SMTP filter that stands as MX front end before Exim."""
