"""The mail server in the machine, as the world sees it: greeting, mail, ports; and its boot."""

from __future__ import annotations

import contextlib
import http.client
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path

from mailguard.lab.process import LabError, Process
from tests.guest.layout import ADDRESS, ADMIN, BACKEND, BOOTED_WITHIN, CARDS, CLIENT, MONITOR, SETTLED_WITHIN
from tests.guest.machine import Machine
from tests.guest.run import require
from tests.ha.layout import ROOT

_TRIED_EVERY = 0.5
_SESSION = 120.0


class Guest:
    """The machine, and a backend for it.

    Args:
        folder: for its files, and the mail that the backend takes.
        drives: QEMU's words for its disks.
        accelerator: ``tcg`` or ``kvm``.
        cards: MAC addresses by bridge.
    """

    def __init__(self, folder: Path, drives: list[str], accelerator: str, cards: Mapping[str, str] = CARDS) -> None:
        self.machine = Machine(folder, "guest", drives, cards, accelerator=accelerator)
        self.mails = folder / "mails"
        self.mails.touch()
        script = str(ROOT / "tests/packaging/backend.py")
        arguments = [script, str(self.mails), BACKEND[0], str(BACKEND[1])]
        self._backend = Process([sys.executable, *arguments], folder / "backend.log")

    def boot(self) -> tuple[float, str]:
        """Power on; seconds until the greeting, and what it was.

        Raises:
            LabError: none in time.
        """
        self.machine.start()
        return self.wait_greeting()

    def wait_greeting(self) -> tuple[float, str]:
        """Seconds until port 25 greets, and how.

        Raises:
            LabError: not in time; with the end of the console.
        """
        began = time.monotonic()
        while not (line := greeting()):
            if time.monotonic() - began > BOOTED_WITHIN or not self.machine.running:
                raise LabError(f"no greeting within {BOOTED_WITHIN:g} s\n{self.machine.console_tail()}")
            time.sleep(_TRIED_EVERY)
        return time.monotonic() - began, line

    def seeded(self) -> None:
        """Wait until cloud-init is through.

        Raises:
            LabError: not in time, or it failed.
        """
        self.machine.shell("cloud-init status --wait >/dev/null", timeout=SETTLED_WITHIN)

    def well(self) -> str:
        """That it is as it must be after its first boot, in words.

        Raises:
            LabError: a unit failed, or cloud-init has remarks.
        """
        failed = self.machine.shell("systemctl --failed --plain --no-legend")
        require(not failed, f"units that failed:\n{failed}")
        warned = self.machine.shell("grep WARNING /var/log/cloud-init.log || :")
        require(not warned, f"cloud-init has remarks:\n{warned}")
        return "no unit failed, no warning of cloud-init"

    def send(self, subject: str, body: str) -> str:
        """One message from outside; the reply to it, good or bad."""
        with smtplib.SMTP(ADDRESS, 25, "client.example", _SESSION, (CLIENT, 0)) as client:
            client.ehlo()
            client.mail("a@client.example")
            client.rcpt("b@example.com")
            code, said = client.data(_letter(subject, body))
        return f"{code} {said.decode(errors='replace')}"

    def arrived(self, subject: str) -> bool:
        """Whether the backend has it."""
        return f"Subject: {subject}\r\n".encode() in self.mails.read_bytes()

    def close(self) -> None:
        """Power off, and no backend."""
        self.machine.kill()
        self._backend.kill()


def _letter(subject: str, body: str) -> bytes:
    """A message with all that a good one has: spamd finds nothing in it but the client, who has no name."""
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "a@client.example", "b@example.com", subject
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain="client.example")
    letter.set_content(body)
    return letter.as_bytes(policy=SMTP)


def greeting() -> str:
    """The first line of port 25, to a client from elsewhere; nothing where there is none."""
    with contextlib.suppress(OSError), socket.create_connection((ADDRESS, 25), 5.0, (CLIENT, 0)) as connection:
        connection.settimeout(20.0)
        return connection.makefile("rb").readline().decode(errors="replace").strip()
    return ""


def healthy() -> int:
    """What /healthz says to the monitoring."""
    connection = http.client.HTTPConnection(ADMIN, 9625, timeout=20.0, source_address=(MONITOR, 0))
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def silent(source: str, target: str, port: int) -> bool:
    """Whether nobody answers there."""
    try:
        socket.create_connection((target, port), 3.0, (source, 0)).close()
    except TimeoutError:
        return True
    return False


def overlay(folder: Path, image: Path, size: str) -> Path:
    """A disk that begins as the image, is larger, and leaves the image as it is.

    Raises:
        LabError: there is no such image.
    """
    require(image.exists(), f"{image} is missing: make guest")
    made = folder / "guest.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "raw", str(made), size]
    subprocess.run(command, check=True, timeout=60)
    return made


def drive(disk: Path) -> str:
    """Such a disk, in QEMU's words."""
    return f"file={disk},if=virtio,format=qcow2"


def flat(disk: Path, made: Path) -> Path:
    """The same as plain octets, sparse."""
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(disk), str(made)], check=True, timeout=600)
    return made
