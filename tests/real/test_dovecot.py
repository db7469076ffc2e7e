"""Filing by Sieve: mailguard, Exim's lmtp transport, Dovecot, by the files of ``deploy/dovecot``; read back by IMAP."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.lab import Lab
from mailguard.lab.dovecot import Dovecot
from mailguard.lab.exim import INBOX, Exim
from mailguard.lab.mailguard import Mailguard
from tests.support.client import Client, proxy_v2
from tests.support.mail import GTUBE, Mail, mail, submit

WAIT = 30.0
"""Seconds within which Exim and Dovecot deliver what Exim took."""

ALIASES = {"root@example.com": "bob@example.com", "abuse@test.invalid": "alice@example.com"}
CAROLS_SCRIPT = """
require ["fileinto", "mailbox"];
if header :contains "Subject" "test" { fileinto :create "Tests"; }
"""


@pytest.fixture(scope="module")
def dovecot(lab: Lab) -> Dovecot:
    def make(folder: Path) -> Dovecot:
        return Dovecot(folder, profiles={"bob": "strict"}, scripts={"carol": CAROLS_SCRIPT})

    return lab.server("dovecot", Dovecot, make)


@pytest.fixture(scope="module")
def store(lab: Lab, dovecot: Dovecot) -> Exim:
    return lab.server("dovecot-exim", Exim, lambda folder: Exim(folder, lmtp=dovecot.lmtp_socket, aliases=ALIASES))


@pytest.fixture(scope="module")
def front(lab: Lab, store: Exim) -> Mailguard:
    backends = [{"address": store.address}]
    return lab.server("dovecot-mailguard", Mailguard, lambda folder: Mailguard(folder, lab, backends=backends))


async def send(port: int, address: str, letter: Mail, *recipients: str, proxied: bool = True) -> None:
    """Hand the letter to whoever listens on ``port``, who must take it."""
    proxy = proxy_v2(address) if proxied else b""
    async with await Client.connect("127.0.0.1", port, proxy=proxy) as client:
        outcome = await submit(client, letter.octets, *recipients)
    assert outcome.content.startswith(b"250 "), outcome


def where(dovecot: Dovecot, letter: Mail, copies: int = 1) -> list[tuple[str, str]]:
    """Users and folders that have the letter, once there are ``copies``."""
    for _ in range(20):
        found = dovecot.find(letter.message_id, WAIT)
        if len(found) >= copies:
            break
    return sorted((one.user, one.folder) for one in found)


async def test_clean_mail_is_in_the_inbox_unchanged(front: Mailguard, dovecot: Dovecot, client_address: str) -> None:
    letter = mail(".dots\r\n..more\r\n.\r\n\r\nGrüße\r\n" + "x" * 998)
    await send(front.proxy_port, client_address, letter)
    [found] = dovecot.find(letter.message_id, WAIT)
    assert (found.user, found.folder) == ("alice", INBOX)
    head, _, body = letter.octets.partition(b"\r\n\r\n")
    head_there, _, body_there = found.octets.partition(b"\r\n\r\n")
    assert body_there == body
    assert b"\r\n" + head + b"\r\n" in head_there


async def test_spam_is_in_junk(front: Mailguard, dovecot: Dovecot, client_address: str) -> None:
    letter = mail(GTUBE)
    await send(front.proxy_port, client_address, letter)
    [found] = dovecot.find(letter.message_id, WAIT)
    assert (found.user, found.folder) == ("alice", "Junk")
    assert b"\r\nX-Mailguard-Folder: Junk\r\n" in found.octets
    assert b"\r\nX-Spam-Flag: YES\r\n" in found.octets


async def test_each_recipient_has_it_in_their_own_junk(front: Mailguard, dovecot: Dovecot, client_address: str) -> None:
    letter = mail(GTUBE)
    await send(front.proxy_port, client_address, letter, "alice@example.com", "bob@example.com")
    assert where(dovecot, letter, 2) == [("alice", "Junk"), ("bob", "Junk")]


@pytest.mark.parametrize(("body", "folder"), [("Hello", INBOX), (GTUBE, "Junk")], ids=["clean", "spam"])
async def test_a_subaddress_is_its_users(
    front: Mailguard, dovecot: Dovecot, client_address: str, body: str, folder: str
) -> None:
    """RFC 5233: the part after the plus."""
    letter = mail(body)
    await send(front.proxy_port, client_address, letter, "alice+shop@example.com")
    [found] = dovecot.find(letter.message_id, WAIT)
    assert (found.user, found.folder) == ("alice", folder)
    assert b"\r\nDelivered-To: alice+shop@example.com\r\n" in found.octets


async def test_an_unknown_user_is_refused_at_once(front: Mailguard, client_address: str) -> None:
    async with await Client.connect("127.0.0.1", front.proxy_port, proxy=proxy_v2(client_address)) as client:
        outcome = await submit(client, mail().octets, "nobody@example.com")
    assert outcome.rcpt[0].startswith(b"550 ")
    assert b"Unknown user" in outcome.rcpt[0]


async def test_a_users_own_script_sees_what_is_not_filed(
    front: Mailguard, dovecot: Dovecot, client_address: str
) -> None:
    clean, spam = mail(), mail(GTUBE)
    await send(front.proxy_port, client_address, clean, "carol@example.com")
    await send(front.proxy_port, client_address, spam, "carol@example.com")
    assert where(dovecot, clean) == [("carol", "Tests")]
    assert where(dovecot, spam) == [("carol", "Junk")]


# -- who may say where


FORGED = ["X-Mailguard-Folder: Junk", "x-mailguard-folder : Junk", "X-Mailguard-Folder: strict=Junk; normal=Junk"]


@pytest.mark.parametrize("header", FORGED)
async def test_a_forged_header_does_nothing(
    front: Mailguard, dovecot: Dovecot, client_address: str, header: str
) -> None:
    letter = mail(headers=[header])
    await send(front.proxy_port, client_address, letter)
    [found] = dovecot.find(letter.message_id, WAIT)
    assert found.folder == INBOX
    assert b"mailguard-folder" not in found.octets.lower()


async def test_a_forged_header_does_not_save_spam(front: Mailguard, dovecot: Dovecot, client_address: str) -> None:
    letter = mail(GTUBE, headers=["X-Mailguard-Folder: -"])
    await send(front.proxy_port, client_address, letter)
    assert where(dovecot, letter) == [("alice", "Junk")]


async def test_mail_that_came_another_way_is_not_filed_by_its_header(store: Exim, dovecot: Dovecot) -> None:
    """On any port but mailguard's the header is whatever a sender wrote: Exim removes it."""
    letter = mail(headers=["X-Mailguard-Folder: Junk"])
    await send(store.port, "", letter, proxied=False)
    [found] = dovecot.find(letter.message_id, WAIT)
    assert found.folder == INBOX
    assert b"X-Mailguard-Folder" not in found.octets


