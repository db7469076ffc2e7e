"""Idle connections and senders of one octet a second: what memory they take, and whether others are still served."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from itertools import islice

from tests.bench.idle import resident_of
from tests.soak.failure import require
from tests.soak.figures import Figures, latency
from tests.soak.link import GO_AHEAD, OK, Link
from tests.soak.place import BOUND, Place, until
from tests.soak.traffic import HELO, RECIPIENTS, SENDER, Attempt, addresses

_CROWD = IPv4Network("198.18.128.0/17")
_AT_ONCE = 100
"""Connections that are opened at the same time."""
_OCTET_EVERY = 1.0
_MAX_CONNECTIONS = 4000


@dataclass
class _Crowd:
    """Connections that say EHLO and no more, that talk slowly, and that are slow in content."""

    idle: list[Link] = field(default_factory=list)
    talking: list[Link] = field(default_factory=list)
    writing: list[Link] = field(default_factory=list)

    async def drip(self) -> None:
        """Send an octet a second on each connection that is not idle: of content, or of NOOP over and over."""
        while True:
            for octet in b"NOOP\r\n":
                for link in self.writing:
                    link.send(b"x")
                for link in self.talking:
                    link.send(bytes([octet]))
                await asyncio.sleep(_OCTET_EVERY)

    async def cut(self) -> bool:
        """Whether all slow content was cut off."""
        return all(link.ended for link in self.writing)

    def close(self) -> None:
        """Hang up."""
        for link in (*self.idle, *self.talking, *self.writing):
            link.close()


async def crowd(place: Place, idle: int, slow: int, messages: int, grace: float) -> Figures:
    """``idle`` connections that say EHLO and no more, ``slow`` that say an octet a second, half of them in content.

    Args:
        messages: of clean clients, before and meanwhile, one at a time.
        grace: ``limits.min_data_rate_grace``, after which slow content is cut off.

    Raises:
        SoakFailed: a clean client was not served, or the crowd was not treated as its bounds say.
    """
    await place.start(limits={"max_connections": _MAX_CONNECTIONS, "min_data_rate_grace": grace})
    alone = await _clean(place, messages)
    memory = [await _memory(place)]
    clients, there = addresses(_CROWD), _Crowd()
    there.idle = await _opened(place, list(islice(clients, idle)))
    memory.append(await _memory(place))
    slows = await _opened(place, list(islice(clients, slow)))
    there.writing, there.talking = slows[: slow // 2], slows[slow // 2 :]
    await _begin_content(there.writing)
    drip = asyncio.create_task(there.drip())
    try:
        meanwhile = await _clean(place, messages)
        memory.append(await _memory(place))
        await until(there.cut, "content at an octet a second is cut off", grace + BOUND)
    finally:
        await _cancelled(drip)
    codes = await _treated(place, there)
    there.close()
    await place.stop()
    figures = _told(idle, slow, memory)
    figures.tell("clean clients, alone", f"{messages} messages: {latency(alone)}")
    figures.tell("clean clients beside them", f"{messages} messages: {latency(meanwhile)}")
    figures.tell("slow content", f"{len(there.writing)}: cut off with {codes} after {grace:g} s; no other was")
    return figures


def _told(idle: int, slow: int, memory: Sequence[dict[str, int]]) -> Figures:
    figures = Figures()
    figures.tell("idle connections, slow ones", f"{idle:,}, {slow:,}")
    for name in memory[0]:
        figures.tell(f"memory of {name}", " → ".join(f"{each[name] / 1e6:.0f} MB" for each in memory))
    of_idle = sum(memory[1].values()) - sum(memory[0].values())
    figures.tell("an idle connection", f"{of_idle / idle / 1024:.0f} KiB")
    return figures


async def _begin_content(links: Sequence[Link]) -> None:
    for link in links:
        code = await link.envelope(SENDER, RECIPIENTS[:1])
        require(code == GO_AHEAD, f"DATA was answered {link.lines}")


async def _treated(place: Place, there: _Crowd) -> str:
    """That slow content was deferred, and nobody else was cut; the replies to slow content."""
    codes = {await link.reply() for link in there.writing}
    require(all(400 <= code < 500 for code in codes), f"slow content was answered {codes}")
    kept = [*there.idle, *there.talking]
    require(not any(link.ended for link in kept), "a connection was cut that kept within its bounds")
    sessions = await place.metric("sessions_in_flight")
    require(sessions >= len(kept), f"{sessions:g} sessions are counted")
    return ", ".join(map(str, sorted(codes)))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _opened(place: Place, clients: Sequence[str]) -> list[Link]:
    """Connections that have said EHLO."""

    async def one(client: str) -> Link:
        link = await Link.to(place.serving.proxy_port, client)
        code = await link.greet(HELO)
        require(code == OK, f"{client} was answered {link.lines}")
        return link

    links: list[Link] = []
    for start in range(0, len(clients), _AT_ONCE):
        links += await asyncio.gather(*(one(client) for client in clients[start : start + _AT_ONCE]))
    return links


async def _clean(place: Place, messages: int) -> list[Attempt]:
    """What came of that many messages, a connection each, one after the other: all are taken."""
    traffic = place.traffic(a_connection=1)
    async with traffic.flowing(senders=1):
        await traffic.more(messages)
    came = traffic.came_of()
    require(set(came) == {"250"}, f"clean clients were answered {dict(came)}")
    return traffic.attempts


async def _memory(place: Place) -> dict[str, int]:
    """Resident octets of each process."""
    await asyncio.sleep(1)  # what was asked about the last clients is answered, or ran into its deadline
    found = {"the supervisor": resident_of(place.pid)}
    for each in (await place.status())["processes"]:
        name = f"worker {each['slot']}" if each["role"] == "worker" else "the admin process"
        found[name] = resident_of(each["pid"])
    return found
