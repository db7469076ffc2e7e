"""How much memory a connection takes that does nothing.

    sh tests/in_namespace.sh .venv/bin/python -m tests.bench.idle    # some seconds

Opens :data:`COUNT` connections to a running mailguard, each of a client of its own, says EHLO on each, waits until all
that was asked about the clients has been answered, and compares resident memory (VmRSS) before and after. A few
connections came and went before, so that what is made once for all is not counted; not many, or what they left behind
would be taken again, and not be counted at all.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mailguard.lab import Lab
from mailguard.lab.guardian import session_members
from mailguard.lab.process import LabError
from mailguard.lab.rbldnsd import Rbldnsd
from tests.bench.loads import CLEAN
from tests.bench.subjects import LISTS, Mailguard, SinkProcess, can_come_from

COUNT = 800
WARM_UP = 20
SETTLED = 6.0
"""Seconds in which all questions have an answer or ran into their deadline."""


def resident(session: int) -> int:
    """VmRSS of all processes of ``session``, in octets."""
    return sum(resident_of(pid) for pid in session_members(session))


def resident_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def greeted(port: int, address: str, *, proxied: bool) -> socket.socket:
    """A connection of the client at ``address`` that has said EHLO.

    Raises:
        LabError: it is not served.
    """
    source = None if proxied else (address, 0)
    client = socket.create_connection(("127.0.0.1", port), 60, source_address=source)
    if proxied:
        client.sendall(f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode())
    client.recv(4096)
    client.sendall(b"EHLO client.example\r\n")
    if not (reply := client.recv(4096)).startswith(b"250"):
        raise LabError(f"a connection of {address} is not served: {reply!r}")
    return client


def of_one_connection(mailguard: Mailguard, addresses: Sequence[str]) -> float:
    """Octets of an idle connection."""
    before = 0
    for some in (addresses[:WARM_UP], addresses[WARM_UP:]):
        before = resident(mailguard.process.pid)
        clients = [greeted(mailguard.port, address, proxied=mailguard.proxied) for address in some]
        time.sleep(SETTLED)
        after = resident(mailguard.process.pid)
        for client in clients:
            client.close()
        time.sleep(1.0)
    return (after - before) / (len(addresses) - WARM_UP)


def main() -> None:
    """Measure and print."""
    try:
        with Lab() as lab:
            lab.server("rbldnsd", Rbldnsd, lambda folder: Rbldnsd(folder, LISTS))
            sink = lab.server("sink", SinkProcess, SinkProcess)
            dns, proxied = lab.dns().address, not can_come_from(str(CLEAN[1]))
            mailguard = lab.server("mailguard", Mailguard, lambda at: Mailguard(at, dns, sink.address, proxied=proxied))
            octets = of_one_connection(mailguard, [str(CLEAN[256 + number]) for number in range(COUNT)])
    except LabError as error:
        sys.exit(f"bench: {error}")
    sys.stdout.write(f"an idle connection: {octets / 1024:.1f} KiB, of {COUNT}\n")


if __name__ == "__main__":
    main()
