"""A recording SMTP server on a free loopback port: the independent witness of what mailguard sends to a backend.

It keeps every octet that arrived, each command line and each message exactly, and does as the test's script says:
refuse, close, stall, answer early. It shares no code with mailguard: line splitting, unstuffing (RFC 5321 4.5.2), BDAT
(RFC 3030), STARTTLS (RFC 3207), XCLIENT and PROXY headers are done here again, the plainest way.

    async with Sink() as sink:
        sink.on("RCPT", b"550 5.1.1 unknown user")         # from now on
        sink.once("DATA", CLOSE)                           # the next one only
        sink.once("content", Stall(), b"250 2.0.0 taken")  # the end of data: hold until released, then answer
        ...
        assert sink.messages[0].content == b"..."

Stages of a script: ``connect`` (the greeting), a verb in upper case (``EHLO``, ``MAIL``, ``RCPT``, ``DATA``, ...),
``chunk`` (before the octets of a BDAT are read), ``content`` (the reply to the final dot, or to BDAT LAST).
``mid_content(octets, *steps)`` acts once so many octets of it have come. What is not in ``extensions`` is not
understood.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import TracebackType
from typing import Final, TypeAlias

TIMEOUT: Final = 20.0
"""Seconds that a test waits for an event at the sink."""
SIGNATURE_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
RELAY_PROBE: Final = b"rcpt to:<postmaster@relay-probe.invalid>"
"""Refused unless the script says otherwise: no open relay."""
EXTENSIONS: Final = (b"PIPELINING", b"SIZE 52428800", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES")
CHUNKING: Final = (*EXTENSIONS, b"CHUNKING", b"DSN")


class _Close:
    """Close the connection now (``RESET``: with a TCP reset)."""

    def __init__(self, *, hard: bool) -> None:
        self.hard = hard


CLOSE: Final = _Close(hard=False)
RESET: Final = _Close(hard=True)


class Stall:
    """Say nothing until :meth:`release`, or until the client has closed; ``deaf``: nor read, like a hung server."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.deaf = deaf
        self.reached = asyncio.Event()
        """Set once the sink stands here."""
        self._released = asyncio.Event()

    def release(self) -> None:
        """Go on with the next step."""
        self._released.set()

    async def hold(self) -> None:
        """Wait for the release."""
        self.reached.set()
        await self._released.wait()


Step: TypeAlias = bytes | _Close | Stall
"""One act: a reply (CR LF is added unless it ends in LF), a close, a stall. A reply of no octets says nothing."""
Answer: TypeAlias = "tuple[Step, ...] | Callable[[Connection, bytes], tuple[Step, ...] | Step]"


@dataclass(frozen=True)
class Proxied:
    """What a PROXY header said: ``command`` is PROXY or LOCAL; addresses are texts, empty where the header has none."""

    version: int
    command: str
    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0
    raw: bytes = b""


@dataclass
class Recorded:
    """One message that arrived whole.

    ``mail`` and ``rcpts`` are the command lines as they came, without CR LF (``rcpts``: those that the sink accepted);
    ``raw`` is the content as it came, by DATA with the final dot's line; ``content`` is it unstuffed, without that
    line; ``reply`` is what the sink answered.
    """

    mail: bytes
    rcpts: list[bytes]
    raw: bytes
    content: bytes
    reply: bytes = b""


@dataclass
class Connection:
    """One connection: all octets in ``received``, commands exactly with their line ends, how it ended."""

    proxied: Proxied | None = None
    received: bytearray = field(default_factory=bytearray)
    commands: list[bytes] = field(default_factory=list)
    messages: list[Recorded] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    mail: bytes = b""
    rcpts: list[bytes] = field(default_factory=list)
    chunks: bytes = b""
    tls: str = ""
    """The version of TLS; empty without."""
    end: str = ""
    """``quit``, ``eof`` (the client closed), ``reset``, ``closed`` (by the script)."""

    @property
    def verbs(self) -> list[str]:
        """The verbs of the commands in order."""
        return [verb(line) for line in self.commands]


def verb(line: bytes) -> str:
    """The verb of a command line, in upper case."""
    return line.split(maxsplit=1)[0].decode("latin-1").upper() if line.strip() else ""


