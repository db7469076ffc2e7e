"""``mailguard demo``: the main job with real servers on this machine, shown with five messages.

Exim, clamd, spamd and a DNS list behind unbound run on loopback in a scratch folder; mailguard stands before them on
127.0.0.1:2525 with the policy that it ships. Each message is looked for where Exim put it, by its Message-ID.
Exit status: 0 where all five came out as they must, 1 where not, 69 where a server is missing or the port is taken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import smtplib
import socket
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mailguard.lab import Lab, LabError
from mailguard.lab.client import Outcome, send
from mailguard.lab.exim import Delivered
from mailguard.lab.letters import RECIPIENT, SENDER, Letter, five
from mailguard.lab.mailguard import Mailguard

PORT = 2525
DELIVERY_TIMEOUT = 15.0
"""Seconds in which a message that was taken must be in a mailbox, and its log line written."""


class Break(StrEnum):
    """Parts that the demo can be run without, to see that it notices."""

    CLAMD = "clamd"
    ZONE = "zone"
    JUNK_ROUTER = "junk-router"


@dataclass(frozen=True)
class Result:
    """What became of one letter: the reply, mailguard's log line about it, and where it was found."""

    letter: Letter
    outcome: Outcome
    line: dict[str, Any]
    delivered: list[Delivered]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders in which it lies, of all mailboxes."""
        return tuple(mail.folder for mail in self.delivered)

    @property
    def as_expected(self) -> bool:
        """Whether the reply is right, and it lies exactly once in a right folder, or nowhere where it was refused."""
        if self.outcome.code not in self.letter.codes:
            return False
        if not self.letter.folders:
            return not self.folders
        return len(self.folders) == 1 and self.folders[0] in self.letter.folders


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the table.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where mailguard listens on 127.0.0.1.")] = PORT,
    without: Annotated[
        Break | None, typer.Option("--break", help="Run it with a part broken: it must notice and exit with 1.")
    ] = None,
) -> None:
    """Show the main job with real servers on this machine: five messages, and what becomes of them."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end the servers in order
    try:
        _require_free(port)
        with Lab() as lab:
            mailguard = _start(lab, port, without, console)
            results = [_try(letter, lab, mailguard) for letter in five()]
            fine = _show(results, console)
            if not once:
                _stay(lab, mailguard, console)
    except LabError as error:
        typer.echo(f"mailguard: {error}", err=True)
        raise typer.Exit(os.EX_UNAVAILABLE) from None
    raise typer.Exit(0 if fine else 1)


def _require_free(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LabError(
                f"127.0.0.1:{port}: {error.strerror}. Another `make run`? See `ss -ltnp sport = :{port}`, "
                "or choose another one with `make run PORT=...`."
            ) from None


def _start(lab: Lab, port: int, without: Break | None, console: Console) -> Mailguard:
    """Start everything, what ``without`` says broken before mailguard starts."""
    with console.status("Starting unbound, rbldnsd, Exim, clamd and spamd") as status:
        dns = lab.dns()
        if without is Break.ZONE:
            for zone in lab.lists().zones:
                lab.lists().empty(zone)
                dns.forget(zone)
        lab.exim(junk_router=without is not Break.JUNK_ROUTER)
        clamd = lab.clamd()
        lab.spamd()
        if without is Break.CLAMD:
            clamd.kill()
        status.update("Starting mailguard")
        return lab.server("mailguard", Mailguard, lambda folder: Mailguard(folder, lab, port))


def _try(letter: Letter, lab: Lab, mailguard: Mailguard) -> Result:
    """Send one letter and see what became of it."""
    try:
        outcome = send(mailguard.proxy_port, letter.client, letter.helo, SENDER, RECIPIENT, letter.encode())
    except (OSError, smtplib.SMTPException) as error:
        outcome = Outcome("connection", 0, f"lost: {error}")
    taken = outcome.code == 250
    delivered = lab.exim().find(letter.message_id, DELIVERY_TIMEOUT if taken else 0)
    return Result(letter, outcome, _log_line(mailguard, letter, outcome), delivered)


def _log_line(mailguard: Mailguard, letter: Letter, outcome: Outcome) -> dict[str, Any]:
    """mailguard's line about the letter, by the reference in the reply or the Message-ID; empty if none comes."""
    deadline = time.monotonic() + DELIVERY_TIMEOUT
    while True:
        for line in mailguard.events():
            if outcome.reference and line.get("ref") == outcome.reference:
                return line
            if line.get("message_id") == letter.message_id:
                return line
        if time.monotonic() > deadline:
            return {}
        time.sleep(0.05)


def _show(results: list[Result], console: Console) -> bool:
    """Print the table; whether all is as expected."""
    table = Table(title="mailguard before a real Exim, clamd, spamd and DNS lists", show_lines=True)
    for column, ratio in {"message": 3, "reply": 5, "verdict: rule": 3, "found in": 2, "right": 2}.items():
        table.add_column(column, overflow="fold", ratio=ratio)
        if column == "reply":
            table.add_column("reference", no_wrap=True)
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    fine = all(result.as_expected for result in results)
    if fine:
        console.print("All five came out as they must.")
    else:
        wrong = sum(not result.as_expected for result in results)
        console.print(f"[bold red]{wrong} of {len(results)} did not come out as they must.[/]")
    return fine


def _cells(result: Result) -> tuple[str, ...]:
    letter, outcome, line = result.letter, result.outcome, result.line
    cells = (
        f"{letter.title}\nfrom {letter.client}",
        f"{outcome.command}: {outcome.code} {outcome.said}",
        str(line.get("ref", "-")),
        f"{line.get('action', '-')}: {line.get('rule') or 'no rule'}",
        ", ".join(result.folders) or "not delivered",
    )
    right = "[green]yes[/]" if result.as_expected else f"[bold red]no, expected {_expectation(letter)}[/]"
    return (*map(escape, cells), right)


def _expectation(letter: Letter) -> str:
    codes = " or ".join(map(str, letter.codes))
    return f"{codes}, {' or '.join(letter.folders) or 'not delivered'}"


def _own_message(port: int) -> str:
    """A command that sends a message, of a program that is on this machine."""
    if shutil.which("swaks"):
        return f"swaks --server 127.0.0.1:{port} --from you@example.org --to {RECIPIENT}"
    script = f"import smtplib; smtplib.SMTP('127.0.0.1', {port}).sendmail('you@example.org', '{RECIPIENT}', 'Hello')"
    return f'{sys.executable} -c "{script}"'


def _stay(lab: Lab, mailguard: Mailguard, console: Console) -> None:
    """Say how to go on, and wait for Ctrl-C."""
    lines = {
        "Send one of your own": _own_message(mailguard.port),
        "... as another client": f'port {mailguard.proxy_port}, first line "PROXY TCP4 198.18.7.7 127.0.0.1 4000 25"',
        "Mailboxes": str(lab.exim().mail),
        "What is counted": f"{mailguard.admin_url}/metrics",
        "What is logged": f"tail -f {mailguard.log}",
        "Configuration": str(mailguard.configuration),
        "End": "Ctrl-C (everything above goes with it)",
    }
    for title, text in lines.items():
        console.print(f"[bold]{title:22}[/] {escape(text)}", soft_wrap=True, highlight=False)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
