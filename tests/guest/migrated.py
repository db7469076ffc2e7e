"""The scenario ``migrated``: the guest goes to the other host while it runs (``docs/cluster/live-migration.md``).

QEMU's own migration, ordered by the test; for its time both sides of DRBD are primary, as an administrator allows it by
hand. Meanwhile a client is in the middle of a message, and another pings.
"""

from __future__ import annotations

import itertools
import re
import signal
import socket
import threading
import time
from pathlib import Path

from mailguard.lab.process import Process
from tests.guest.guest import Guest
from tests.guest.layout import ADDRESS, CARDS, CLIENT, IMAGE, MONITOR
from tests.guest.machine import Machine
from tests.guest.run import Run, require
from tests.guest.seed import make
from tests.guest.steps import boots_from, replicated
from tests.guest.storage import Hosts

_AWAITED = f"tcp:{MONITOR}:4444"
_PAUSE = 1.0
_MIGRATED_WITHIN = 900.0
_LINE_EVERY = 0.2
_SESSION = 300.0
_SUBJECT = "under way"


def migrated(run: Run) -> None:
    """A live move: the guest goes on at the other host, both sides of DRBD primary for its time."""
    folder = run.folder / "migrated"
    folder.mkdir(mode=0o755)
    hosts = Hosts(folder, run.disk or IMAGE, run.accelerator)
    seed = [] if run.disk else [make(folder)]
    guest = Guest(folder, [], run.accelerator)
    landed = Machine(folder, "landed", [], CARDS, accelerator=run.accelerator)
    try:
        replicated(run, hosts)
        boots_from(run, hosts, guest, "mx1", "the guest boots from its disk on mx1", seed)
        guest.seeded()
        landed.drives = [hosts.drive("mx2"), *seed]
        _moves(run, hosts, guest, landed)
        _well_there(run, hosts, guest)
    finally:
        landed.kill()
        guest.close()
        hosts.close()


def _moves(run: Run, hosts: Hosts, guest: Guest, landed: Machine) -> None:
    with run.step("two primaries are allowed, and are there; the other QEMU waits") as seen:
        _two_primaries(hosts, "yes")
        hosts.promote("mx2")
        seen.append(hosts.state("mx1"))
        require(hosts.state("mx1") == "Connected Primary/Primary UpToDate/UpToDate", seen[0])
        landed.start(_AWAITED)
    with run.step("it moves, in the middle of a client's message") as seen:
        sender, pings = Sender(), Pings(run.folder / "pings")
        done = guest.machine.migrate(_AWAITED, _PAUSE, _MIGRATED_WITHIN)
        guest.machine.kill()
        guest.machine = landed
        seen.append(f"{done['ram']['transferred'] / 2**20:.0f} MiB sent in {done['total-time'] / 1000:.0f} s")
        seen.append(f"by QEMU it stood still for {done['downtime'] / 1000:.2f} s")
        time.sleep(5.0)
        seen.append(f"pings had no answer for {pings.longest():.1f} s")
        reply = sender.end()
        require(reply.startswith("250 ") and guest.arrived(_SUBJECT), f"the session that moved too: {reply!r}")
        seen.append(f"the session went on: {sender.lines} lines, `{reply[:40]}`")
    with run.step("one primary again") as seen:
        hosts.demote("mx1")
        _two_primaries(hosts, "no")
        seen.append(f"mx2: {hosts.state('mx2')}")
        require(hosts.state("mx2") == "Connected Primary/Secondary UpToDate/UpToDate", seen[0])


def _two_primaries(hosts: Hosts, allowed: str) -> None:
    for name in hosts.machines:
        hosts.drbd(name, "net-options", f"--allow-two-primaries={allowed}", "guest")


def _well_there(run: Run, hosts: Hosts, guest: Guest) -> None:
    with run.step("there: the same boot, the clock, another message, and both disks compared") as seen:
        behind = time.time() - float(guest.machine.shell("date +%s.%N"))
        seen.append(f"its clock is {behind:.1f} s behind")
        failed = guest.machine.shell(
            "systemctl --failed --plain --no-legend; dmesg --level=emerg,alert,crit,err | tail -5"
        )
        require("ext4" not in failed.lower() and "I/O error" not in failed, failed)
        reply = guest.send("after the move", "hello")
        require(reply.startswith("250 ") and guest.arrived("after the move"), reply)
        guest.machine.press_power()
        guest.machine.wait_off(240)
        hosts.demote("mx2")
        seen.append(f"{hosts.same() // 2**20:,} MiB, 0 octets differ")


class Sender:
    """A client that is slow: a line of its message every so often, in one session."""

    def __init__(self) -> None:
        self._socket = socket.create_connection((ADDRESS, 25), _SESSION, (CLIENT, 0))
        self._replies = self._socket.makefile("rb")
        for line, wanted in (
            ("", b"220"),
            ("HELO client.example", b"250"),
            ("MAIL FROM:<a@client.example>", b"250"),
            ("RCPT TO:<b@example.com>", b"250"),
            ("DATA", b"354"),
        ):
            self._say(line)
            reply = self._replies.readline()
            require(reply.startswith(wanted), f"{line}: {reply!r}")
        self._say(f"From: a@client.example\r\nSubject: {_SUBJECT}\r\n")
        self.lines = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def _say(self, line: str) -> None:
        if line:
            self._socket.sendall(line.encode() + b"\r\n")

    def _go_on(self) -> None:
        for number in itertools.count(1):
            if self._ended.wait(_LINE_EVERY):
                return
            self._say(f"line {number}")
            self.lines = number

    def end(self) -> str:
        """No more lines; the reply to the message."""
        self._ended.set()
        self._thread.join(_SESSION)
        self._say(".")
        reply = self._replies.readline().decode()
        self._socket.close()
        return reply.strip()


class Pings:
    """Ten a second, with the time of each answer."""

    def __init__(self, log: Path) -> None:
        self._process = Process(["ping", "-n", "-D", "-i", "0.1", "-I", CLIENT, ADDRESS], log)

    def longest(self) -> float:
        """Seconds between two answers, at the most, up to now; and no more pings."""
        self._process.signal(signal.SIGINT)
        self._process.wait()
        answered = [float(stamp) for stamp in re.findall(r"^\[([\d.]+)\].*time=", self._process.log.read_text(), re.M)]
        require(len(answered) > 1, "no ping was answered")
        return max(later - earlier for earlier, later in itertools.pairwise(answered))
