"""How the cost of a message grows: with idle connections beside it, lists, recipients, size, and rules.

    make bench-curves                   # some six minutes; prints the points
    make bench-curves ARGS=--write      # and writes a section of docs/performance.md, and its picture
    make bench-curves ARGS="--share 0.1 --few"    # least work at the two ends of each curve: whether it works

A point is the CPU time of all processes of one mailguard a message, the least of :data:`ROUNDS` rounds, which on a
shared machine is nearest to what it takes alone; where a peer knows the same quantity, its own beside it. Every message
goes the whole way to the sink, as in ``make bench``, or the run fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

from mailguard.cli.descriptors import connections_within, raise_limit
from mailguard.config import Limits
from mailguard.lab import Lab, world
from mailguard.lab.process import LabError
from mailguard.lab.rbldnsd import Rbldnsd
from mailguard.lab.unbound import Unbound
from mailguard.policy_files import load_settings
from tests.bench.curves_picture import PICTURE, draw
from tests.bench.idle import greeted, resident
from tests.bench.loads import CLEAN, LISTED, NEW_CLIENTS, Load, read_share
from tests.bench.micro import policy_text
from tests.bench.real_peers import Postfix
from tests.bench.report import machine
from tests.bench.rounds import WARM_UP, Figures, RunFailed, enough, one_round
from tests.bench.sections import PAGE, with_section
from tests.bench.subjects import ONE_POOLED, Mailguard, Subject, small_policy
from tests.bench.world import Bench

ROUNDS: Final = 3
IDLE: Final = (1, 10, 100, 1_000, 10_000)
LISTS: Final = (1, 3, 5, 10, 20)
RECIPIENTS: Final = (1, 3, 10, 30, 100)
SIZES: Final = (1_300, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)
"""Octets; the header section alone has some 1,200."""
RULES: Final = (10, 30, 100, 300, 1_000)
ROOM: Final = 1.25
"""Connections that are allowed to those that are idle: some are reserved, and some work."""
SPARE_FILES: Final = 2_000
"""Open files of a server beside those of its clients: to the backend, 1,000 at the most, questions, scans."""
FIRST_IDLE: Final = 20_000
"""Where in ``CLEAN`` the clients of idle connections begin; those that work come before."""
_SMALL: Final = Load("a message of 4 KB", connections=60, messages=20)


@dataclass
class Curve:
    """CPU time a message, in seconds, by quantity and server.

    Attributes:
        quantity: what grows, as the axis is called.
        points: by the server's name, those of each quantity.
        memory: octets of resident memory at each quantity, where they are told.
    """

    quantity: str
    points: dict[str, dict[int, float]] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)


class Measuring:
    """The servers of a run, and what all points have in common.

    Args:
        lab: starts them.
        share: of each round's work.
        few: the two ends of each curve alone.
    """

    def __init__(self, lab: Lab, *, share: float, few: bool) -> None:
        self.bench = Bench(lab)
        self._lab, self._share, self._few = lab, share, few
        self._turns = count()

    def quantities(self, of: tuple[int, ...]) -> tuple[int, ...]:
        """Those that are measured."""
        return (of[0], of[-1]) if self._few else of

    def mailguard(self, name: str, dns: str = "", **more: Any) -> Mailguard:
        """One of a single worker, of a policy or settings of its own."""
        resolver, sink, proxied = dns or self.bench.dns, self.bench.sink.address, self.bench.proxied
        shape = replace(ONE_POOLED, name=name)
        return self._lab.server(
            name, Mailguard, lambda at: Mailguard(at, resolver, sink, proxied=proxied, shape=shape, **more)
        )

    def peers(self) -> list[Subject]:
        """Those whose cost is shown beside ours."""
        return [peer for peer in self.bench.peers() if peer.name == Postfix.name]

    def resolver(self, zones: list[str]) -> str:
        """One that knows these lists, which name the clients of ``LISTED``."""
        content = {"ip4set": f"{world.SPAMCOP_IP4}{LISTED}\n"}
        lists = self._lab.server("many lists", Rbldnsd, lambda at: Rbldnsd(at, dict.fromkeys(zones, content)))
        return self._lab.server("unbound of many", Unbound, lambda at: Unbound(at, lists.address, zones)).address

    def cost(self, subject: Subject, load: Load) -> float:
        """CPU seconds a message of ``load``.

        Raises:
            RunFailed: a message did not arrive.
        """
        load, tried = load.scaled(self._share), Figures()
        self._round(subject, load.scaled(WARM_UP), tried)
        load = enough(load, tried)
        figures = Figures()
        for _ in range(ROUNDS):
            self._round(subject, load, figures)
        return load.amount / load.work / figures.best

    def _round(self, subject: Subject, load: Load, figures: Figures) -> None:
        one_round(self.bench.sink, subject, load, load.addresses(next(self._turns) % 25), figures)


def curves(measuring: Measuring) -> Iterator[Curve]:
    """Each curve, as soon as it is measured.

    Raises:
        RunFailed: a message did not arrive.
    """
    yield _idle(measuring)
    yield _lists(measuring)
    yield _of_loads(measuring, "recipients of a message", RECIPIENTS, lambda n: replace(_SMALL, recipients=n))
    yield _of_loads(measuring, "octets of a message", SIZES, _of_size)
    yield _rules(measuring)


def _idle(measuring: Measuring) -> Curve:
    """Idle connections of one worker, kept while it does its work beside them."""
    curve, in_memory = Curve("idle connections beside"), Limits().max_message_memory
    limits = {"max_connections": int(IDLE[-1] * ROOM), "max_message_size": in_memory, "max_message_memory": in_memory}
    files = _open_files(IDLE[-1])
    mailguard = measuring.mailguard("beside idle connections", limits=limits)
    fitting = connections_within(load_settings(mailguard.configuration), files)
    most = min(IDLE[-1], int(fitting / ROOM) // 1000 * 1000)
    with contextlib.ExitStack() as held:
        opened = 0
        for wanted in measuring.quantities((*IDLE[:-1], most)):
            for number in range(opened, wanted):
                address = str(CLEAN[FIRST_IDLE + number])
                held.enter_context(greeted(mailguard.port, address, proxied=mailguard.proxied))
            opened = wanted
            curve.points.setdefault("mailguard", {})[wanted] = measuring.cost(mailguard, _SMALL)
            curve.memory[wanted] = resident(mailguard.process.pid)
    mailguard.stop()
    return curve


def _open_files(connections: int) -> int:
    """As many open files as may be, for us and the servers that we start; root may have enough for ``connections``."""
    wanted = int(connections * ROOM) + SPARE_FILES
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < wanted:
        with contextlib.suppress(ValueError):  # who is not root may not
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    return raise_limit()


def _lists(measuring: Measuring) -> Curve:
    """DNS lists that a new client is asked about; a connection each."""
    curve, zones = Curve("lists asked about a new client"), [f"list{n}.bench.example" for n in range(LISTS[-1])]
    dns = measuring.resolver(zones)
    load = Load("a new client", connections=NEW_CLIENTS, clients=0)
    for wanted in measuring.quantities(LISTS):
        mailguard = measuring.mailguard(f"{wanted} lists", dns, policy=_policy_of_lists(zones[:wanted]))
        curve.points.setdefault("mailguard", {})[wanted] = measuring.cost(mailguard, load)
        mailguard.stop()
    return curve


def _policy_of_lists(zones: list[str]) -> dict[str, Any]:
    """The default policy with lists of these names instead of its own, which name nobody who works here."""
    dnsbl = {
        zone.partition(".")[0]: {
            "zone": zone,
            "help": "https://list.example/{client.ip}",
            "answers": {"127.0.0.2": {"weight": 2.5}},
        }
        for zone in zones
    }
    return small_policy(names=False) | {"cases": [], "dnsbl": dnsbl}


def _of_loads(measuring: Measuring, quantity: str, of: tuple[int, ...], load: Any) -> Curve:
    """The same servers, mailguard and peers, under loads that grow."""
    curve = Curve(quantity)
    mailguard = measuring.mailguard("mailguard")
    for subject in (mailguard, *measuring.peers()):
        costs = {wanted: measuring.cost(subject, load(wanted)) for wanted in measuring.quantities(of)}
        curve.points[subject.name] = costs
    return curve


def _of_size(octets: int) -> Load:
    return Load(f"{octets} octets", connections=1_000, at_once=4, size=octets)


def _rules(measuring: Measuring) -> Curve:
    """Envelope rules, none of which fires."""
    curve = Curve("rules of the policy")
    for wanted in measuring.quantities(RULES):
        mailguard = measuring.mailguard(f"{wanted} rules", policy=policy_text(wanted))
        curve.points.setdefault("mailguard", {})[wanted] = measuring.cost(mailguard, _SMALL)
        mailguard.stop()
    return curve


HEADING = "## How the cost grows"
_SECTION = """\
{heading}

