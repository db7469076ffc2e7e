"""The command line: one file a command, registered here and nowhere else (operations.md, "Command line")."""

from __future__ import annotations

import typer

from mailguard.cli.check import command as check
from mailguard.cli.demo import demo
from mailguard.cli.reference import reference
from mailguard.cli.serve import serve
from mailguard.cli.spamrules import app as spamrules

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A policy-driven SMTP filter that stands as MX front end before Exim.",
)
app.command()(serve)
app.command("check")(check)
app.command()(demo)
app.command()(reference)
app.add_typer(spamrules, name="spamrules")
