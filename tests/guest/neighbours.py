"""The scenario ``neighbours``: an image without scanners asks a host beside it; that host is there, then it is not.

The policy is the package's own (``default.yaml``): without clamd mail waits at its sender's, without spamd it flows on.
"""

from __future__ import annotations

import json
import re
import time

from mailguard.lab.folders import make_folder
from mailguard.lab.process import wait_until
from mailguard.scanners.patterns import GTUBE
from tests.guest.guest import Guest, drive, overlay, silent
from tests.guest.layout import (
    CARDS,
    CLAMD,
    GROWN,
    NEIGHBOUR,
    SCANNERS,
    SETTLED_WITHIN,
    SPAMD,
    STRANGER,
    THIRD_CARD,
    WITHOUT_SCANNERS,
)
from tests.guest.run import Run, require
from tests.guest.scanners import CABLE, Neighbour
from tests.guest.seed import EICAR, make
from tests.support.box import Box

_RETRIED_EVERY = 5.0
_ASKED = ("--only", "clamav", "--only", "spamassassin", "--timeout", "200")
_RESULTS = re.compile(r"^(X-Virus-Scanned|X-Spam-Score|X-Mailguard-Folder): (.*)\r$", re.MULTILINE)


def neighbours(run: Run) -> None:
    """clamd and spamd stand on a host beside the guest: asked, walled in, gone, and back."""
    folder = make_folder(run.folder / "neighbours")
    disk = overlay(folder, WITHOUT_SCANNERS, GROWN)
    box = Box(folder, "neighbour")
    box.plug_into(SCANNERS, CABLE, f"{NEIGHBOUR}/24")
    neighbour = Neighbour(folder, box)
    guest = Guest(folder, [drive(disk), make(folder, neighbours=True)], run.accelerator, CARDS | THIRD_CARD)
    try:
        _boots(run, guest)
        _asked(run, guest)
        _clamd_gone(run, guest, neighbour)
        _spamd_gone(run, guest, neighbour)
        _cable_cut(run, guest, neighbour)
    finally:
        guest.close()
        neighbour.close()


def _boots(run: Run, guest: Guest) -> None:
    with run.step("first boot of an image without scanners, from power to the greeting") as seen:
        seen.append(f"`{guest.boot()[1]}`")
    with run.step("the seed is through; nothing of clamd, freshclam, spamd is in it") as seen:
        guest.seeded()
        seen.append(guest.well())
        theirs = guest.machine.shell("dpkg-query -W -f '${Package}\\n' | grep -E 'clam|spam' || :")
        require(not theirs, f"in the image: {theirs}")
    with run.step("the neighbour's ports: for the guest alone") as seen:
        require(all(silent(STRANGER, NEIGHBOUR, port) for port in (CLAMD, SPAMD)), "a stranger is heard")
        for port in (CLAMD, SPAMD):
            guest.machine.run("/usr/bin/python3", "-c", _CONNECT, NEIGHBOUR, str(port))
        seen.append(
            f"{NEIGHBOUR}:{CLAMD} and :{SPAMD} are open to the guest; a stranger on the same cable hears nothing"
        )


_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 60).close()"


def _asked(run: Run, guest: Guest) -> None:
    with run.step("`mailguard doctor` on both") as seen:
        findings = _doctor(guest)
        bad = [each for each in findings if each["status"] == "failed"]
        require(not bad, f"doctor: {bad}")
        seen.append(
            ", ".join(f"{each['part']} {each['about']}: {each['status']}".replace(" :", ":") for each in findings)
        )
    with run.step("a clean message, with what both said of it") as seen:
        reply, results = _delivered(guest, "clean", "hello")
        require(
            reply.startswith("250 ") and results.keys() >= {"X-Virus-Scanned", "X-Spam-Score"}, f"{reply} {results}"
        )
        seen += [f"`{reply[:40]}`", *(f"`{name}: {said}`" for name, said in results.items())]
    with run.step("spam is filed by the points of the neighbour's spamd") as seen:
        reply, results = _delivered(guest, "spam", GTUBE)
        require(reply.startswith("250 ") and results.get("X-Mailguard-Folder") == "Junk", f"{reply} {results}")
        seen.append(f"`X-Spam-Score: {results['X-Spam-Score']}`, `X-Mailguard-Folder: Junk`")
    with run.step("EICAR is refused by the neighbour's clamd") as seen:
        reply = guest.send("eicar", EICAR)
        require(reply.startswith("5") and not guest.arrived("eicar"), reply)
        seen.append(f"`{reply[:60]}`")


