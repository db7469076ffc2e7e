"""A way to resolvers that are tables: what each says by name and type, faults among it; and what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from mailguard.config import Dns
from mailguard.dns import wire
from mailguard.dns.resolver import Resolver
from mailguard.dns.servers import Server
from mailguard.dns.transport import Asker, Line


@dataclass(frozen=True)
class Say:
    """A reply: records in master file format."""

    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    truncated: bool = False

    def to(self, query: bytes) -> bytes:
        """The octets of this reply to ``query``."""
        asked = dns.message.from_wire(query)
        reply = dns.message.make_response(asked)
        reply.set_rcode(dns.rcode.from_text(self.rcode))
        reply.flags |= dns.flags.TC if self.truncated else 0
        for section, records in ((reply.answer, self.answer), (reply.authority, self.authority)):
            section.extend(_rrset(record) for record in records)
        return reply.to_wire()


def _rrset(record: str) -> dns.rrset.RRset:
    name, ttl, rdtype, rdata = record.split(" ", 3)
    return dns.rrset.from_text(name, int(ttl), "IN", rdtype, rdata)


SILENT = TimeoutError()
"""Silence that is over at once, as if the time for a reply had passed."""
HANGING: Literal["hanging"] = "hanging"
"""Silence in real time."""
Answerer: TypeAlias = Say | Exception | Literal["hanging"] | Callable[[bytes], list[bytes]]
"""A reply, an error of the network, silence, or a function from the query to datagrams: silence after the last."""

SOA = "example. 900 SOA ns.example. hostmaster.example. 1 3600 600 86400 300"
NXDOMAIN = Say(authority=(SOA,), rcode="NXDOMAIN")
NODATA = Say(authority=(SOA,))
SERVFAIL = Say(rcode="SERVFAIL")
REFUSED = Say(rcode="REFUSED")
FAULTS: tuple[Answerer, ...] = (SILENT, SERVFAIL, REFUSED, OSError("no route"))
"""Every way of giving no answer at once."""

Table: TypeAlias = dict[tuple[str, str], Answerer]


def says(name: str, rdtype: str, *data: str) -> Table:
    """``name`` has records of ``rdtype``."""
    return {(name, rdtype): Say(tuple(f"{name}. 60 {rdtype} {datum}" for datum in data))}


class FakeTransport:
    """Resolvers from tables.

    Args:
        table: by (name, type); what is not in it is NXDOMAIN.
        servers: a table for one server alone, by its ``host:port``.
    """

    def __init__(
        self,
        table: Mapping[tuple[str, str], Answerer] | None = None,
        servers: Mapping[str, Mapping[tuple[str, str], Answerer]] | None = None,
    ) -> None:
        self.table = dict(table or {})
        self.tcp_table: dict[tuple[str, str], Answerer] = {}
        self.servers = dict(servers or {})
        self.asked: list[tuple[str, str, str]] = []
        self.tasks: dict[Asker, asyncio.Task[None]] = {}
        self.under_way = 0
        self.most_under_way = 0
        self.gate: asyncio.Event | None = None

    @property
    def names(self) -> list[str]:
        """The names asked by UDP so far, in order."""
        return [name for way, name, _ in self.asked if way != "tcp"]

    def ask(self, server: Server, asker: Asker) -> Line:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.tasks[asker] = asyncio.create_task(self._udp(server, asker))
        return self

    def call_off(self, asker: Asker) -> None:
        if (task := self.tasks.pop(asker, None)) is not None:
            self.under_way -= 1
            task.cancel()

    async def _udp(self, server: Server, asker: Asker) -> None:
        try:
            said = await self._say(str(server), self.servers.get(str(server), self.table), asker.query)
        except Exception as error:  # noqa: BLE001  a table of faults
            self._over(asker)
            asker.refused(error)
            return
        for datagram in said:
            if wire.echoes(asker.query, datagram):
                self._over(asker)
                asker.replied(datagram)
                return

    def _over(self, asker: Asker) -> None:
        self.under_way -= 1
        del self.tasks[asker]

    async def tcp(self, server: Server, query: bytes) -> bytes:
        return (await self._say("tcp", self.tcp_table, query))[0]

    async def _say(self, way: str, table: Mapping[tuple[str, str], Answerer], query: bytes) -> list[bytes]:
        question = dns.message.from_wire(query).question[0]
        key = (question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype))
        self.asked.append((way, *key))
        if self.gate is not None:
            await self.gate.wait()
        match table.get(key, NXDOMAIN):
            case Say() as say:
                return [say.to(query)]
            case Exception() as error:
                raise error
            case "hanging":
                return []
            case answerer:
                return answerer(query)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


ONE = "127.0.0.1:5301"
"""The only server, unless the test says otherwise."""


def dns_settings(**changes: object) -> Dns:
    """Settings with which nothing is asked twice and nothing waits, but for ``changes``."""
    return Dns.model_validate({"servers": [ONE], "timeout": 20, "attempts": 1} | changes)


def resolver(transport: FakeTransport, clock: Clock | None = None, **settings: object) -> Resolver:
    """A resolver in front of ``transport``."""
    return Resolver(dns_settings(**settings), clock or Clock(), transport)


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds; the test's own time limit is the bound."""
    while not condition():  # noqa: ASYNC110 - conditions of all kinds, none of which has an event
        await asyncio.sleep(0.0005)
