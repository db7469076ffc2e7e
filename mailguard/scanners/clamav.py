"""Strict client of clamd (clamd(8), "COMMANDS"): is there malware in this message?

Only three sentences are answers: ``stream: OK``, ``stream: NAME FOUND`` and ``... ERROR``, each ended by NUL because
the command began with ``z``. Silence, half a sentence or any other word is Unknown, never "clean".

What clamd gets always begins with :data:`TOP`, a kibibyte of constant header fields. clamd takes MIME parts out of
what it believes to be mail and of nothing else, and it decides that by the first 1024 octets: a message of its own
choosing could look like a tar archive there, or like nothing at all, and its attachments would pass for clean
(docs/decisions/0046).

A message that the spool holds in a file goes to clamd as a file descriptor (FILDES, over the unix socket), for which
StreamMaxLength does not apply: as a copy in a file of its own, since ours begins with what the client sent. All others
go by INSTREAM, in chunks. Where clamd cannot use the descriptor (AppArmor, a container), or there is no room for the
copy, the message is streamed after all.

What clamd could not look at whole is Unknown with cause UNSCANNABLE: over StreamMaxLength, out of its MaxScanTime, and
``Heuristics.Limits.Exceeded.*``, which it says only under ``AlertExceedsMax yes``; without that setting it calls a
message over its limits OK, so ``probe`` and the documentation ask for it.

Failure: Unknown with cause DOWN where clamd is dead, overloaded or talks nonsense. SpoolLost goes up to the caller.
Units: seconds, octets.
"""

from __future__ import annotations

import array
import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final

import pyclamd

from mailguard import config
from mailguard.facts import NOT_ASKED, Answer, Cause, Known, Unknown, VirusResult
from mailguard.scanners.bounded import Bounded
from mailguard.scanners.exchange import ScannerDown, connected, receive, send, split_address
from mailguard.spool import Content, Spool, SpoolFull

CHUNK: Final = 131_072
"""Octets of one INSTREAM chunk."""

TOP: Final = b"Received: by mailguard\r\n" + b"X-Mailguard-Padding: %b\r\n" % (b"-" * 55) * 13
"""What clamd sees first: mail beyond doubt, up to the last octet by which it tells types of files (filetypes.c,
MAGIC_BUFFER_SIZE)."""

MAX_REPLY: Final = 4096
"""Octets of one reply; a signature's name is far shorter."""

_END: Final = b"\0"
_OK: Final = re.compile(r"(?:stream|fd\[\d+\]): OK")
_FOUND: Final = re.compile(r"(?:stream|fd\[\d+\]): ([!-~]{1,512}) FOUND")
_ERROR: Final = re.compile(r"([ -~]+) ERROR")
_LIMIT: Final = re.compile(r"limit (?:reached|exceeded)", re.IGNORECASE)
_DETAIL: Final = re.compile(r"\([0-9a-fA-F]+:\d+\)$")
"""``(digest:size)`` behind a name, where clamd's ExtendedDetectionInfo is on."""


def read_reply(octets: bytes) -> Answer[VirusResult]:
    """What clamd's whole reply to one scan means."""
    if not octets.endswith(_END):
        return Unknown(f"clamav: reply cut off: {_shown(octets)}" if octets else "clamav: closed without a reply")
    text = octets[:-1].decode("latin-1")
    if _OK.fullmatch(text):
        return Known(VirusResult())
    if found := _FOUND.fullmatch(text):
        return _found(_DETAIL.sub("", found[1]))
    if error := _ERROR.fullmatch(text):
        return Unknown(f"clamav: {error[1]}", Cause.UNSCANNABLE if _LIMIT.search(error[1]) else Cause.DOWN)
    return Unknown(f"clamav: no answer: {_shown(octets)}")


def _found(name: str) -> Answer[VirusResult]:
    if name.startswith("Heuristics.Limits.Exceeded"):
        return Unknown(f"clamav: not scanned whole: {name}", Cause.UNSCANNABLE)
    return Known(VirusResult(name))


def _shown(octets: bytes) -> str:
    return ascii(octets[:80].decode("latin-1"))


def _stream(content: Content) -> Iterator[bytes]:
    yield b"zINSTREAM\0"
    for chunk in content.chunks(CHUNK):
        yield struct.pack("!L", len(chunk))
        yield chunk
    yield struct.pack("!L", 0)


@asynccontextmanager
async def _file_of(content: Content) -> AsyncIterator[int | None]:
    """Descriptor of a file with the whole of ``content``, closed at the end; None where there is no room for it."""
    with closing(content.new_file()) as spool:
        if not await _filled(spool, content):
            yield None
            return
        with spool.finish() as copy:
            yield copy.fileno()


async def _filled(spool: Spool, content: Content) -> bool:
    """Copy ``content`` into ``spool``, piece by piece, so that others go on meanwhile; whether there was room."""
    for chunk in content.chunks(CHUNK):
        try:
            spool.write(chunk)
        except SpoolFull:
            return False
        await asyncio.sleep(0)
    return True


