"""Mail clients of the world, as they are: programs and libraries that deliver to a port of loopback.

Each takes the same order, :class:`Order`, and gives back a :class:`Report`: what whoever sent the mail is told. Those
that send at once tell by their reply or exit status; those with a queue tell by a bounce, or go on trying.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import aiosmtplib

from mailguard.lab.postfix import LIBRARIES, UNPACKED
from mailguard.lab.process import find_program, wait_until
from mailguard.lab.queueing import SENDERS, Queueing
from tests.support import certificates

TIMEOUT = 60.0
"""Seconds for one command of a client, or for one message in a queue to be dealt with."""


@dataclass(frozen=True)
class Order:
    """One message to send.

    Attributes:
        octets: line ends CR LF, one at the end.
        recipients: addresses.
        sender: an address.
        tls: by STARTTLS; the certificate is taken as it is.
    """

    octets: bytes
    recipients: tuple[str, ...] = ("alice@example.com",)
    sender: str = f"sender@{SENDERS}"
    tls: bool = False

    @property
    def lines(self) -> bytes:
        """The message with the line ends of files."""
        return self.octets.replace(b"\r\n", b"\n")

    @property
    def options(self) -> list[str]:
        """MAIL's parameters for a client whose user names them (RFC 6152, RFC 6531)."""
        body = [] if self.octets.isascii() else ["BODY=8BITMIME"]
        return [*body, *([] if self.sender.isascii() else ["SMTPUTF8"])]


@dataclass(frozen=True)
class Report:
    """What became of it as the sender sees it.

    Attributes:
        sent: whether it is told of no recipient that it failed.
        text: all that it is told: replies, exceptions, bounces.
        waiting: whether the message is in the client's queue, to be tried again.
    """

    sent: bool
    text: str
    waiting: bool = False


class Sender(ABC):
    """One client before the port ``port`` of loopback; ``folder`` is for its files."""

    title: ClassVar[str]
    queues: ClassVar[bool] = False
    declares_8bit: ClassVar[bool] = False
    """Whether it can tell the body's kind (RFC 6152)."""
    utf8: ClassVar[bool] = False
    """Whether it can speak SMTPUTF8 (RFC 6531)."""
    starttls: ClassVar[bool] = True
    """Whether it can speak STARTTLS."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder

    def sent(self, octets: bytes) -> bytes:
        """What the client makes of a message, apart from header lines that it adds."""
        return octets

    @abstractmethod
    def send(self, order: Order) -> Report:
        """Send; return once it is known what became of it, or that it waits in a queue."""


class _Program(Sender):
    """A program that sends once and tells by its exit status."""

    @abstractmethod
    def command(self, order: Order, message: Path) -> list[str]:
        """The command that sends ``message``, whose line ends are LF."""

    def send(self, order: Order) -> Report:
        message = self.folder / "message"
        message.write_bytes(order.lines)
        return self._run(self.command(order, message))

    def _run(self, command: list[str]) -> Report:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False, env=os.environ | LIBRARIES)
        said = (done.stdout + done.stderr).decode(errors="replace")
        return Report(done.returncode == 0 and "<** " not in said, said)


class Swaks(_Program):
    """swaks(1), pipelining (RFC 2920). It marks each refusal with ``<**``, and succeeds if one recipient was taken."""

    title = "swaks"

    def command(self, order: Order, message: Path) -> list[str]:
        command = [find_program("swaks", "swaks"), "--server", "127.0.0.1", "--port", str(self.port), "--pipeline"]
        command += ["--ehlo", "swaks.example.net", "--from", order.sender, "--to", ",".join(order.recipients)]
        message.write_bytes(order.lines.removesuffix(b"\n"))  # it ends the last line itself
        return [*command, "--data", f"@{message}", *(["--tls"] if order.tls else [])]


class SmtpSource(_Program):
    """Postfix's smtp-source(1): HELO and not EHLO, one recipient after the other, gives up at the first refusal."""

    title = "smtp-source"
    starttls = False

    def sent(self, octets: bytes) -> bytes:
        """It ends every message by an empty line of its own."""
        return octets + b"\r\n"

    def command(self, order: Order, message: Path) -> list[str]:
        """Of several recipients the last is named: before it go ``3...`` and ``2...``."""
        several = ["-r", str(len(order.recipients))] if len(order.recipients) > 1 else []
        return self._command(order, *several, "-F", str(message))

    def burst(self, order: Order, sessions: int, messages: int) -> Report:
        """``messages`` small ones of its own making, over ``sessions`` connections at the same time."""
        return self._run(self._command(order, "-d", "-s", str(sessions), "-m", str(messages)))

    def _command(self, order: Order, *options: str) -> list[str]:
        program = find_program(str(UNPACKED / "usr/sbin/smtp-source"), "postfix")
        envelope = ["-M", "source.example.net", "-f", order.sender, "-t", order.recipients[-1]]
        return [program, "-4", *envelope, *options, f"127.0.0.1:{self.port}"]


