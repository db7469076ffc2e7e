"""Fields that claim to be ours, before the real Exim: it sees and obeys our word alone, however a sender writes his."""

from __future__ import annotations

import time

import pytest

from mailguard.lab import Lab
from mailguard.lab.exim import INBOX, Delivered, Exim
from mailguard.lab.folders import make_folder
from tests.forgeries.play import WAYS, EximReader
from tests.forgeries.play import deliver as deliver_all
from tests.forgeries.rows import HOST, ROWS, Row
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import GTUBE, mail, submit, transaction


@pytest.fixture
async def mailguard(start_mailguard: StartMailguard) -> Service:
    """Under the name that the tricks claim to come from."""
    return await start_mailguard(hostname=HOST)


async def deliver(service: Service, address: str, octets: bytes) -> bytes:
    async with await service.connect(address) as client:
        return (await submit(client, octets)).content


def anywhere(exim: Exim, text: str) -> list[Delivered]:
    """The messages to alice that hold ``text``, in header or body, once Exim has delivered one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := [mail for mail in exim.mailbox("alice") if text.encode() in mail.read()]:
            return found
        time.sleep(0.05)
    return []


@pytest.fixture
def reader(own_lab: Lab) -> EximReader:
    """In a laboratory's folder, which Exim's own user can reach: those of pytest each new run of it closes to all."""
    return EximReader(make_folder(own_lab.scratch / "exim"))


def test_exim_sees_what_nobody_removed_where_the_table_says_so(reader: EximReader) -> None:
    asked = [row for row in ROWS if row.header]
    assert reader.sees(asked) == {row.key for row in asked if row.exim}


@pytest.mark.parametrize("way", WAYS)
async def test_behind_mailguard_exim_sees_our_fields_alone(reader: EximReader, way: str) -> None:
    assert reader.sees_ours_alone(await deliver_all(way)) == {row.key for row in ROWS}


async def test_no_trick_files_a_message(mailguard: Service, exim: Exim, client_address: str) -> None:
    """All tricks over one connection: not one is found in what Exim stored, nor obeyed."""
    tricks = {row.key: row.field for row in ROWS if row.field and row.goes and row.host == HOST}
    ids: dict[Row, str] = {}
    async with await mailguard.connect(client_address) as client:
        await client.reply()
        await client.command(b"EHLO mail.example.org")
        for row, field in tricks.items():
            message = mail()
            head, _, body = message.octets.partition(b"\r\n\r\n")
            forged = b"X-Mailguard-Folder: Junk\r\n" + head + b"\r\n" + field + b"X-Last: yes\r\n\r\n" + body
            assert (await transaction(client, forged)).content.startswith(b"250 "), row
            ids[row] = message.message_id
    for row, message_id in ids.items():
        [found] = exim.find(message_id, 30)
        assert found.folder == INBOX, row
        assert tricks[row].replace(b"\r\n", b"\n") not in found.read(), row
        assert b"\nX-Last: yes\n" in found.read(), row


@pytest.mark.parametrize("first", [b" folded: into our last field\r\n", b"\tINBOX\r\n", b"no field\r\n", b"From x\r\n"])
async def test_no_first_line_keeps_spam_out_of_junk(
    mailguard: Service, exim: Exim, client_address: str, first: bytes
) -> None:
    message = mail(GTUBE)
    assert (await deliver(mailguard, client_address, first + message.octets)).startswith(b"250 ")
    assert [found.folder for found in anywhere(exim, message.message_id)] == ["Junk"]


async def test_nothing_hides_behind_a_long_header_section(mailguard: Service, exim: Exim, client_address: str) -> None:
    """Lines of three octets, of which Exim counts two, below and above our bound and Exim's; then a forged field."""
    message = mail()
    head, _, body = message.octets.partition(b"\r\n\r\n")
    for lines in (10_000, 340_000, 350_000, 520_000, 530_000):
        padding = b"X-Pad:\r\n" + b" \r\n" * lines
        octets = head + b"\r\n" + padding + b"X-Mailguard-Folder: Junk\r\n\r\n" + body
        answer = await deliver(mailguard, client_address, octets)
        found = exim.find(message.message_id, 30 if answer.startswith(b"250") else 0)
        assert answer.startswith(b"250 " if lines <= 340_000 else b"552 5.3.4 Header section longer"), (lines, answer)
        assert {each.folder for each in found} <= {INBOX}, lines
