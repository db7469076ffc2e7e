"""A spool whose disk is small: a tmpfs of the process's own. What does not fit is 452, and nothing is lost by it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.mail import mail
from tests.support.sink import Sink
from tests.unit.session.serving import Place, Served

MIB = 1 << 20
DISK = 4 * MIB
"""Octets of the file system."""
MOUNT = f'mount -t tmpfs -o size={DISK} spool "$0" && exec "$@"'
LIMITS = {"max_message_memory": 65536, "min_spool_free": 0}


def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "spool", "/tmp"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _may_mount(), reason="nothing may be mounted here (it wants root)"),
]


def long(octets: int) -> bytes:
    """A message of about so many octets, with an id of its own."""
    return mail("\r\n".join("x" * 70 for _ in range(octets // 72))).octets


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


async def serve(place: Place, disk: Path, **limits: int) -> Served:
    within = ["unshare", "--mount", "sh", "-c", MOUNT, str(disk)]
    served = await place.serve(within=within, spool_dir=str(disk), limits=LIMITS | limits)
    await served.until("event=listening")
    return served


async def begun(place: Place) -> Client:
    """A client that has said EHLO."""
    client = await place.client()
    await client.reply()
    await client.command(b"EHLO mail.example.org")
    return client


async def sent(client: Client, octets: bytes, *, size: int | None = None) -> bytes:
    """The last reply to one transaction, which declares the ``size``, if any."""
    parameter = b"" if size is None else b" SIZE=%d" % size
    replies = [await client.command(b"MAIL FROM:<a@b.example>" + parameter)]
    if replies[0][-1].startswith(b"250"):
        replies.append(await client.command(b"RCPT TO:<alice@example.com>"))
        await client.send(b"BDAT %d LAST\r\n%b" % (len(octets), octets))
        replies.append(await client.reply())
    return replies[-1][-1]


def arrived(sink: Sink, *messages: bytes) -> bool:
    """Whether these arrived at the sink, whole, and nothing else."""
    return sorted(one.content[-len(octets) :] for one, octets in zip(sink.messages, messages, strict=True)) == sorted(
        messages
    )


async def test_a_disk_that_is_full_in_the_middle_of_a_message_defers_it(place: Place, disk: Path, sink: Sink) -> None:
    """No space is left (ENOSPC) in the middle of a message; that is told behind its end, in step."""
    served = await serve(place, disk)
    larger, smaller, little = long(DISK + MIB), long(DISK - MIB), long(1000)
    async with await begun(place) as client:
        assert (await sent(client, larger)).startswith(b"452 4.3.1 ")
        assert (await sent(client, little)).startswith(b"250 ")
        assert (await sent(client, smaller)).startswith(b"250 ")
    assert "No space left on device" in await served.until('event="spool failed"')
    assert arrived(sink, little, smaller)
    assert os.listdir(disk) == []


async def test_two_messages_for_the_room_of_one(place: Place, disk: Path, sink: Sink) -> None:
    """One of two that come together is deferred, and taken when it comes again."""
    await serve(place, disk)
    one, other = long(DISK - MIB), long(DISK - MIB)
    async with await begun(place) as first, await begun(place) as second:
        for client, octets in ((first, one), (second, other)):
            await client.command(b"MAIL FROM:<a@b.example>")
            await client.command(b"RCPT TO:<alice@example.com>")
            await client.send(b"BDAT %d\r\n%b" % (len(octets), octets))
        assert [(await client.reply())[-1][:3] for client in (first, second)] == [b"250", b"250"]
        answers = [(await client.command(b"BDAT 0 LAST"))[-1] for client in (first, second)]
        assert sorted(answer[:9] for answer in answers) == [b"250 2.0.0", b"452 4.3.1"]
        late, again = (first, one) if answers[0].startswith(b"452") else (second, other)
        assert (await sent(late, again)).startswith(b"250 ")
    assert arrived(sink, *((other, one) if again is one else (one, other)))


async def test_room_is_left_for_others(place: Place, disk: Path, sink: Sink) -> None:
    served = await serve(place, disk, min_spool_free=2 * MIB)
    too_long, long_enough = long(DISK - 2 * MIB + 65536), long(DISK - 3 * MIB)
    async with await begun(place) as client:
        assert (await sent(client, too_long)).startswith(b"452 4.3.1 ")
        assert "must stay free" in await served.until('event="spool failed"')
        assert (await sent(client, long_enough)).startswith(b"250 ")
    assert arrived(sink, long_enough)


async def test_what_is_declared_too_long_is_deferred_before_it_is_sent(place: Place, disk: Path, sink: Sink) -> None:
    """RFC 1870 6.1: 452 to MAIL; what stays in memory needs no room, whatever the disk is like."""
    served = await serve(place, disk, min_spool_free=2 * MIB)
    octets = long(1000)
    async with await begun(place) as client:
        refusal = await sent(client, octets, size=DISK - 2 * MIB + 65536)
        assert refusal.startswith(b"452 4.3.1 Not enough room to hold the message, try again later (")
        line = await served.until("event=message")
        assert refusal[-12:-1].decode().lstrip("(") in line
        assert await client.code(b"RCPT TO:<alice@example.com>") == 503
        assert (await sent(client, octets, size=DISK - 3 * MIB)).startswith(b"250 ")
        assert (await sent(client, octets, size=len(octets))).startswith(b"250 ")
    assert len(sink.messages) == 2