class Smtplib(Sender):
    """Python's smtplib."""

    title = "smtplib"
    declares_8bit = utf8 = True

    def send(self, order: Order) -> Report:
        with smtplib.SMTP("127.0.0.1", self.port, "smtplib.example.net", TIMEOUT) as client:
            if order.tls:
                client.starttls(context=certificates.trusting())
            try:
                refused = client.sendmail(order.sender, order.recipients, order.octets, order.options)
            except smtplib.SMTPException as error:
                return Report(False, repr(error))
        return Report(not refused, repr(refused))


class Aiosmtplib(Sender):
    """aiosmtplib."""

    title = "aiosmtplib"
    declares_8bit = utf8 = True

    def send(self, order: Order) -> Report:
        return asyncio.run(self._send(order))

    async def _send(self, order: Order) -> Report:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=self.port,
            local_hostname="aiosmtplib.example.net",
            timeout=TIMEOUT,
            start_tls=order.tls,
            tls_context=certificates.trusting() if order.tls else None,
        )
        async with client:
            connection = client.get_transport_info("socket")
            report = await self._report(client, order)
        async with asyncio.timeout(TIMEOUT):
            while connection.fileno() >= 0:  # noqa: ASYNC110  in TLS it is open until the server has said close_notify
                await asyncio.sleep(0.01)
        return report

    async def _report(self, client: aiosmtplib.SMTP, order: Order) -> Report:
        try:
            refused, said = await client.sendmail(
                order.sender, order.recipients, order.octets, mail_options=order.options
            )
        except aiosmtplib.SMTPException as error:
            return Report(False, repr(error))
        return Report(not refused, f"{refused!r} {said}")


class Queued(Sender):
    """A mail server with a queue of its own: it tells by bounces, and tries again what could not be delivered yet."""

    queues = utf8 = True

    def __init__(self, port: int, folder: Path, plain: Queueing, encrypting: Queueing) -> None:
        super().__init__(port, folder)
        self._plain, self._encrypting = plain, encrypting
        self.server = plain
        """The one that sent last."""

    def send(self, order: Order) -> Report:
        self.server = self._encrypting if order.tls else self._plain
        before = self.server.bounced()
        self.server.submit(order.sender, order.recipients, order.lines)
        wait_until(lambda: not self.server.busy(), f"{self.title} tried to deliver", TIMEOUT)
        bounces = [octets for name, octets in self.server.bounced().items() if name not in before]
        text = b"".join(bounces).decode(errors="replace")
        waiting = bool(self.server.queued())
        return Report(not text and not waiting, text, waiting)

    def flush(self) -> None:
        """Try what waits until nothing does."""

        def empty() -> bool:
            if self.server.queued():
                self.server.flush()
            return not self.server.queued()

        wait_until(empty, f"{self.title} delivered all that waited", TIMEOUT)


class EximSender(Queued):
    """Exim: pipelining, and BDAT where it is offered (RFC 3030). By sendmail's ways it is not told a body's kind."""

    title = "Exim"


class PostfixSender(Queued):
    """Postfix: pipelining."""

    title = "Postfix"
    declares_8bit = True
