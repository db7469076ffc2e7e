"""``mailguard spamrules``: which SpamAssassin rules may look at Received evidence, and why.

``derive`` works on rule folders, as the server does for ``spamassassin.rule_dirs``; ``show`` asks the list that
mailguard ships. Exit status (sysexits.h): 0, 65 for data that is no list, 66 for rules that cannot be read, 69 for a
rule that the list does not hold, 73 for a file that cannot be written.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mailguard.scanners.rule_files import RulesUnreadable, read_rule_dirs
from mailguard.spamrules.evidence import Evidence
from mailguard.spamrules.taint import BadTaintList, TaintList

app = typer.Typer(no_args_is_help=True, help="SpamAssassin's rules and the evidence that they look at.")

_CLASSES = (
    ("known free", "the content alone"),
    ("conditional", "free where the scan shows that envelope, client or whole message are sound"),
    ("tainted", "may look at Received evidence"),
)


def _fail(text: str, status: int) -> typer.Exit:
    typer.echo(f"mailguard: {text}", err=True)
    return typer.Exit(status)


def _class(evidence: Evidence) -> str:
    if evidence & Evidence.RECEIVED:
        return "tainted"
    return "conditional" if evidence else "known free"


def _print_summary(taint: TaintList) -> None:
    counts = Counter(_class(found.evidence) for found in taint.rules.values())
    table = Table("class", "rules", "share", "looks at")
    for name, meaning in _CLASSES:
        table.add_row(name, str(counts[name]), f"{counts[name] / max(1, len(taint.rules)):.1%}", meaning)
    console = Console()
    console.print(table)
    version = taint.spamassassin or "any reviewed version"
    console.print(f"{len(taint.rules)} rules; SpamAssassin {version}; rules {taint.rules_version or 'without version'}")
    console.print(f"digest {taint.digest}", soft_wrap=True)


@app.command()
def derive(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Rule folders, in SpamAssassin's order.")],
    write: Annotated[Path | None, typer.Option(help="Write the list as JSON to this file.")] = None,
    spamassassin: Annotated[str, typer.Option(help="The one version that the list is to hold for.")] = "",
) -> None:
    """Derive from rule folders what each rule may look at, and count."""
    try:
        taint = TaintList.derive(read_rule_dirs(folders), spamassassin)
    except RulesUnreadable as error:
        raise _fail(str(error), os.EX_NOINPUT) from None
    if write is not None:
        try:
            write.write_text(taint.dump(), "ascii")
        except OSError as error:
            raise _fail(f"{write}: {error.strerror}", os.EX_CANTCREAT) from None
    _print_summary(taint)


@app.command()
def show(
    rule: Annotated[str | None, typer.Argument(help="A rule; none: the counts.")] = None,
    file: Annotated[Path | None, typer.Option(help="A list written by `derive`; none: the shipped one.")] = None,
) -> None:
    """Show what one rule may look at and why, or how many rules of each class there are."""
    try:
        taint = TaintList.load(file.read_text("ascii") if file is not None else None)
    except OSError as error:
        raise _fail(f"{file}: {error.strerror}", os.EX_NOINPUT) from None
    except (BadTaintList, UnicodeDecodeError) as error:
        raise _fail(f"{file}: {error}", os.EX_DATAERR) from None
    if rule is None:
        _print_summary(taint)
        return
    found = taint.classify(rule)
    typer.echo(f"{rule}: {_class(found.evidence)}; looks at {found.evidence.words}")
    if found.reason:
        typer.echo(f"  {found.reason}")
    if rule not in taint.rules:
        raise typer.Exit(os.EX_UNAVAILABLE)
