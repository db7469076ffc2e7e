"""mailguard with clamd and spamd: what it costs beside them, and whether it keeps spamd busy.

spamd is driven in turn by mailguard, which is given two messages a child at a time, and directly by as many connections
as it has children, with the same messages. Clients are new at each message, for spamd asks lists about them, too; the
policy is the shipped one, whole.
"""

from __future__ import annotations

import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from mailguard.lab import Lab
from mailguard.lab.process import LabError
from mailguard.lab.spamd import Spamd
from tests.bench.loads import Load, message
from tests.bench.rounds import cpu_seconds, work
from tests.bench.subjects import POOLED, Shape
from tests.bench.world import Bench

CHILDREN = 2
MESSAGES = 40
ROUNDS = 3
TIMEOUT = 60.0
SCANNING = Shape("mailguard, scanning", POOLED.workers, POOLED.client_identity)
LOAD = Load("relay 4 KB, scanned", connections=MESSAGES, at_once=2 * CHILDREN, clients=0)
_TRACE = b"""\
Received: from mail.example.org (unknown [%b])\r
\tby mx.test.invalid with ESMTP id 1; Sat, 21 Nov 2026 10:00:03 +0000\r
"""


@dataclass
class Scanning:
    """CPU seconds a message of each server, and messages a second, of each round.

    ``direct``: messages a second that spamd does without mailguard, and ``direct_spamd`` its CPU seconds a message.
    """

    mailguard: list[float] = field(default_factory=list)
    clamd: list[float] = field(default_factory=list)
    spamd: list[float] = field(default_factory=list)
    through: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    direct_spamd: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """mailguard's CPU time by spamd's."""
        return statistics.median(self.mailguard) / statistics.median(self.spamd)

    @property
    def busy(self) -> float:
        """Throughput by that of spamd alone: the median of the rounds."""
        return statistics.median(a / b for a, b in zip(self.through, self.direct, strict=True))


def scanning(lab: Lab, bench: Bench) -> Scanning:
    """Measure it.

    Raises:
        RunFailed: a message was not taken.
        LabError: a server did not start, or spamd did not answer.
    """
    clamd, spamd = lab.clamd(), lab.server("spamd", Spamd, lambda at: Spamd(at, bench.dns, CHILDREN))
    mailguard = bench.mailguard(
        SCANNING,
        clamav={"address": clamd.address},
        spamassassin={
            "address": spamd.address,
            "connections": CHILDREN,
            "rule_dirs": [str(folder) for folder in spamd.rule_dirs],
        },
    )
    done, turns = Scanning(), count()
    work(bench.sink, mailguard, LOAD.scaled(0.1), LOAD.addresses(next(turns)))
    for _ in range(ROUNDS):
        sessions = [server.process.pid for server in (mailguard, clamd, spamd)]
        before = [cpu_seconds(session) for session in sessions]
        seen = work(bench.sink, mailguard, LOAD, LOAD.addresses(next(turns)))
        after = [cpu_seconds(session) for session in sessions]
        for found, end, begin in zip((done.mailguard, done.clamd, done.spamd), after, before, strict=True):
            found.append((end - begin) / LOAD.work)
        done.through.append(LOAD.work / seen.seconds)
        seconds = _directly(spamd.port, LOAD.addresses(next(turns)))
        done.direct_spamd.append((cpu_seconds(spamd.process.pid) - after[2]) / LOAD.work)
        done.direct.append(LOAD.work / seconds)
    return done


def _directly(port: int, clients: list[str]) -> float:
    """Have spamd score a message of each client, by as many connections as it has children; seconds that it took."""
    began = time.perf_counter()
    with ThreadPoolExecutor(CHILDREN) as pool:
        list(pool.map(partial(_score, port), clients))
    return time.perf_counter() - began


def _score(port: int, client: str) -> None:
    """Ask spamd about one message of ``client``, as mailguard does."""
    octets = _TRACE % client.encode() + message(LOAD.size)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client, client.makefile("rb") as answer:
        client.sendall(b"HEADERS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%b" % (len(octets), octets))
        client.shutdown(socket.SHUT_WR)
        first = answer.readline()
        answer.read()
    if b" 0 EX_OK" not in first:
        raise LabError(f"spamd answered {first!r}")
