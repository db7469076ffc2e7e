"""The way over real sockets on loopback: replies, strangers, refusals, TCP, and no descriptor left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from mailguard.config import Dns
from mailguard.dns import wire
from mailguard.dns.answers import Failed, Failure, Found, NotFound
from mailguard.dns.flight import Flight
from mailguard.dns.ids import Ids
from mailguard.dns.inquiry import Inquiry
from mailguard.dns.question import Question, about
from mailguard.dns.resolver import Resolver
from mailguard.dns.servers import Server, system_servers
from mailguard.dns.transport import MAX_QUESTIONS, NetworkTransport
from tests.unit.dns.fakes import Clock, Say

ANSWER = Say(("host.example. 60 A 198.18.1.10",))
CUT = Say(truncated=True)
LONG = Say(tuple(f"host.example. 60 A 198.18.{i}.{j}" for i in range(8) for j in range(250)))


class Udp(asyncio.DatagramProtocol):
    """A server that answers with ``say``, first from a socket of its own for ``stranger``."""

    def __init__(self, say: Say | None, stranger: Say | None = None) -> None:
        self.say, self.stranger = say, stranger
        self.ports: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.ports.append(addr[1])
        if self.stranger:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(self.stranger.to(data), addr)
        if self.say:
            self.transport.sendto(self.say.to(data), addr)


def bound_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        udp, stream = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
        udp.bind((host, 0))
        try:
            stream.bind(udp.getsockname())
        except OSError:  # the port is free for UDP alone
            udp.close()
            stream.close()
        else:
            return udp, stream


@asynccontextmanager
async def serving(
    say: Say | None, tcp: Callable[[bytes], bytes] | None = None, stranger: Say | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, Udp]]:
    loop = asyncio.get_running_loop()
    udp, stream = bound_pair(host)
    port = udp.getsockname()[1]
    transport, protocol = await loop.create_datagram_endpoint(lambda: Udp(say, stranger), sock=udp)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        writer.write(tcp(query) if tcp else b"")
        writer.close()

    server = await asyncio.start_server(serve, sock=stream)
    try:
        yield (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), protocol
    finally:
        server.close()
        await server.wait_closed()
        transport.close()


class Asking:
    """Asks ``question``, and keeps the replies that it is told."""

    def __init__(self, question: Question, query_id: bytes) -> None:
        self.question: Final = question
        self.query = wire.encode(question, query_id)
        self.told: list[bytes] = []

    def replied(self, reply: bytes) -> None:
        self.told.append(reply)

    def refused(self, error: Exception) -> None:
        raise error


def framed(say: Say) -> Callable[[bytes], bytes]:
    return lambda query: len(say.to(query)).to_bytes(2) + say.to(query)


def resolver(*servers: str, **settings: object) -> Resolver:
    return Resolver(Dns.model_validate({"servers": list(servers), "timeout": 20, "cache_size": 0} | settings), Clock())


async def ask(resolver: Resolver, name: str = "host.example") -> object:
    return await resolver.resolve(name, "A", asyncio.get_running_loop().time() + 30)


@pytest.fixture(autouse=True)
def _nothing_of_others() -> None:
    """What earlier tests left for the collector would close its descriptors in the middle of one that counts them."""
    gc.collect()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_question_and_its_answer_each_from_a_port_of_its_own(host: str) -> None:
    async with serving(ANSWER, host=host) as (address, server):
        before = descriptors()
        asking = resolver(address)
        for _ in range(10):
            assert await ask(asking) == Found((IPv4Address("198.18.1.10"),), 60)
        assert len(set(server.ports)) > 5
        assert descriptors() == before


async def test_questions_under_way_together_share_a_socket() -> None:
    async with serving(ANSWER) as (address, server):
        before = descriptors()
        asking = resolver(address)
        await asyncio.gather(*(ask(asking, f"h{number}.example") for number in range(20)))
        assert len(set(server.ports)) == 1
        assert descriptors() == before


async def test_one_socket_is_not_for_more_questions_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = count()
    monkeypatch.setattr(Ids, "draw", lambda _: next(numbers).to_bytes(2))  # no id twice: that takes another socket
    async with serving(ANSWER) as (address, server):
        before = descriptors()
        asking = resolver(address)
        questions = [about(f"h{number}.example", "A") for number in range(3 * MAX_QUESTIONS)]
        answers = await asking.resolve_all(questions, asyncio.get_running_loop().time() + 30)
        assert {type(answer) for answer, _ in answers} == {NotFound}
        assert [server.ports.count(port) for port in dict.fromkeys(server.ports)] == [MAX_QUESTIONS] * 3
        assert descriptors() == before


async def test_questions_of_one_id_go_by_two_sockets() -> None:
    """An id tells whose reply it is, on one socket."""
    async with serving(ANSWER) as (address, server):
        before, transport = descriptors(), NetworkTransport()
        askers = [Asking(about(name, "A"), b"\7\7") for name in ("a.example", "b.example")]
        for asker in askers:
            transport.ask(Server.parse(address), asker)
        while not all(asker.told for asker in askers):  # noqa: ASYNC110 - callbacks alone
            await asyncio.sleep(0.001)
        assert len(set(server.ports)) == 2
        assert descriptors() == before
    assert [[wire.echoes(asker.query, reply) for reply in asker.told] for asker in askers] == [[True], [True]]


async def test_a_question_called_off_leaves_those_beside_it_and_its_late_reply_is_passed_over() -> None:
    async with serving(ANSWER) as (address, server):
        before, transport = descriptors(), NetworkTransport()
        gone, waits = (
            Asking(about(name, "A"), bytes((0, number))) for number, name in enumerate(("a.example", "b.example"))
        )
        line = transport.ask(Server.parse(address), gone)
        transport.ask(Server.parse(address), waits)
        line.call_off(gone)
        line.call_off(gone)
        while len(server.ports) < 2 or not waits.told:  # noqa: ASYNC110 - callbacks alone
            await asyncio.sleep(0.001)
        assert descriptors() == before
    assert [wire.echoes(waits.query, reply) for reply in waits.told] == [True]
    assert gone.told == []


@contextmanager
def nobody() -> Iterator[int]:
    """A port where nobody hears us, and that nobody else gets meanwhile: its socket hears one peer alone (udp(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        taken.connect(("127.0.0.1", port))
        yield port


async def test_nobody_listening_is_told_to_all_that_asked_there() -> None:
    with nobody() as port:
        before, asking = descriptors(), resolver(f"127.0.0.1:{port}", timeout=3600)
        answers = await asyncio.gather(*(ask(asking, f"h{number}.example") for number in range(10)))
        assert {type(answer) for answer in answers} == {Failed}
        assert descriptors() == before


async def test_a_datagram_from_elsewhere_is_never_read() -> None:
    forged = Say(("host.example. 60 A 127.0.0.2",))
    async with serving(ANSWER, stranger=forged) as (address, _):
        assert await ask(resolver(address)) == Found((IPv4Address("198.18.1.10"),), 60)


async def test_where_nobody_listens_the_next_server_is_asked_at_once() -> None:
    with nobody() as port:
        async with serving(ANSWER) as (address, _):
            asking = resolver(f"127.0.0.1:{port}", address, timeout=3600)
            assert await ask(asking) == Found((IPv4Address("198.18.1.10"),), 60)
        failed = await ask(resolver(f"127.0.0.1:{port}"))
    assert isinstance(failed, Failed)
    assert (failed.kind, f"127.0.0.1:{port}" in failed.why) == (Failure.ERROR, True)


async def test_a_cut_reply_comes_whole_by_tcp() -> None:
    async with serving(CUT, framed(LONG)) as (address, _):
        before = descriptors()
        found = await ask(resolver(address))
        assert isinstance(found, Found)
        assert len(found.records) == 2000
        assert descriptors() <= before


@pytest.mark.parametrize(
    "tcp", [lambda query: b"", lambda query: b"\0", lambda query: b"\1\0" + query, lambda query: b"\0\0"]
)
async def test_a_broken_reply_by_tcp_is_a_failure(tcp: Callable[[bytes], bytes]) -> None:
    async with serving(CUT, tcp) as (address, _):
        failed = await ask(resolver(address))
        assert isinstance(failed, Failed)
        assert failed.kind is Failure.ERROR


async def test_cancelled_while_waiting_nothing_stays_open() -> None:
    async with serving(None) as (address, server):
        before = descriptors()
        task = asyncio.create_task(ask(resolver(address)))
        while not server.ports:  # noqa: ASYNC110 - the server is a protocol without events
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait({task})
        for _ in range(5):
            await asyncio.sleep(0)
        assert descriptors() == before


async def test_no_descriptors_left_is_a_failure_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(ANSWER) as (address, _):
        asking = resolver(address, failure_ttl=0)
        with monkeypatch.context() as patch:

            def full(*_: object) -> socket.socket:
                raise OSError(24, "Too many open files")

            patch.setattr("mailguard.dns.transport.socket.socket", full)
            failed = await NetworkError.of(asking)
        assert "Too many open files" in failed.why
        assert isinstance(await ask(asking), Found)


class NetworkError:
    """Asks and wants a failure of the network."""

    @staticmethod
    async def of(asking: Resolver) -> Failed:
        failed = await ask(asking)
        assert isinstance(failed, Failed)
        assert failed.kind is Failure.ERROR
        return failed


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 198.18.0.53\nsearch example\n", ["198.18.0.53:53"]),
        ("# x\nnameserver 2001:2::53\nnameserver 198.18.0.53\noptions edns0\n", ["[2001:2::53]:53", "198.18.0.53:53"]),
    ],
)
def test_the_servers_of_resolv_conf(tmp_path: Path, text: str, servers: list[str]) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    assert [str(server) for server in system_servers(str(path))] == servers


@pytest.mark.parametrize("text", [None, "", "search example\n", "nameserver resolver.example\n"])
def test_a_resolv_conf_without_servers_is_an_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match="resolver"):
        system_servers(str(path))


def test_a_server_is_written_as_it_is_read() -> None:
    for text in ("127.0.0.1:53", "[::1]:5353"):
        assert str(Server.parse(text)) == text


def test_the_network_is_the_way_where_none_is_given() -> None:
    assert isinstance(resolver("127.0.0.1:53")._airport.transport, NetworkTransport)


async def test_what_is_over_goes_without_the_garbage_collector() -> None:
    def left() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, Flight | Inquiry)]

    async with serving(ANSWER) as (address, _):
        asking = resolver(address)
        await ask(asking)
        gc.collect()
        gc.disable()
        try:
            before = len(left())
            for _ in range(5):
                await ask(asking)
            assert len(left()) == before
        finally:
            gc.enable()
