"""``make bench``: what mailguard does in one second of CPU time, without scanners, before a backend that only records.

The load and the backend share this process; mailguard is ``mailguard serve``, and only its own CPU time counts, so that
the figures hold on a busy machine too. They compare versions on one machine, not machines.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mailguard.lab import Lab, world
from mailguard.lab.mailguard import Mailguard
from tests.support.client import Client, proxy_v2
from tests.support.mail import mail, submit, transaction
from tests.support.sink import Sink

CLIENTS = 20
"""Connections at a time."""

Work = Callable[[Client], Awaitable[int]]


@dataclass(frozen=True)
class Scenario:
    """One kind of load: who connects, what each connection does, how many there are; ``work`` returns what it did."""

    name: str
    unit: str
    connections: int
    addresses: Callable[[], str]
    work: Work


async def _refused(client: Client) -> int:
    outcome = await submit(client, b"")
    assert outcome.rcpt[0].startswith(b"554 "), outcome
    return 1


def _accepted(messages: int, octets: int) -> Work:
    text = mail("\r\n".join(["x" * 78] * (octets // 80))).octets

    async def work(client: Client) -> int:
        outcome = await submit(client, text)
        for _ in range(messages - 1):
            outcome = await transaction(client, text)
        assert outcome.content.startswith(b"250 "), outcome
        return messages

    return work


def _scenarios() -> list[Scenario]:
    clean = itertools.cycle(map(str, world.MANY_CLEAN.hosts()))
    one = "198.18.1.10"
    return [
        Scenario("refused at RCPT, one client", "refusals", 2000, lambda: world.LISTED_TWICE, _refused),
        Scenario(
            "2 KB, a connection each, a new client each", "messages", 1500, lambda: next(clean), _accepted(1, 2000)
        ),
        Scenario("2 KB, a connection each, one client", "messages", 1500, lambda: one, _accepted(1, 2000)),
        Scenario("2 KB, 50 on each connection", "messages", 40, lambda: one, _accepted(50, 2000)),
        Scenario("5 MB, a connection each", "messages", 20, lambda: one, _accepted(1, 5_000_000)),
    ]


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15 of /proc/pid/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _load(scenario: Scenario, port: int) -> int:
    """Do all of it; how much was done."""
    left = itertools.repeat(None, scenario.connections)

    async def sender() -> int:
        done = 0
        for _ in left:
            async with await Client.connect("127.0.0.1", port, proxy=proxy_v2(scenario.addresses())) as client:
                done += await scenario.work(client)
                await client.command(b"QUIT")
        return done

    return sum(await asyncio.gather(*(sender() for _ in range(CLIENTS))))


async def _measure(lab: Lab) -> Table:
    table = Table(title="mailguard without scanners")
    for column in ("load", "done", "seconds", "CPU seconds", "per CPU second"):
        table.add_column(column, justify="left" if column == "load" else "right")
    async with Sink() as sink:
        settings = {
            "backends": [{"address": sink.address}],
            "policy": Path(__file__).with_name("policy.yaml"),
            "clamav": {"address": None},
            "spamassassin": {"address": None},
            "limits": {"max_connections_per_client": 1000},
        }
        mailguard = await asyncio.to_thread(lambda: Mailguard(lab.scratch / "mailguard", lab, **settings).start())
        try:
            for scenario in _scenarios():
                cpu, wall = _cpu_seconds(mailguard.process.pid), time.monotonic()
                done = await _load(scenario, mailguard.proxy_port)
                wall, cpu = time.monotonic() - wall, _cpu_seconds(mailguard.process.pid) - cpu
                rate = f"{done / cpu:,.0f} {scenario.unit}"
                table.add_row(scenario.name, str(done), f"{wall:.2f}", f"{cpu:.2f}", rate)
                sink.connections.clear()
        finally:
            mailguard.stop()
    return table


def main() -> None:
    """Measure and print."""
    with Lab() as lab:
        Console().print(asyncio.run(_measure(lab)))


if __name__ == "__main__":
    main()
