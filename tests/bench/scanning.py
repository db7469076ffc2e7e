"""mailguard with clamd and spamd: what it costs beside them, and whether it keeps spamd busy.

    sh tests/in_namespace.sh .venv/bin/python -m tests.bench.scanning            # a minute and a half
    sh tests/in_namespace.sh .venv/bin/python -m tests.bench.scanning --write    # and into docs/performance.md

spamd is driven in turn by mailguard and directly, each with two messages a child at a time, so that a child which is
done finds the next one waiting. Directly it is asked what mailguard asks: a request of mailguard's is recorded on its
way to spamd, and said again with other clients' addresses. Header fields decide what spamd does: without Return-Path,
for one, it knows no sender to ask SPF about. Clients are new at each message, for it asks lists about them, too; the
policy is the shipped one, whole.

Here spamd may have as many children as there are cores, and whatever else runs takes time from them. Whether mailguard
lets them wait, rather than takes from them, shows where each has only a share of a core; and, however busy the machine
is, by how many requests spamd has in hand (:func:`supplied`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Final

from typing_extensions import override

from mailguard.lab import Lab
from mailguard.lab.clamd import Clamd
from mailguard.lab.guardian import session_members
from mailguard.lab.process import LabError
from mailguard.lab.spamd import Spamd
from mailguard.scanners.spamd_protocol import BadReply, parse_reply, request
from tests.bench.loads import Load
from tests.bench.quota import NoQuota, limited
from tests.bench.rounds import RunFailed, cpu_seconds, work
from tests.bench.sections import PAGE, with_section
from tests.bench.subjects import POOLED, Mailguard, Shape
from tests.bench.world import Bench

CHILDREN: Final = 2
MESSAGES: Final = 40
ROUNDS: Final = 5
SHARE: Final = 0.6
"""Of a core, for each child of spamd, so that all else has what it wants of two cores."""
APART: Final = 3
"""Pairs of rounds with that share."""
TIMEOUT: Final = 60.0
LOAD: Final = Load("relay 4 KB, scanned", connections=MESSAGES, at_once=2 * CHILDREN, clients=0)


@dataclass(frozen=True)
class Pair:
    """A round through mailguard and one without it.

    Attributes:
        mailguard: its CPU seconds a message.
        clamd: the same of clamd.
        spamd: the same of spamd.
        through: messages a second.
        alone: CPU seconds a message of spamd, driven directly.
        direct: messages a second then.
    """

    mailguard: float
    clamd: float
    spamd: float
    through: float
    alone: float
    direct: float

    @property
    def busy(self) -> float:
        """Throughput by that of spamd alone."""
        return self.through / self.direct


@dataclass(frozen=True)
class Scanning:
    """Attributes:
    pairs: of rounds.
    supplied: share of the time in which spamd had a request for each child, through mailguard.
    apart: pairs of rounds with :data:`SHARE`, none where that cannot be had.
    """

    pairs: Sequence[Pair]
    supplied: float
    apart: Sequence[Pair] = ()


class _Recorder(ThreadingTCPServer):
    """Passes requests on to the spamd on ``port``; keeps them, and from when to when each was in its hands."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Recording)
        self.port = port
        self.requests: list[bytes] = []
        self.spans: list[tuple[float, float]] = []


class _Recording(StreamRequestHandler):
    server: _Recorder

    @override
    def handle(self) -> None:
        began = time.perf_counter()
        head = b"".join(iter(self.rfile.readline, b"\r\n"))
        lengths = [line.partition(b":")[2] for line in head.splitlines() if line.lower().startswith(b"content-length:")]
        asked = head + b"\r\n" + self.rfile.read(int(lengths[0]) if lengths else 0)
        self.server.requests.append(asked)
        with _connected(self.server.port) as spamd, spamd.makefile("rb") as answer:
            spamd.sendall(asked)
            shutil.copyfileobj(answer, self.wfile)
        self.server.spans.append((began, time.perf_counter()))


def supplied(spans: Sequence[tuple[float, float]], children: int) -> float:
    """The share of the time, from the first request to the last, in which ``children`` or more were in hand.

    Args:
        spans: of each request, when it came and when it was answered.
        children: of spamd.
    """
    first, last = min(came for came, _ in spans), max(came for came, _ in spans)
    changes = sorted([(came, 1) for came, _ in spans] + [(min(answered, last), -1) for _, answered in spans])
    in_hand, since, enough = 0, first, 0.0
    for moment, change in changes:
        enough += (moment - since) * (in_hand >= children)
        in_hand, since = in_hand + change, moment
    return enough / (last - first)