async def _send_descriptor(connection: socket.socket, descriptor: int) -> None:
    """Hand ``descriptor`` over with one octet of data (unix(7), SCM_RIGHTS), waiting until the socket takes it."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection.sendmsg([b"\0"], rights)
        except BlockingIOError:
            writable: asyncio.Future[None] = loop.create_future()
            loop.add_writer(connection, _done, writable)
            try:
                await writable
            finally:
                loop.remove_writer(connection)
        else:
            return


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Clamav:
    """clamd behind one socket.

    Args:
        settings: address, timeout and number of connections.
        clock: seconds, for the duration of scans.
    """

    def __init__(self, settings: config.Clamav, clock: Callable[[], float]) -> None:
        self._address = settings.address
        self._bounded = Bounded("clamav", settings.connections, settings.timeout, self.alive, clock)

    @property
    def configured(self) -> bool:
        """Whether there is one to ask."""
        return self._address is not None

    async def scan(self, content: Content, deadline: float) -> Answer[VirusResult]:
        """clamd's word on ``content`` before ``deadline`` (absolute loop time); not asked where no clamd is configured.

        Raises:
            SpoolLost: the content cannot be read back.
        """
        if self._address is None:
            return NOT_ASKED
        address = self._address
        return await self._bounded.run(lambda: self._ask(address, content), deadline)

    async def alive(self) -> bool:
        """Whether clamd answers PING; the caller bounds the wait."""
        if self._address is None:
            return False
        try:
            async with connected(self._address) as connection:
                await send(connection, [b"zPING\0"])
                reply, _ = await receive(connection, MAX_REPLY, _END)
        except ScannerDown:
            return False
        return reply == b"PONG\0"

    async def _ask(self, address: str, content: Content) -> Answer[VirusResult]:
        with content.with_head(TOP, 0) as mail:
            if mail.fileno() is not None and address.startswith("unix:"):
                reply = await self._by_file(address, mail)
                if not reply.endswith(b" ERROR\0"):
                    return read_reply(reply)
            return await self._by_stream(address, mail)

    async def _by_file(self, address: str, mail: Content) -> bytes:
        """clamd's reply to FILDES, or an error in its manner where there is no file to hand over."""
        async with _file_of(mail) as descriptor:
            if descriptor is None:
                return b"no room for a copy ERROR\0"
            return await self._by_descriptor(address, descriptor)

    async def _by_stream(self, address: str, content: Content) -> Answer[VirusResult]:
        async with connected(address) as connection:
            # Whatever cut the sending short: clamd may have said why before it closed.
            cut = await send(connection, _stream(content))
            reply, _ = await receive(connection, MAX_REPLY, _END)
        if cut and reply == b"stream: OK\0":
            return Unknown(f"clamav: said OK to what it had not read: {cut}")
        return read_reply(reply)

    async def _by_descriptor(self, address: str, descriptor: int) -> bytes:
        async with connected(address) as connection:
            cut = await send(connection, [b"zFILDES\0"])
            if not cut:
                cut = await _hand_over(connection, descriptor)
            reply, _ = await receive(connection, MAX_REPLY, _END)
        if cut and not reply:
            raise ScannerDown(f"FILDES: {cut}")
        return reply


async def _hand_over(connection: socket.socket, descriptor: int) -> str:
    try:
        await _send_descriptor(connection, descriptor)
    except OSError as error:
        return str(error)
    return ""


@dataclass(frozen=True, slots=True)
class ClamdReport:
    """What a look at clamd from outside showed.

    Attributes:
        version: such as ``ClamAV 1.4.3/27700/Sat Aug  2 08:35:21 2026``; without the rest where it has no signatures
            of ClamAV's own.
        eicar: under which name it knows the EICAR test file; empty where it does not.
        stats: what it tells of itself, in several lines.
    """

    version: str
    eicar: str
    stats: str

    @property
    def detects(self) -> bool:
        """Whether it finds the test file that every scanner must find (eicar.org)."""
        return bool(self.eicar)


_RECEIVE_TRIES: Final = 5
"""pyclamd tries each receive that often, each with the whole timeout."""


def probe(address: str, timeout: float) -> ClamdReport:
    """Ask clamd for PING, VERSION, STATS and EICAR, by pyclamd: a second opinion on our own client, for doctor.

    Blocking; give it to a thread. ``timeout`` in seconds bounds each of the four questions.

    Raises:
        ScannerDown: clamd is not there, or gives no sensible reply.
    """
    client = None
    try:
        client = _pyclamd_client(address, timeout / _RECEIVE_TRIES)
        client.ping()
        version = client.version()
        stats = client.stats()
        found = client.scan_stream(client.EICAR()) or {}
    except OSError as error:  # its ConnectionError, too
        raise ScannerDown(f"{type(error).__name__}: {error}") from error
    except (ValueError, IndexError, AttributeError, TypeError) as error:  # by its parser
        raise ScannerDown(f"what it says is no answer of clamd's ({type(error).__name__}: {error})") from error
    finally:
        if (left_open := getattr(client, "clamd_socket", None)) is not None:  # by what its parser raised
            left_open.close()
    if not str(version).startswith("ClamAV "):  # pyclamd makes a text of octets that are no UTF-8, too
        raise ScannerDown(f"what it says to VERSION is no answer of clamd's: {version!r}")
    status, name = found.get("stream", ("", ""))
    return ClamdReport(str(version), name if status == "FOUND" else "", str(stats).strip())


def _pyclamd_client(address: str, timeout: float) -> Any:
    where = split_address(address)
    if isinstance(where, str):
        return pyclamd.ClamdUnixSocket(where, timeout)
    return pyclamd.ClamdNetworkSocket(*where, timeout)
