"""The command line: one file a command, registered here and nowhere else (operations.md, "Command line")."""

from __future__ import annotations

from typing import Annotated

import typer

from mailguard import __version__
from mailguard.cli.check import command as check
from mailguard.cli.demo import demo
from mailguard.cli.reference import reference
from mailguard.cli.serve import serve
from mailguard.cli.spamrules import app as spamrules

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


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


app.command()(serve)
app.command("check")(check)
app.command()(demo)
app.command()(reference)
app.add_typer(spamrules, name="spamrules")
