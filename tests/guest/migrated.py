"""The scenario ``migrated``: a machine goes to the other host while it runs (``docs/cluster/live-migration.md``).

QEMU's own migration over DRBD with two primaries, allowed for its time as that page has it. The machine is a small one,
Debian's kernel with a program that writes to the disk and one that echoes: what moves a large one is the same, and an
emulated one with mailguard takes a quarter of an hour more.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time

from mailguard.lab.process import LabError, wait_until
from tests.guest.layout import ANSWERS_WITHIN
from tests.guest.machine import Machine
from tests.guest.run import Run, require
from tests.guest.steps import small
from tests.guest.storage import Hosts

_AWAITED = "tcp:198.51.100.1:4444"
_ADDRESS, _CARD, _ECHO = "198.51.100.33", "52:54:00:00:01:33", 7
_PAUSE = 0.5
_MIGRATED_WITHIN = 300.0
_SAID_EVERY = 0.05
_WRITER = """\
while :; do nc -l -p 7 -e /bin/cat; done >/dev/null 2>&1 &
i=0
while [ ! -e /tmp/enough ]; do
    i=$((i + 1))
    echo $i | dd of=/dev/vda bs=4096 seek=9 conv=sync,fsync,notrunc 2>/dev/null && echo $i >/tmp/written
    sleep 0.1
done >/dev/null 2>&1 &
"""
_ON_DISK = "dd if={} bs=4096 skip=9 count=1 iflag=direct 2>/dev/null | tr -d '\\0'"


def migrated(run: Run) -> None:
    """A live move of a small machine that writes: both sides of DRBD are primary for its time."""
    with small(run, "migrated") as hosts:
        machine, landed = (hosts.small(name, "small", _ADDRESS, _CARD) for name in ("leaves", "lands"))
        try:
            _runs(run, hosts, machine)
            _moves(run, hosts, machine, landed)
            _goes_on(run, hosts, landed)
        finally:
            landed.kill()
            machine.kill()


def _runs(run: Run, hosts: Hosts, machine: Machine) -> None:
    with run.step("a small machine runs on mx1, and writes to its disk without a pause"):
        hosts.promote("mx1")
        machine.drives = [hosts.drive("mx1")]
        machine.start()
        wait_until(machine.answers, "the machine answers", ANSWERS_WITHIN)
        machine.shell(_WRITER)
        wait_until(lambda: _written(machine) > 0, "it writes", ANSWERS_WITHIN)


def _written(machine: Machine) -> int:
    """How often it has written, and was told that it is on the disk."""
    return int(machine.shell("cat /tmp/written 2>/dev/null || echo 0"))


def _moves(run: Run, hosts: Hosts, machine: Machine, landed: Machine) -> None:
    with run.step("two primaries are allowed, and are there; the other QEMU waits") as seen:
        _two_primaries(hosts, "yes")
        hosts.promote("mx2")
        seen.append(hosts.state("mx1"))
        require(seen[0] == "Connected Primary/Primary UpToDate/UpToDate", seen[0])
        landed.drives = [hosts.drive("mx2")]
        landed.start(_AWAITED)
        wait_until(landed.awaits, "the other QEMU waits", ANSWERS_WITHIN)
    with run.step("it moves while it writes and a client speaks to it") as seen:
        before, client = _written(machine), Client()
        done = machine.migrate(_AWAITED, _PAUSE, _MIGRATED_WITHIN)
        machine.kill()
        time.sleep(3.0)
        said, longest = client.end()
        seen.append(f"{done['ram']['transferred'] / 2**20:.0f} MiB in {done['total-time'] / 1000:.1f} s")
        seen.append(f"by QEMU it stood still for {done['downtime']} ms")
        seen.append(f"the client's one connection had {said} answers, the latest of them after {longest:.1f} s")
        wait_until(lambda: _written(landed) > before, "it writes on", ANSWERS_WITHIN)
    with run.step("one primary again") as seen:
        hosts.demote("mx1")
        _two_primaries(hosts, "no")
        seen.append(f"mx2: {hosts.state('mx2')}")
        require(hosts.state("mx2") == "Connected Primary/Secondary UpToDate/UpToDate", seen[0])


def _two_primaries(hosts: Hosts, allowed: str) -> None:
    for name in hosts.machines:
        hosts.drbd(name, "net-options", f"--allow-two-primaries={allowed}", "guest")


def _goes_on(run: Run, hosts: Hosts, landed: Machine) -> None:
    with run.step("what it wrote there is on both disks") as seen:
        before = _written(landed)
        wait_until(lambda: _written(landed) > before, "it writes on", ANSWERS_WITHIN)
        landed.shell("touch /tmp/enough; sleep 3")
        written = _written(landed)
        landed.kill()
        hosts.demote("mx2")
        octets = hosts.same()
        hosts.drbd("mx1", "primary", "guest")
        there = hosts.machines["mx1"].shell(_ON_DISK.format("/dev/drbd0"))
        require(there == str(written), f"mx1 has {there!r}, and {written} were written")
        seen.append(f"{written} writes, the last of them at mx1; {octets // 2**20} MiB, 0 octets differ")


class Client:
    """One connection: a line, its echo, the next line.

    Raises:
        LabError: nobody listens.
    """

    def __init__(self) -> None:
        self._socket = socket.create_connection((_ADDRESS, _ECHO), ANSWERS_WITHIN)
        self._echoes = self._socket.makefile("rb")
        self._ended = threading.Event()
        self._said, self._longest, self._lost = 0, 0.0, ""
        self._thread = threading.Thread(target=self._speak, daemon=True)
        self._thread.start()

    def _speak(self) -> None:
        for number in itertools.count(1):
            if self._ended.wait(_SAID_EVERY):
                return
            began = time.monotonic()
            try:
                self._socket.sendall(b"%d\n" % number)
                echo = self._echoes.readline()
            except OSError as error:
                self._lost = repr(error)
                return
            if echo != b"%d\n" % number:
                self._lost = f"{number} came back as {echo!r}"
                return
            self._said, self._longest = number, max(self._longest, time.monotonic() - began)

    def end(self) -> tuple[int, float]:
        """Answers, and the seconds that the slowest took.

        Raises:
            LabError: the connection broke, or an answer was wrong.
        """
        self._ended.set()
        self._thread.join(ANSWERS_WITHIN)
        self._socket.close()
        if self._lost:
            raise LabError(f"the client's connection: {self._lost}")
        return self._said, self._longest