class Requests:
    """What spamd is asked about a message, for any client: as mailguard asked for the client ``recorded_for``.

    Raises:
        LabError: it was asked in another way than is known here.
    """

    def __init__(self, recorded: bytes, recorded_for: str) -> None:
        self._message = recorded.partition(b"\r\n\r\n")[2]
        self._client = _literal(recorded_for)
        if self._message.count(self._client) != 1 or self.about(recorded_for) != recorded:
            raise LabError(f"mailguard asked spamd in another way: {recorded[:400]!r}")

    def about(self, client: str) -> bytes:
        """The request about the message of ``client``."""
        return b"".join(request("HEADERS", self._message.replace(self._client, _literal(client))))


def _literal(client: str) -> bytes:
    return f"[{client}]".encode()


class _Scanners:
    """The servers of this measurement, started, and the addresses of clients that were not there yet."""

    def __init__(self, lab: Lab, bench: Bench) -> None:
        self._bench = bench
        self._turns = count()
        self._clamd: Clamd = lab.clamd()
        self.spamd = lab.server("spamd", Spamd, lambda at: Spamd(at, bench.dns, CHILDREN))
        self._requests, self.supplied = self._recorded()
        self._mailguard = self._started(Shape("mailguard, scanning", POOLED.workers, POOLED.client_identity))
        self._through(LOAD.scaled(0.1))

    def pair(self, load: Load, *, mailguard_first: bool) -> Pair:
        """A round each."""
        through = self._through(load) if mailguard_first else None
        alone, direct = self._directly(load)
        return Pair(*(through or self._through(load)), alone, direct)

    def _started(self, shape: Shape, port: int = 0) -> Mailguard:
        """mailguard with both scanners; ``port``: of spamd, where it is not its own."""
        spamassassin = {
            "address": f"127.0.0.1:{port or self.spamd.port}",
            "connections": CHILDREN,
            "rule_dirs": [str(folder) for folder in self.spamd.rule_dirs],
        }
        return self._bench.mailguard(shape, clamav={"address": self._clamd.address}, spamassassin=spamassassin)

    def _recorded(self) -> tuple[Requests, float]:
        """How mailguard asks, and what :func:`supplied` tells of it."""
        load = LOAD.scaled(0.5)
        clients = load.addresses(next(self._turns))
        with _Recorder(self.spamd.port) as recorder, _serving(recorder):
            mailguard = self._started(
                Shape("mailguard, recorded", POOLED.workers, POOLED.client_identity), recorder.server_address[1]
            )
            work(self._bench.sink, mailguard, load, clients)
            mailguard.stop()
        asked = next(each for each in recorder.requests if _literal(clients[0]) in each)
        return Requests(asked, clients[0]), supplied(recorder.spans, CHILDREN)

    def _through(self, load: Load) -> tuple[float, float, float, float]:
        """What :class:`Pair` tells of a round through mailguard."""
        sessions = [server.process.pid for server in (self._mailguard, self._clamd, self.spamd)]
        before = [cpu_seconds(session) for session in sessions]
        seen = work(self._bench.sink, self._mailguard, load, load.addresses(next(self._turns)))
        after = [cpu_seconds(session) for session in sessions]
        mailguard, clamd, spamd = ((end - begin) / load.work for begin, end in zip(before, after, strict=True))
        return mailguard, clamd, spamd, load.work / seen.seconds

    def _directly(self, load: Load) -> tuple[float, float]:
        """What it tells of a round without it."""
        requests = [self._requests.about(client) for client in load.addresses(next(self._turns))]
        session = self.spamd.process.pid
        before, began = cpu_seconds(session), time.perf_counter()
        with ThreadPoolExecutor(load.at_once) as pool:
            list(pool.map(partial(_ask, self.spamd.port), requests))
        seconds = time.perf_counter() - began
        return (cpu_seconds(session) - before) / load.work, load.work / seconds