def unstuffed(raw: bytes) -> bytes:
    """``raw``, which ends in the final dot's line, as the message it stands for (RFC 5321 4.5.2), line by line."""
    lines = raw.split(b"\r\n")
    assert lines[-2:] == [b".", b""], "the end of data is a line holding one dot"
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:-2])


class _Ended(Exception):
    """The connection is over; the argument is how."""


class Sink:
    """The server. ``proxy``: every connection begins with a PROXY header; ``extensions``: the EHLO keywords offered;
    ``tls``: our certificate, without which there is no STARTTLS.

    ``connections`` holds every connection, ``messages`` every message in order of arrival.
    """

    def __init__(
        self,
        *,
        proxy: bool = True,
        extensions: tuple[bytes, ...] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.proxy = proxy
        self.extensions = extensions
        self.tls = tls
        self.connections: list[Connection] = []
        self._always: dict[str, Answer] = {}
        self._next: defaultdict[str, list[Answer]] = defaultdict(list)
        self._mid: tuple[int, tuple[Step, ...]] | None = None
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    # -- the script

    def on(self, stage: str, *steps: Step | Callable[[Connection, bytes], tuple[Step, ...] | Step]) -> None:
        """From now on do ``steps`` at ``stage``; a single function is asked with connection and command line."""
        self._always[stage] = steps[0] if len(steps) == 1 and callable(steps[0]) else steps  # type: ignore[assignment]

    def once(self, stage: str, *steps: Step) -> None:
        """Do ``steps`` at the next ``stage`` only; further calls queue up."""
        self._next[stage].append(steps)

    def mid_content(self, octets: int, *steps: Step) -> None:
        """Once, in the next content of which ``octets`` octets have arrived, do ``steps``."""
        self._mid = (octets, steps)

    def forget(self) -> None:
        """Do as at the beginning, as though nothing had been seen."""
        self._always.clear()
        self._next.clear()
        self._mid = None
        for connection in self.connections:
            connection.messages.clear()
            connection.commands.clear()

    # -- what was seen

    @property
    def messages(self) -> list[Recorded]:
        """Every message whose final dot arrived, whatever was answered."""
        return [message for connection in self.connections for message in connection.messages]

    @property
    def commands(self) -> list[bytes]:
        """Every command line of every connection, with its line end."""
        return [line for connection in self.connections for line in connection.commands]

    @property
    def port(self) -> int:
        """The port listened on; it stays the same over :meth:`stop` and :meth:`start`."""
        return self._port

    @property
    def address(self) -> str:
        """``host:port``, as settings write it."""
        return f"127.0.0.1:{self._port}"

    async def until(self, condition: Callable[[Sink], bool]) -> None:
        """Wait until ``condition(sink)`` holds; it is looked at after every event.

        Raises:
            TimeoutError: it did not come to hold in :data:`TIMEOUT` seconds.
        """
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def seen(self, stage: str, times: int = 1) -> None:
        """Wait until the verb ``stage`` was seen ``times`` times in all; ``content``: final dots, ``end``: ends."""
        await self.until(lambda sink: sink._count(stage) >= times)

    def _count(self, stage: str) -> int:
        if stage == "content":
            return len(self.messages)
        if stage == "connect":
            return len(self.connections)
        if stage == "end":
            return sum(bool(connection.end) for connection in self.connections)
        return sum(verb(line) == stage for line in self.commands)

    # -- the server

    async def start(self) -> None:
        """Listen; on the earlier port if there was one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, backlog=1024, limit=1 << 20)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection, as a killed server does."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Sink:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection()
        self.connections.append(connection)
        try:
            await _Serving(self, connection, reader, writer).run()
        except _Ended as ended:
            connection.end = str(ended)
        except asyncio.CancelledError:
            # A stopped sink: not raised further, asyncio's own accept callback would log it as an error.
            connection.end = "closed"
            writer.transport.abort()
        except (ConnectionError, OSError):
            connection.end = "reset"
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()
            await self.notify()

    async def notify(self) -> None:
        """Wake those in :meth:`until`."""
        async with self._changed:
            self._changed.notify_all()

    def steps(self, stage: str, connection: Connection, line: bytes, default: bytes) -> tuple[Step, ...]:
        """What the script says for ``stage``."""
        answer = self._next[stage].pop(0) if self._next[stage] else self._always.get(stage, (default,))
        if callable(answer):
            result = answer(connection, line)
            return result if isinstance(result, tuple) else (result,)
        return answer

    def mid_steps(self, octets: int) -> tuple[Step, ...]:
        """The steps of :meth:`mid_content` once it is their time."""
        if self._mid is None or octets < self._mid[0]:
            return ()
        steps, self._mid = self._mid[1], None
        return steps


@dataclass
class _Serving:
    """The dialogue of one connection."""

    sink: Sink
    seen: Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    buffer: bytearray = field(default_factory=bytearray)

    async def run(self) -> None:
        await self.sink.notify()
        await self.read_proxy_header()
        await self.do("connect", b"", b"220 sink.example ESMTP")
        while True:
            line = await self.read_line()
            self.seen.commands.append(line)
            await self.sink.notify()
            await self.command(line)

    async def command(self, line: bytes) -> None:
        name = verb(line)
        handler = getattr(self, f"do_{name.lower()}", None)
        if handler is not None and self.offered(name):
            await handler(line)
        else:
            await self.do(name, line, b"250 2.0.0 ok" if name in ("RSET", "NOOP") else b"500 5.5.2 what")

    def offered(self, name: str) -> bool:
        words = {verb(extension) for extension in self.sink.extensions}
        return {"BDAT": "CHUNKING" in words, "XCLIENT": "XCLIENT" in words, "STARTTLS": bool(self.sink.tls)}.get(
            name, True
        )

    async def do_ehlo(self, line: bytes) -> None:
        starttls = (b"STARTTLS",) if self.sink.tls and not self.seen.tls else ()
        lines = (b"sink.example greets you", *self.sink.extensions, *starttls)
        last = len(lines) - 1
        offer = b"".join(b"250%b%b\r\n" % (b" " if i == last else b"-", text) for i, text in enumerate(lines))
        await self.do("EHLO", line, offer)

    async def do_mail(self, line: bytes) -> None:
        if (await self.do("MAIL", line, b"250 2.1.0 sender ok")).startswith(b"2"):
            self.seen.mail, self.seen.rcpts = line.removesuffix(b"\r\n"), []

    async def do_rcpt(self, line: bytes) -> None:
        default = b"250 2.1.5 recipient ok" if self.seen.mail else b"503 5.5.1 MAIL first"
        if line.lower().startswith(RELAY_PROBE):
            default = b"550 5.7.1 relaying denied"
        if (await self.do("RCPT", line, default)).startswith(b"2"):
            self.seen.rcpts.append(line.removesuffix(b"\r\n"))

    async def do_rset(self, line: bytes) -> None:
        self.seen.mail, self.seen.rcpts = b"", []
        await self.do("RSET", line, b"250 2.0.0 reset")

    async def do_data(self, line: bytes) -> None:
        default = b"354 go on" if self.seen.rcpts else b"503 5.5.1 RCPT first"
        if not (await self.do("DATA", line, default)).startswith(b"354"):
            return
        raw = await self.read_content()
        message = Recorded(self.seen.mail, self.seen.rcpts, raw, unstuffed(raw))
        self.seen.messages.append(message)
        self.seen.mail, self.seen.rcpts = b"", []
        await self.sink.notify()
        message.reply = await self.do("content", b".\r\n", b"250 2.0.0 taken")

    async def do_bdat(self, line: bytes) -> None:
        """RFC 3030 2: the octets are read whatever is said to them."""
        words = line.split()
        await self.do("chunk", line, b"")
        chunk = await self.read_chunk(int(words[1]))
        self.seen.chunks += chunk
        if words[2:] != [b"LAST"]:
            await self.do("BDAT", line, b"250 2.0.0 go on")
            return
        raw, self.seen.chunks = self.seen.chunks, b""
        if not self.seen.rcpts:
            await self.do("BDAT", line, b"503 5.5.1 RCPT first")
            return
        message = Recorded(self.seen.mail, self.seen.rcpts, raw, raw)
        self.seen.messages.append(message)
        self.seen.mail, self.seen.rcpts = b"", []
        await self.sink.notify()
        message.reply = await self.do("content", line, b"250 2.0.0 taken")

    async def do_xclient(self, line: bytes) -> None:
        self.seen.mail, self.seen.rcpts = b"", []
        await self.do("XCLIENT", line, b"220 sink.example ESMTP")

    async def do_starttls(self, line: bytes) -> None:
        assert self.sink.tls is not None
        if not (await self.do("STARTTLS", line, b"220 2.0.0 go on")).startswith(b"220"):
            return
        self.buffer.clear()
        try:
            await self.writer.start_tls(self.sink.tls)
        except ssl.SSLError:
            raise _Ended("no handshake") from None
        self.seen.tls = self.writer.get_extra_info("ssl_object").version()

    async def do_quit(self, line: bytes) -> None:
        await self.do("QUIT", line, b"221 2.0.0 bye")
        raise _Ended("quit")

    # -- acts

    async def do(self, stage: str, line: bytes, default: bytes) -> bytes:
        return await self.act(self.sink.steps(stage, self.seen, line, default))

    async def act(self, steps: tuple[Step, ...]) -> bytes:
        said = b""
        for step in steps:
            if isinstance(step, Stall):
                await self.stall(step)
            elif isinstance(step, _Close):
                self.close(hard=step.hard)
            elif step:
                said = step if step.endswith(b"\n") else step + b"\r\n"
                self.seen.sent.append(said)
                self.writer.write(said)
                await self.writer.drain()
        return said

    async def stall(self, step: Stall) -> None:
        if step.deaf:
            await step.hold()
            return
        held = asyncio.create_task(step.hold())
        left = asyncio.create_task(self.watch_for_eof())
        try:
            await asyncio.wait((held, left), return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                left.result()
        finally:
            for task in (held, left):
                task.cancel()
            await asyncio.gather(held, left, return_exceptions=True)

    async def watch_for_eof(self) -> None:
        while True:
            await self.more()

    def close(self, *, hard: bool) -> None:
        if hard:
            self.writer.transport.abort()
        raise _Ended("closed")

    # -- octets

    async def more(self) -> None:
        octets = await self.reader.read(65536)
        if not octets:
            raise _Ended("eof")
        self.seen.received += octets
        self.buffer += octets

    def take(self, count: int) -> bytes:
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def read_line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            await self.more()
        return self.take(end + 2)

    async def read_exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            await self.more()
        return self.take(count)

    async def read_chunk(self, count: int) -> bytes:
        while True:
            await self.act(self.sink.mid_steps(len(self.buffer)))
            if len(self.buffer) >= count:
                return self.take(count)
            await self.more()

    async def read_content(self) -> bytes:
        searched = 0
        while True:
            await self.act(self.sink.mid_steps(len(self.buffer)))
            if self.buffer.startswith(b".\r\n"):
                return self.take(3)
            end = self.buffer.find(b"\r\n.\r\n", searched)
            if end >= 0:
                return self.take(end + 5)
            searched = max(0, len(self.buffer) - 4)
            await self.more()

    # -- PROXY protocol 2.1 and 2.2

    async def read_proxy_header(self) -> None:
        if not self.sink.proxy:
            return
        start = await self.read_exactly(1)
        if start == b"P":
            line = start + await self.read_line()
            self.seen.proxied = self.version1(line)
        else:
            head = start + await self.read_exactly(15)
            assert head.startswith(SIGNATURE_V2), f"no PROXY header: {head!r}"
            self.seen.proxied = self.version2(head, await self.read_exactly(struct.unpack("!H", head[14:16])[0]))
        await self.sink.notify()

    @staticmethod
    def version1(line: bytes) -> Proxied:
        words = line.decode("ascii").split()
        assert words[0] == "PROXY", f"no PROXY header: {line!r}"
        if words[1] == "UNKNOWN":
            return Proxied(1, "PROXY", raw=line)
        return Proxied(1, "PROXY", words[2], int(words[4]), words[3], int(words[5]), raw=line)

    @staticmethod
    def version2(head: bytes, body: bytes) -> Proxied:
        assert head[12] >> 4 == 2, f"PROXY version {head[12] >> 4}"
        command = {0: "LOCAL", 1: "PROXY"}[head[12] & 0x0F]
        width = {0x11: 4, 0x21: 16}.get(head[13], 0)
        if command == "LOCAL" or not width:
            return Proxied(2, command, raw=head + body)
        source, destination = (str(ip_address(body[i : i + width])) for i in (0, width))
        ports = struct.unpack("!HH", body[2 * width : 2 * width + 4])
        return Proxied(2, command, source, ports[0], destination, ports[1], raw=head + body)
