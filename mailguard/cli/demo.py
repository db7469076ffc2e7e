"""``mailguard demo``: the main job with real servers on this machine, shown with five messages.

Exim, clamd, spamd and a DNS list behind unbound run on loopback in a scratch folder; mailguard stands before them on
127.0.0.1:2525 with the policy that it ships. Each message is looked for where Exim put it, by its Message-ID.
Exit status: 0 where all five came out as they must, 1 where not, 69 where a server is missing or the port is taken, 130
where it is interrupted before the results are shown.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import smtplib
import socket
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from mailguard.cli.demo_results import Result, show
from mailguard.lab import Lab, LabError, world
from mailguard.lab.client import Outcome, send
from mailguard.lab.folders import withhold
from mailguard.lab.letters import RECIPIENT, SENDER, Letter, five
from mailguard.lab.mailguard import Mailguard

PORT = 2525
DELIVERY_TIMEOUT = 15.0
"""Seconds in which a message that was taken must be in a mailbox, and its log line written."""
INTERRUPTED = 130
"""The exit status of what Ctrl-C ended, as shells have it: 128 and the number of SIGINT."""
_YOU = "you@example.org"


class Break(StrEnum):
    """Parts that the demo can be run without, to see that it notices."""

    CLAMD = "clamd"
    ZONE = "zone"
    JUNK_ROUTER = "junk-router"


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
        withhold(port)
        with _claimed(port), Lab() as lab:
            mailguard = _start(lab, port, without, console)
            results = [_try(letter, lab, mailguard) for letter in five()]
            fine = show(results, console)
            if not once:
                _stay(lab, mailguard, console)
    except LabError as error:
        typer.echo(f"mailguard: {str(error).rstrip()}", err=True)
        raise typer.Exit(os.EX_UNAVAILABLE) from None
    except KeyboardInterrupt:
        typer.echo("\nmailguard: interrupted; all that the demo had started is ended and removed", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not once:
        console.print("\nEnded: every server of the demo, with its mailboxes and logs, is gone. Thank you for looking.")
    raise typer.Exit(0 if fine else 1)


@contextlib.contextmanager
def _claimed(port: int) -> Iterator[None]:
    """Keep other demos off ``port`` until the end: mailguard itself takes it only when all servers behind it run.

    The claim is a socket with a name in Linux's abstract namespace (unix(7)), which is the network namespace's as the
    port is, and goes with the process.

    Raises:
        LabError: another demo has it, or something listens there.
    """
    with socket.socket(socket.AF_UNIX) as claim, socket.socket(socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            claim.bind(f"\0mailguard-demo-{port}")
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LabError(
                f"127.0.0.1:{port}: {error.strerror}. Another `make run`? See `ss -ltnp sport = :{port}`, "
                "or choose another one with `make run PORT=...`."
            ) from None
        probe.close()
        yield


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


def own_message(port: int) -> str:
    """A command that sends a message, of a program that is on this machine."""
    if shutil.which("swaks"):
        return f"swaks --server 127.0.0.1:{port} --from {_YOU} --to {RECIPIENT}"
    script = f"import smtplib; print(smtplib.SMTP('127.0.0.1', {port}).sendmail('{_YOU}', '{RECIPIENT}', 'Hello'))"
    return f'{shlex.quote(sys.executable)} -c "{script}"'


def message_of_another(proxy_port: int, client: str) -> str:
    """A command that sends a message as if it came from the address ``client``, and prints the reply."""
    arguments = f"{proxy_port}, '{client}', '{world.host_name(client)}', '{_YOU}', '{RECIPIENT}'"
    script = f"from mailguard.lab.client import send; print(send({arguments}, b'Hello\\r\\n'))"
    return f'{shlex.quote(sys.executable)} -c "{script}"'


def _stay(lab: Lab, mailguard: Mailguard, console: Console) -> None:
    """Say how to go on, and wait for Ctrl-C."""
    lines = {
        "Send one of your own": own_message(mailguard.port),
        "... as a listed client": message_of_another(mailguard.proxy_port, world.LISTED_TWICE),
        "Mailboxes": str(lab.exim().mail),
        "What is counted": f"{mailguard.admin_url}/metrics",
        "What is logged": f"tail -f {mailguard.log}",
        "Configuration": str(mailguard.configuration),
        "End": "Ctrl-C (everything above goes with it)",
    }
    console.print()
    for title, text in lines.items():
        console.print(f"[bold]{title:22}[/] {escape(text)}", soft_wrap=True, highlight=False)
    with contextlib.suppress(KeyboardInterrupt):
        while True:  # signal.pause() would wait on where the signal came right before it
            time.sleep(0.5)