@pytest.mark.parametrize(
    ("header", "alice", "bob"),
    [
        ("Junk", "Junk", "Junk"),
        ("strict=Junk; normal=-", INBOX, "Junk"),
        ("strict=-; normal=Junk", "Junk", INBOX),
        ("strict=Junk;\r\n\tnormal=Junk", "Junk", "Junk"),
        ("other=Junk", INBOX, INBOX),
        ("stricter=Junk; normal=-", INBOX, INBOX),
        ("-", INBOX, INBOX),
        ("Elsewhere", INBOX, INBOX),
        ("../../../escaped", INBOX, INBOX),
    ],
)
async def test_what_the_header_says(
    store: Exim, dovecot: Dovecot, client_address: str, header: str, alice: str, bob: str
) -> None:
    """Bob's profile is ``strict``, Alice's ``normal``."""
    letter = mail(headers=[f"X-Mailguard-Folder: {header}"])
    await send(store.proxy_port, client_address, letter, "alice@example.com", "bob@example.com")
    assert where(dovecot, letter, 2) == [("alice", alice), ("bob", bob)]


# -- by profile, as Exim knows it


async def by_header(store: Exim, letter: Mail, *recipients: str) -> None:
    """Hand it to Exim as mailguard would: by its port, the field in the letter."""
    async with await Client.connect("127.0.0.1", store.proxy_port, proxy=proxy_v2("198.18.1.10")) as client:
        outcome = await submit(client, letter.octets, *recipients)
    assert outcome.content.startswith(b"250 "), outcome


async def test_exim_tells_each_recipient_by_the_file_of_profiles(store: Exim, dovecot: Dovecot) -> None:
    """By the address before aliases: root is Bob's, whose profile Dovecot knows; abuse is Alice's, and never filed."""
    store.profiles.write_text('"bob@example.com": strict\n"*": normal\n')
    try:
        letter = mail(headers=["X-Mailguard-Folder: normal=-; postmaster=-; strict=Junk"])
        await by_header(store, letter, "bob@example.com", "abuse@test.invalid", "postmaster@example.com")
        other = mail(headers=["X-Mailguard-Folder: normal=Junk; postmaster=-; strict=-"])
        await by_header(store, other, "root@example.com", "abuse@test.invalid")
        assert where(dovecot, letter, 3) == [("alice", INBOX), ("bob", "Junk"), ("postmaster", INBOX)]
        assert where(dovecot, other, 2) == [("alice", INBOX), ("bob", "Junk")]
        [bobs] = [one for one in dovecot.find(letter.message_id, WAIT) if one.user == "bob"]
        assert bobs.octets.count(b"X-Mailguard-Folder: Junk\r\n") == 1
        assert b"strict" not in bobs.octets, "what is said for others is nobody's business"
    finally:
        store.profiles.unlink()


async def test_postmaster_is_not_filed_without_the_file_either(store: Exim, dovecot: Dovecot) -> None:
    letter = mail(headers=["X-Mailguard-Folder: normal=Junk; postmaster=-; strict=Junk"])
    await by_header(store, letter, "abuse@test.invalid", "bob@example.com")
    assert where(dovecot, letter, 2) == [("alice", INBOX), ("bob", "Junk")]
