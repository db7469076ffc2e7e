"""Every message of the corpus through the running mailguard into a backend that records octets.

clamd scans all of them, spamd the first of each structure: it is what takes the time.

Below our fields the message is the same to the last octet, and a DKIM signature made before still verifies after. The
table of structures is printed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import dkim
import pytest

from tests import corpus
from tests.corpus.signed import public_key
from tests.corpus.trust import HOSTNAME
from tests.real.conftest import Service, StartMailguard
from tests.support.client import stuffed
from tests.support.sink import Recorded, Sink

CLIENTS = 4
"""Connections at the same time."""


def body_of(sample: corpus.Sample) -> str:
    """BODY as a client would declare it (RFC 6152 3)."""
    return "7BIT" if sample.octets.isascii() else "8BITMIME"


async def send(service: Service, address: str, samples: Iterator[corpus.Sample]) -> None:
    """Send samples, over one connection, until there are no more; the sender names the sample."""
    async with await service.connect(address) as client:
        await client.reply()
        await client.command(b"EHLO mail.example.org")
        for sample in samples:
            command = f"MAIL FROM:<{sample.name}@example.org> BODY={body_of(sample)} SIZE={len(sample.octets)}"
            assert await client.code(command.encode()) == 250
            assert await client.code(b"RCPT TO:<alice@example.com>") == 250
            assert await client.code(b"DATA") == 354
            await client.send(stuffed(sample.octets) + b".\r\n")
            answer = await client.reply()
            assert answer and answer[-1].startswith(b"250 "), (sample.name, answer)


def name_of(recorded: Recorded) -> str:
    """The sample that a recorded message was."""
    return recorded.mail.split(b"<")[1].split(b"@")[0].decode()


def digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


async def through(start_mailguard: StartMailguard, samples: list[corpus.Sample], **changes: Any) -> dict[str, bytes]:
    """What a backend got of ``samples``, by name."""
    async with Sink() as sink:
        service = await start_mailguard(
            hostname=HOSTNAME, backends=[{"address": sink.address, "relay_probe": False}], **changes
        )
        await sink.seen("EHLO")
        pending = iter(samples)
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(send(service, f"198.18.200.{number + 1}", pending))
        delivered = {name_of(recorded): recorded.content for recorded in sink.messages}
        assert len(sink.messages) == len(delivered) == len(samples)
    return delivered


@pytest.mark.timeout(600)
async def test_the_corpus_passes_unchanged(start_mailguard: StartMailguard, capsys: pytest.CaptureFixture[str]) -> None:
    samples = list(corpus.messages())
    first = [sample for sample in samples if sample.name.endswith("-0")]
    rest = [sample for sample in samples if not sample.name.endswith("-0")]
    scored = await through(start_mailguard, first)
    assert all(b"\r\nX-Spam-Score: " in content for content in scored.values())
    delivered = scored | await through(start_mailguard, rest, spamassassin={"address": None})
    unscanned = {name for name, content in delivered.items() if b"\r\nX-Virus-Scanned: clean" not in content}
    assert all(name.startswith("deep-nesting-") for name in unscanned), "only what is nested too deep for clamd"
    for sample in samples:
        ours = delivered[sample.name]
        assert digest(corpus.undo(ours, HOSTNAME)) == digest(corpus.expected(sample)), sample.name
        assert not sample.signed or dkim.verify(ours, dnsfunc=public_key), sample.name
    with capsys.disabled():
        print_table(samples)


def print_table(samples: list[corpus.Sample]) -> None:
    """What passed: structures, how many messages of each, the largest."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for sample in samples:
        sizes[sample.structure].append(len(sample.octets))
    print(f"\n{'structure':45}{'messages':>9}{'largest':>12}   below our fields")
    for structure, every in sizes.items():
        signed = ", DKIM verifies" if corpus.STRUCTURES[structure].signed else ""
        print(f"{structure:45}{len(every):9}{max(every):12,}   sha256 equal{signed}")
    print(f"{len(sizes)} structures, {len(samples)} messages")
