"""Some minutes of mail of all kinds before two nodes of a real mailguard, and what goes wrong meanwhile.

Nothing in the pictures is made up: clamd stops for a while, a list does not answer for a while, a policy is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

from mailguard.lab import Lab, world
from mailguard.lab.mailguard import Mailguard
from mailguard.lab.prometheus import Prometheus
from mailguard.lab.rbldnsd import Rbldnsd
from tests.pictures.series import Period
from tests.support import certificates
from tests.support.client import Client, proxy_v2
from tests.support.mail import EICAR, GTUBE, mail, submit, transaction

SECONDS: Final = 180
"""How long mail flows."""
CLAMD_DOWN: Final = (50.0, 62.0)
LIST_SILENT: Final = (90.0, 110.0)
LOAD: Final = 135.0
OBSERVE: Final = 150.0
"""When, in seconds from the start, clamd is gone, SpamCop is silent, the policy is loaded anew, the second node only
observes (for :data:`OBSERVED`)."""
OBSERVED: Final = "20s"
SENDERS: Final = 4
SAMPLE: Final = "sample: {share: 0.25, folder: Junk}\n"
DEFAULT: Final = Path(__file__).parents[2] / "policies/default.yaml"

BODIES: Final = ("Hello.",) * 14 + (GTUBE, GTUBE, EICAR, "word " * 4000)
_CLEAN = cycle(map(str, world.MANY_CLEAN.hosts()))
_ON_BOTH = cycle(f"198.18.67.{last}" for last in range(1, 100))
_ON_ONE = cycle(("198.18.66.9", world.LISTED_BY_SPAMCOP, world.LISTED_AND_WELCOME, "198.18.7.99"))
_ZEN_TOO = f"{world.ZEN_IP4}198.18.67.0/24 :127.0.0.4:XBL $\n"
"""What SpamCop has all of in the laboratory's world, and zen as well."""


@dataclass
class Watched:
    """Two nodes and the Prometheus that watches them."""

    lab: Lab
    nodes: list[Mailguard]
    prometheus: Prometheus


@contextlib.contextmanager
def watched(lab: Lab) -> Iterator[Watched]:
    """All servers, ready."""
    lists = {**world.LISTS, world.ZEN: {**world.LISTS[world.ZEN], "ip4set": _ZEN_TOO}}
    lab.server("rbldnsd", Rbldnsd, lambda folder: Rbldnsd(folder, lists))
    nodes = [lab.server(f"mx{number}", Mailguard, lambda folder: _node(folder, lab)) for number in (1, 2)]
    targets = [f"127.0.0.1:{node.admin_port}" for node in nodes]
    rules = Path(__file__).parents[2] / "deploy/prometheus"
    files = [rules / "mailguard.recording.yml"]
    prometheus = lab.server("prometheus", Prometheus, lambda folder: _prometheus(folder, targets, files))
    yield Watched(lab, nodes, prometheus)


def _node(folder: Path, lab: Lab) -> Mailguard:
    folder.mkdir(exist_ok=True)
    policy = folder / "policy.yaml"
    policy.write_text(DEFAULT.read_text().replace("\nrules:\n", f"\n{SAMPLE}\nrules:\n", 1))
    journal = {"directory": str(folder / "journal")}
    return Mailguard(folder, lab, policy=policy, workers=1, journal=journal, tls=certificates.shared().settings)


def _prometheus(folder: Path, targets: list[str], files: list[Path]) -> Prometheus:
    folder.mkdir(exist_ok=True)
    return Prometheus(folder, targets, files)


async def flow(what: Watched) -> Period:
    """Send for :data:`SECONDS`, with the troubles; the period of it."""
    start, loop = time.time(), asyncio.get_running_loop()
    end = loop.time() + SECONDS
    async with asyncio.TaskGroup() as group:
        group.create_task(_troubles(what))
        for number in range(SENDERS):
            group.create_task(_sender(what, number, end))
    await asyncio.sleep(2.0)  # one more scrape
    return Period(start, time.time())


async def _sender(what: Watched, number: int, end: float) -> None:
    loop = asyncio.get_running_loop()
    for sent in range(number, 10**6, SENDERS):
        if loop.time() > end:
            return
        with contextlib.suppress(ConnectionError):
            async with _connected(what.nodes[sent // SENDERS % len(what.nodes)], _address(sent)) as client:
                await _message(client, sent)
                await client.command(b"QUIT")
        await asyncio.sleep(0.15 + 0.1 * (sent % 7) / 7)


def _recipients(sent: int) -> tuple[str, ...]:
    if sent % 13 == 0:
        return ("alice@example.com", "postmaster@example.com")
    return ("nobody@example.com",) if sent % 17 == 0 else ("alice@example.com",)


def _address(sent: int) -> str:
    """Of six clients two are on both lists, one on one."""
    return next((_ON_BOTH, _CLEAN, _CLEAN, _ON_BOTH, _ON_ONE, _CLEAN)[sent % 6])


async def _message(client: Client, sent: int) -> None:
    """One message; each fifth of its sender in TLS."""
    octets = mail(BODIES[sent // SENDERS % len(BODIES)]).octets
    if sent % 5:
        await submit(client, octets, *_recipients(sent))
        return
    await client.reply()
    await client.command(b"EHLO mail.example.org")
    await client.starttls(certificates.trusting(certificates.shared()))
    await client.command(b"EHLO mail.example.org")
    await transaction(client, octets, *_recipients(sent))


@contextlib.asynccontextmanager
async def _connected(node: Mailguard, address: str) -> AsyncIterator[Client]:
    host, port = "127.0.0.1", node.proxy_port
    async with await Client.connect(host, port, proxy=proxy_v2(address)) as client:
        yield client


async def _troubles(what: Watched) -> None:
    start = time.monotonic()

    async def at(second: float) -> None:
        await asyncio.sleep(max(0.0, start + second - time.monotonic()))

    await at(CLAMD_DOWN[0])
    await asyncio.to_thread(what.lab.clamd().stop)
    await at(CLAMD_DOWN[1])
    await asyncio.to_thread(what.lab.clamd().start)
    await at(LIST_SILENT[0])
    await asyncio.to_thread(what.lab.dns().break_zone, world.SPAMCOP, "silent")
    await at(LIST_SILENT[1])
    await asyncio.to_thread(what.lab.dns().heal_zone, world.SPAMCOP)
    await at(LOAD)
    for node in what.nodes:
        policy = node.folder / "policy.yaml"
        policy.write_text(policy.read_text() + "# the same policy, loaded anew\n")
        await asyncio.to_thread(_command, node, "reload")
    await at(OBSERVE)
    await asyncio.to_thread(_command, what.nodes[1], "observe", "--for", OBSERVED)


def _command(node: Mailguard, *words: str) -> None:
    command = [sys.executable, "-m", "mailguard", *words, "--config", str(node.configuration)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
