"""What mailguard is compared with: the filter that one writes in an afternoon, from stock parts, the obvious way.

aiosmtpd as it is, one lookup a list with dnspython (its cache on) when a recipient is named, and a relay of plain
asyncio streams with a Received line on top. No scanner, no metrics, one log line a message. It runs on uvloop as
mailguard does, so that the comparison is between programs and not between event loops. It does less: no deadline but
aiosmtpd's own, no bound on anything, no policy, no reverse path for what fails.

    python -m tests.bench.peer --port 2530 --dns 127.0.0.1:53 --backend 127.0.0.1:2600 --zones a.example b.example
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver
import dns.reversename
import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

BACKLOG = 1024
ENOUGH = 2
"""So many lists must agree: what the default policy's rule comes to."""

Lists = Callable[[str], Awaitable[int]]
"""Of a client's address, how many lists name it."""


def lists(server: str, zones: list[str]) -> Lists:
    """Ask ``zones`` of the resolver ``server``, all at the same time."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    host, _, port = server.rpartition(":")
    resolver.nameservers, resolver.port = [host], int(port)
    resolver.cache = dns.resolver.LRUCache()

    async def listed(name: str) -> bool:
        try:
            await resolver.resolve(name, "A")
        except dns.exception.DNSException:
            return False
        return True

    async def count(address: str) -> int:
        reverse = ".".join(reversed(address.split(".")))
        return sum(await asyncio.gather(*(listed(f"{reverse}.{zone}.") for zone in zones)))

    return count


class BackendRefused(Exception):
    """The backend answered something else than it should."""


async def relay(backend: str, sender: str, recipients: list[str], content: bytes) -> None:
    """Give a message to the backend, one command at a time.

    Raises:
        BackendRefused: it does not want it.
        OSError: it is not there.
    """
    host, _, port = backend.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def said(octets: bytes, code: bytes) -> None:
        writer.write(octets)
        await writer.drain()
        while (line := await reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(code):
            raise BackendRefused(line)

    try:
        await said(b"", b"220")
        await said(b"EHLO mx.test.invalid\r\n", b"250")
        await said(f"MAIL FROM:<{sender}>\r\n".encode(), b"250")
        for recipient in recipients:
            await said(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
        await said(b"DATA\r\n", b"354")
        await said(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n", b"250")
        await said(b"QUIT\r\n", b"221")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Handler:
    """aiosmtpd's hooks; each returns the reply."""

    def __init__(self, count: Lists, backend: str) -> None:
        self._count = count
        self._backend = backend

    async def handle_PROXY(self, server: SMTP, session: Session, envelope: Envelope, proxy: Any) -> bool:  # noqa: N802
        return True

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.lower().endswith("@example.com"):
            return "550 5.7.1 relaying denied"
        client = _client(session)
        if await self._count(client) >= ENOUGH:
            logging.info("refused client=%s recipient=%s", client, address)
            return f"554 5.7.1 client host [{client}] blocked"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content, client = envelope.content, _client(session)
        assert isinstance(content, bytes)
        received = f"Received: from {session.host_name} ([{client}])\r\n\tby mx.test.invalid with ESMTP; {formatdate()}"
        try:
            await relay(
                self._backend, envelope.mail_from or "", envelope.rcpt_tos, received.encode() + b"\r\n" + content
            )
        except (BackendRefused, OSError) as error:
            logging.warning("deferred client=%s error=%r", client, error)
            return "451 4.3.0 try again later"
        logging.info("relayed client=%s sender=%s size=%d", client, envelope.mail_from, len(content))
        return "250 2.0.0 relayed"


def _client(session: Session) -> str:
    if session.proxy_data is not None:
        return str(session.proxy_data.src_addr)
    assert session.peer is not None
    return str(session.peer[0])


async def listen(handler: Handler, port: int = 0, *, proxied: bool = False) -> asyncio.Server:
    """Serve on ``port`` of loopback; ``proxied``: every connection begins with a PROXY header."""
    loop = asyncio.get_running_loop()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))

    def session() -> SMTP:
        return SMTP(
            handler,
            loop=loop,
            hostname="mx.test.invalid",
            ident="ESMTP",
            data_size_limit=52_428_800,
            proxy_protocol_timeout=5.0 if proxied else None,
        )

    return await loop.create_server(session, sock=listening, backlog=BACKLOG)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dns", required=True)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--zones", nargs="+", required=True)
    parser.add_argument("--proxied", action="store_true")
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    handler = Handler(lists(options.dns, options.zones), options.backend)
    async with await listen(handler, options.port, proxied=options.proxied) as server:
        await server.serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's own ten lines a session
    uvloop.run(_serve(_options()))