def _ask(port: int, asked: bytes) -> None:
    """Have the spamd on ``port`` answer one request."""
    with _connected(port) as spamd, spamd.makefile("rb") as answer:
        spamd.sendall(asked)
        reply = answer.read()
    try:
        parse_reply(reply)
    except BadReply as error:
        raise LabError(f"spamd, asked directly: {error}") from error


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT)


@contextmanager
def _serving(recorder: _Recorder) -> Iterator[None]:
    thread = Thread(target=recorder.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        recorder.shutdown()
        thread.join()


def scanning(lab: Lab, bench: Bench) -> Scanning:
    """Measure it.

    Raises:
        RunFailed: a message was not taken.
        LabError: a server did not start, or spamd did not answer.
    """
    scanners = _Scanners(lab, bench)
    pairs = _pairs(scanners, LOAD, ROUNDS)
    scanners.spamd.stop()
    scanners.spamd.start()  # so that no child comes to its last message meanwhile: another one would have no share
    try:
        with limited(session_members(scanners.spamd.process.pid), SHARE):
            return Scanning(pairs, scanners.supplied, _pairs(scanners, LOAD.scaled(SHARE), APART))
    except NoQuota as error:
        print(f"bench: spamd is not limited: {error}", file=sys.stderr)
        return Scanning(pairs, scanners.supplied)


def _pairs(scanners: _Scanners, load: Load, rounds: int) -> list[Pair]:
    """Each way comes first in turn, so that none is always behind the other."""
    return [scanners.pair(load, mailguard_first=number % 2 == 0) for number in range(rounds)]


HEADING: Final = "## With scanners"
_SECTION: Final = """\
{heading}

The shipped policy whole, clamd and spamd ({children} children), messages of 4 KB from new clients, {at_once} at once.
{rounds} pairs of rounds: one through mailguard, one with the requests that it makes straight to spamd, as many at once.

* CPU time a message: mailguard {mailguard:.1f} ms, clamd {clamd:.1f} ms, spamd {spamd:.0f} ms; mailguard's is
  {share:.1f}% of spamd's. spamd driven directly: {alone:.0f} ms.
* {through:.1f} messages a second, and {direct:.1f} by spamd driven directly: {busy} of it. spamd's
  children have {had:.0f}% of the {cores} cores' time through mailguard, and {had_alone:.0f}% driven directly.
* From the first request to the last spamd had one for each child in hand {supplied:.1f}% of the time.
{apart}"""
_APART: Final = """\
* Where each child of spamd has {limit} of a core at the most, so that all else takes nothing from it: {busy} of it.
"""


def section(found: Scanning) -> str:
    """The section of docs/performance.md: medians, and of ratios the least and the greatest."""
    pairs, cores = found.pairs, len(os.sched_getaffinity(0))
    apart = _APART.format(limit=SHARE, busy=_busy(found.apart)) if found.apart else ""
    return _SECTION.format(
        heading=HEADING,
        children=CHILDREN,
        at_once=LOAD.at_once,
        rounds=len(pairs),
        mailguard=_median(pair.mailguard for pair in pairs) * 1e3,
        clamd=_median(pair.clamd for pair in pairs) * 1e3,
        spamd=_median(pair.spamd for pair in pairs) * 1e3,
        share=_median(pair.mailguard / pair.spamd for pair in pairs) * 100,
        alone=_median(pair.alone for pair in pairs) * 1e3,
        through=_median(pair.through for pair in pairs),
        direct=_median(pair.direct for pair in pairs),
        busy=_busy(pairs),
        had=_median(pair.spamd * pair.through for pair in pairs) / cores * 100,
        had_alone=_median(pair.alone * pair.direct for pair in pairs) / cores * 100,
        cores=cores,
        supplied=found.supplied * 100,
        apart=apart,
    )


def _busy(pairs: Sequence[Pair]) -> str:
    ratios = [pair.busy for pair in pairs]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scanning")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    options = parser.parse_args()
    try:
        with Lab() as lab:
            found = scanning(lab, Bench(lab))
    except (RunFailed, LabError) as error:
        sys.exit(f"bench: {error}")
    for pair in (*found.pairs, *found.apart):
        print(pair, f"{pair.busy:.3f}", file=sys.stderr)
    text = section(found)
    print(text)
    if options.write:
        PAGE.write_text(with_section(PAGE.read_text(), text))


if __name__ == "__main__":
    main()