def _clamd_gone(run: Run, guest: Guest, neighbour: Neighbour) -> None:
    neighbour.clamd.kill()
    with run.step("clamd is killed: a message waits at its sender's") as seen:
        seen += _deferred(guest, "waits for clamd")
        (down,) = [each for each in _doctor(guest) if each["part"] == "clamav"]
        require(down["status"] == "failed", f"doctor: {down}")
        seen.append(f"doctor: {down['about']} {down['told']}")
    neighbour.clamd.start()
    _comes_once(run, guest, "clamd is back: the sender tries again", "waits for clamd")


def _spamd_gone(run: Run, guest: Guest, neighbour: Neighbour) -> None:
    neighbour.spamd.kill()
    with run.step("spamd is killed: mail flows on, without points") as seen:
        reply, results = _delivered(guest, "without points", "hello")
        require(reply.startswith("250 ") and results.keys() == {"X-Virus-Scanned"}, f"{reply} {results}")
        seen += [f"`{reply[:40]}`", *(f"`{name}: {said}`" for name, said in results.items())]
    neighbour.spamd.start()


def _cable_cut(run: Run, guest: Guest, neighbour: Neighbour) -> None:
    neighbour.cut()
    with run.step("the scanners' cable is cut: nobody refuses, nobody answers") as seen:
        began = time.monotonic()
        seen += _deferred(guest, "waits for the cable")
        seen.append(f"said after {time.monotonic() - began:.0f} s")
    neighbour.mend()
    _comes_once(run, guest, "the cable is in again: the sender tries again", "waits for the cable")


def _comes_once(run: Run, guest: Guest, what: str, subject: str) -> None:
    """The sender tries until it is taken; the backend has it once."""
    with run.step(what) as seen:
        wait_until(lambda: _taken(guest, subject), f"{subject!r} is taken", SETTLED_WITHIN)
        copies = guest.mails.read_bytes().count(f"Subject: {subject}\r\n".encode())
        require(copies == 1, f"the backend has {copies} of {subject!r}")
        seen.append("taken, and once at the backend")


def _taken(guest: Guest, subject: str) -> bool:
    if guest.send(subject, "hello").startswith("250 "):
        return True
    time.sleep(_RETRIED_EVERY)
    return False


def _deferred(guest: Guest, subject: str) -> list[str]:
    """What a message is told that nobody can scan, and what the journal has of it."""
    reply = guest.send(subject, "hello")
    require(reply.startswith("451 ") and not guest.arrived(subject), reply)
    rule = "unavailable: clamav"
    wait_until(lambda: rule in guest.machine.shell("mailguard search --since 1h --json"), "the journal has it", 120)
    return [f"`{reply[:70]}`", f"journal: `{rule}`"]


def _delivered(guest: Guest, subject: str, body: str) -> tuple[str, dict[str, str]]:
    """The reply to a message, and of what the backend got of it the fields that tell of scanners."""
    before = guest.mails.stat().st_size
    reply = guest.send(subject, body)
    return reply, dict(_RESULTS.findall(guest.mails.read_bytes()[before:].decode()))


def _doctor(guest: Guest) -> list[dict[str, str]]:
    """What doctor finds of both scanners, as the service's user, whatever its exit status."""
    said = guest.machine.shell(f"runuser -u mailguard -- mailguard doctor {' '.join(_ASKED)} --json || :")
    findings: list[dict[str, str]] = json.loads(said)["findings"]
    return findings