Written by `make bench-curves ARGS=--write`, {date}; {machine};
load average {load:.0f}, of which some two are the measurement's own: what is above makes every figure worse.

![CPU time a message, by what grows]({picture})

{tables}

CPU time a message of all processes of a mailguard with one worker, the least of {rounds} rounds; both axes of the
picture are logarithmic. Messages have 4 KB and come 20 a connection from known clients, but for the lists: there each
comes from a new client. The connections beside have said EHLO and wait; their mailguard takes no message that would
need a file (`max_message_size` is `max_message_memory`), for a process may open {files:,} files here. A rule's
condition does not hold, so all of them are tried. What a quantity costs besides the same for every message is the slope
at the right end of its curve.
"""


def section(found: list[Curve]) -> str:
    """The section of docs/performance.md."""
    tables = "\n\n".join(_table(curve) for curve in found)
    picture = PICTURE.relative_to(PAGE.parent)
    today = datetime.now(UTC).date()
    return _SECTION.format(
        heading=HEADING,
        date=today,
        machine=machine(),
        picture=picture,
        tables=tables,
        rounds=ROUNDS,
        load=os.getloadavg()[2],
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    )


def _table(curve: Curve) -> str:
    quantities = list(next(iter(curve.points.values())))
    lines = [f"| {curve.quantity} | {' | '.join(f'{each:,}' for each in quantities)} |"]
    lines.append(f"| --- | {' | '.join('---:' for _ in quantities)} |")
    for name, points in curve.points.items():
        lines.append(f"| {name} | {' | '.join(_milliseconds(points[each]) for each in quantities)} |")
    if curve.memory:
        lines.append(f"| memory | {' | '.join(f'{curve.memory[each] / 1e6:.0f} MB' for each in quantities)} |")
    return "\n".join(lines)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.curves")
    parser.add_argument("--write", action="store_true", help="write its section of docs/performance.md and the picture")
    parser.add_argument("--few", action="store_true", help="the two ends of each curve alone")
    parser.add_argument("--share", type=read_share, default=1.0, help="of each round's work (default 1)")
    options = parser.parse_args()
    found: list[Curve] = []
    try:
        with Lab() as lab:
            for curve in curves(Measuring(lab, share=options.share, few=options.few)):
                print(_table(curve), end="\n\n", flush=True)
                found.append(curve)
    except (RunFailed, LabError) as error:
        sys.exit(f"bench: {error}")
    if options.write:
        draw({curve.quantity: curve.points for curve in found})
        PAGE.write_text(with_section(PAGE.read_text(), section(found)))


if __name__ == "__main__":
    main()
