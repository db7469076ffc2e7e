"""The command line: one file a command, named here and nowhere else (operations.md, "Command line").

A command's file is imported when the command is asked for: importing all of them, the service and the laboratory among
them, takes longer than most commands do. So it is when a shell completes: names need no file, options that of the one
command. Each help ends in examples (``cli.examples``). A command line that is wrong ends with 64 (sysexits.h).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]  # exported, though not by __all__
from typer.core import TyperCommand, TyperGroup

from mailguard import __version__
from mailguard.cli.examples import epilogue

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "serve:serve",
    "reload": "control:reload",
    "drain": "control:drain",
    "observe": "control:observe",
    "status": "control:status",
    "check": "check:command",
    "test": "testing:command",
    "doctor": "doctor:doctor",
    "explain": "explain:explain",
    "why": "why:why",
    "search": "search:search",
    "replay": "replay:replay",
    "lists": "lists:lists",
    "demo": "demo:demo",
    "config": "configuration:app",
    "profiles": "profiles:command",
    "completion": "completion:completion",
    "schema": "schema:schema",
    "reference": "reference:reference",
    "spamrules": "spamrules:app",
}
"""Where each command is: a module of this package, and its function or its group of commands."""


_UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[1]
"""What is raised for any command line that is wrong; Typer gives it no name of its own."""
completion_init()


def import_command(arguments: Sequence[str]) -> None:
    """Import what the command needs that ``arguments`` begin with, if they do."""
    if arguments and arguments[0] in COMMANDS:
        _found(arguments[0])


def _found(command: str) -> Any:
    """The function of ``command``, or its group of commands."""
    module, _, name = COMMANDS[command].partition(":")
    return getattr(import_module(f"mailguard.cli.{module}"), name)


@contextmanager
def _usage() -> Iterator[None]:
    """Let a command line that is wrong end with 64 and not, as is Typer's way, with 2."""
    try:
        yield
    except _UsageError as error:
        error.exit_code = os.EX_USAGE  # type: ignore[attr-defined]
        raise


class _Commands(TyperGroup):
    """The commands, each imported when it is wanted."""

    _names_alone = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _usage():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        with _usage():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: Sequence[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from mailguard.positions import did_you_mean  # here: it takes longer than to complete a word

            ctx.fail(f"there is no command {args[0]!r}; {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, list(args))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        self._names_alone = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._names_alone = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if self._names_alone:
            return TyperCommand(cmd_name)
        found = _found(cmd_name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        command.epilog = epilogue(cmd_name)
        for name, inner in getattr(command, "commands", {}).items():
            inner.epilog = epilogue(f"{cmd_name} {name}")
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
