"""net/streams.py against real sockets whose other end the test holds."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailguard.net.streams import HIGH_WATER, Stream, StreamClosed, StreamTimeout


class Peer:
    """The other end of one connection."""

    def __init__(
        self,
        server: asyncio.Server,
        address: str,
        accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
    ) -> None:
        self.server = server
        self.address = address
        self.accepted = accepted

    async def end(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(self.accepted.get(), 10)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    ends: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield Peer(server, f"127.0.0.1:{port}", accepted)
    for writer in ends:
        writer.transport.abort()
    server.close()
    await server.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what the loop does by itself, without telling anybody
            await asyncio.sleep(0)


def soon(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.fixture
async def stream(peer: Peer) -> AsyncIterator[Stream]:
    stream = await Stream.connect(peer.address, soon())
    yield stream
    stream.abort()


async def more(stream: Stream, deadline: float) -> bytes:
    """What comes next, at least one octet."""
    while not (octets := stream.take()):
        await stream.change(deadline)
    return octets


async def received(stream: Stream, count: int) -> bytes:
    """``count`` octets, in as many pieces as they come."""
    octets = b""
    while len(octets) < count:
        octets += await more(stream, soon(30))
    return octets


async def test_octets_come_in_order_and_once(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    for octet in b"220 one\r\n250-two\r\n":
        writer.write(bytes((octet,)))
        await writer.drain()
    assert await received(stream, 18) == b"220 one\r\n250-two\r\n"
    assert not stream.received


async def test_nothing_before_the_deadline(stream: Stream) -> None:
    with pytest.raises(StreamTimeout):
        await more(stream, soon(0.01))


async def test_a_deadline_that_has_passed_still_gives_what_is_there(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    writer.write(b"one\n")
    await until(lambda: bool(stream.received))
    assert await more(stream, soon(-1)) == b"one\n"


async def test_what_was_said_before_the_end_comes_and_then_the_end(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    writer.write(b"250 ok")
    writer.close()
    assert await received(stream, 6) == b"250 ok"
    with pytest.raises(StreamClosed):
        await more(stream, soon())


async def test_what_was_said_before_a_reset_is_still_read(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    writer.write(b"552 too much\r\n")
    await writer.drain()
    await until(lambda: bool(stream.received))
    reset(writer)
    await until(lambda: bool(stream.ended))
    assert await more(stream, soon()) == b"552 too much\r\n"
    with pytest.raises(StreamClosed):
        await more(stream, soon())


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_writing_to_one_who_has_closed(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    writer.close()
    await until(lambda: bool(stream.ended))
    with pytest.raises(StreamClosed):
        stream.write(b"QUIT\r\n")


async def test_drain_waits_for_a_peer_that_does_not_read(peer: Peer, stream: Stream) -> None:
    reader, _ = await peer.end()
    octets = b"x" * (32 << 20)
    stream.write(octets)
    with pytest.raises(StreamTimeout):
        await stream.drain(soon(0.05))
    drained = asyncio.create_task(stream.drain(soon()))
    got = await asyncio.wait_for(reader.readexactly(len(octets)), 30)
    await drained
    assert got == octets


async def test_drain_ends_when_a_peer_that_does_not_read_speaks(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    stream.write(b"x" * (32 << 20))
    writer.write(b"552 too much\r\n")
    await stream.drain(soon())
    assert stream.received


async def test_a_flood_is_held_back_and_comes_whole(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    flood = b"".join(b"%06d\n" % i for i in range(200_000))
    writer.write(flood)
    await until(lambda: len(stream.received) > HIGH_WATER)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(stream.received) < 20 * HIGH_WATER
    assert await received(stream, len(flood)) == flood


async def test_abort_wakes_who_waits_and_sends_nothing_more(peer: Peer, stream: Stream) -> None:
    reader, _ = await peer.end()
    octets = b"x" * (32 << 20)
    stream.write(octets)
    waiting = asyncio.create_task(more(stream, soon()))
    await asyncio.sleep(0)
    stream.abort()
    with pytest.raises(StreamClosed):
        await waiting
    with pytest.raises(StreamClosed):
        stream.write(b".\r\n")
    got = 0
    try:
        while piece := await asyncio.wait_for(reader.read(1 << 20), 10):
            got += len(piece)
    except ConnectionResetError:
        got = min(got, len(octets) - 1)
    assert got < len(octets)


async def test_close_sends_the_last_word(peer: Peer, stream: Stream) -> None:
    reader, _ = await peer.end()
    stream.write(b"QUIT\r\n")
    stream.close()
    assert await asyncio.wait_for(reader.read(), 10) == b"QUIT\r\n"


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(StreamClosed):
            await Stream.connect(f"127.0.0.1:{unused.getsockname()[1]}", soon())


async def test_connecting_has_a_deadline() -> None:
    """A listener whose backlog is full takes no connection and refuses none."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = f"127.0.0.1:{full.getsockname()[1]}"
        taken: list[Stream] = []
        with pytest.raises(StreamTimeout):
            for _ in range(10):
                taken.append(await Stream.connect(address, soon(0.2)))  # noqa: PERF401 - it raises
        for stream in taken:
            stream.abort()


async def test_unix_sockets(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    path = tmp_path / "s"
    server = await asyncio.start_unix_server(answer, path)
    stream = await Stream.connect(f"unix:{path}", soon())
    stream.write(b"hello\n")
    assert await more(stream, soon()) == b"hello\n"
    stream.abort()
    server.close()
    await server.wait_closed()


async def test_cancelling_a_read_leaves_nothing_behind(peer: Peer, stream: Stream) -> None:
    _, writer = await peer.end()
    reading = asyncio.create_task(more(stream, soon()))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    writer.write(b"250 ok\r\n")
    assert await more(stream, soon()) == b"250 ok\r\n"
