"""Several recipients of one message, filed by profile: mailguard, Exim by ``deploy/exim``, the file of the profiles."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailguard.lab import Lab
from mailguard.lab.exim import INBOX, Exim
from mailguard.lab.exim_client import EximClient
from mailguard.lab.folders import greets, is_root
from mailguard.lab.mailguard import Mailguard
from mailguard.lab.postfix import Postfix
from mailguard.lab.process import wait_until
from mailguard.lab.queueing import Queueing
from tests.support.client import Client, proxy_v2
from tests.support.mail import GTUBE, Mail, mail, submit

WAIT = 30.0
"""Seconds within which Exim delivers what it took."""
ALIASES = {
    "sales@example.com": "carol@example.com",
    "root@example.com": "alice@example.com",
    "abuse@test.invalid": "bob@example.com",
}
"""``abuse@test.invalid`` is Bob's: mail to it is never filed, though Bob's own is."""

POLICY = """\
mailguard_policy: 1
profiles:
  normal: {junk_at: 5000, apart: false, refuse_at: 9000}
  strict: {junk_at: 5, apart: false, refuse_at: %(strict)s}
  third: {junk_at: 5, apart: true, refuse_at: 9000}
recipients:
  - {match: ["bob@example.com", "Sales@Example.com"], profile: strict}
  - {match: ["@test.invalid", "user@example.com"], profile: third}
  - {match: ["*"], profile: normal}
rules:
  envelope: []
  content:
    - {name: refused, if: spam.content_score >= profile.refuse_at, then: reject, text: Not here}
    - {name: apart, if: profile.apart and spam.score >= profile.junk_at, then: file, folder: My Junk}
    - {name: junk, if: spam.score >= profile.junk_at, then: file, folder: Junk}
unavailable:
  spamassassin: {down: deliver, unscannable: deliver}
"""
FILING = POLICY.replace("    - {name: refused", "    # {name: refused") % {"strict": 9000}
REFUSING = POLICY % {"strict": 8000}
"""The same, and for the profile ``strict`` spam of 8,000 points is refused: nobody's, and yet it parts recipients."""


@pytest.fixture(scope="module")
def store(lab: Lab) -> Exim:
    macros = ["MAILGUARD_FOLDERS = Junk : My Junk"]
    return lab.server("recipients-exim", Exim, lambda folder: Exim(folder, aliases=ALIASES, macros=macros))


@pytest.fixture(scope="module")
def filing(lab: Lab, store: Exim, tmp_path_factory: pytest.TempPathFactory) -> Mailguard:
    return before(lab, store, "filing", tmp_path_factory.mktemp("filing") / "policy.yaml", FILING)


@pytest.fixture(scope="module")
def refusing(lab: Lab, store: Exim, tmp_path_factory: pytest.TempPathFactory) -> Mailguard:
    return before(lab, store, "refusing", tmp_path_factory.mktemp("refusing") / "policy.yaml", REFUSING)


def before(lab: Lab, store: Exim, name: str, policy: Path, text: str) -> Mailguard:
    """A mailguard with a policy of the test's own before ``store``."""
    policy.write_text(text)

    def make(folder: Path) -> Mailguard:
        return Mailguard(folder, lab, policy=policy, backends=[{"address": store.address}], clamav={"address": None})

    front = lab.server(f"recipients-{name}", Mailguard, make)
    wait_until(lambda: greets(("127.0.0.1", front.port), b"220 ", b"QUIT\r\n"), "it takes connections", WAIT)
    return front


@pytest.fixture(autouse=True)
def exported(store: Exim, tmp_path: Path) -> Iterator[None]:
    """What the administrator runs after each change of the policy."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(FILING)
    command = [sys.executable, "-m", "mailguard", "profiles", str(policy), "--export", str(store.profiles)]
    subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)
    yield
    store.profiles.unlink(missing_ok=True)


async def send(front: Mailguard, address: str, letter: Mail, *recipients: str, sender: str = "a@example.net") -> None:
    """Hand the letter over in one transaction, which takes all of them."""
    async with await Client.connect("127.0.0.1", front.proxy_port, proxy=proxy_v2(address)) as client:
        outcome = await submit(client, letter.octets, *recipients, sender=sender)
    assert [line[:3] for line in outcome.rcpt] == [b"250"] * len(recipients), outcome
    assert outcome.content.startswith(b"250 "), outcome


def where(store: Exim, letter: Mail, copies: int) -> dict[str, str]:
    """Each user's folder that the letter is in, once there are ``copies``; each has it once."""
    wait_until(lambda: len(store.find(letter.message_id)) >= copies, "each has it", WAIT)
    found = store.find(letter.message_id)
    assert len(found) == len({one.user for one in found}) == copies
    return {one.user: one.folder for one in found}


def transactions(store: Exim, letter: Mail) -> int:
    """How often Exim took the letter."""
    identity = f" id={letter.message_id[1:-1]} "
    return sum(" <= " in line and identity in line for line in store.main_log().splitlines())


@pytest.mark.parametrize(
    ("recipients", "folders"),
    [
        (["alice@example.com", "bob@example.com"], {"alice": INBOX, "bob": "Junk"}),
        (["bob@example.com", "alice@example.com"], {"alice": INBOX, "bob": "Junk"}),
        (["ALICE@Example.com", "Bob@EXAMPLE.com"], {"alice": INBOX, "bob": "Junk"}),
        (["bob@test.invalid", "alice@example.com"], {"alice": INBOX, "bob": "My Junk"}),
        (
            ["alice@example.com", "bob@example.com", "user@example.com"],
            {"alice": INBOX, "bob": "Junk", "user": "My Junk"},
        ),
        (["bob@example.com", "user@example.com"], {"bob": "Junk", "user": "My Junk"}),
        (["bob@example.com", "postmaster@example.com"], {"bob": "Junk", "postmaster": INBOX}),
        (["bob@example.com", "Abuse@example.com", "POSTMASTER"], {"bob": "Junk", "abuse": INBOX, "postmaster": INBOX}),
        (["user@example.com", "abuse@test.invalid"], {"user": "My Junk", "bob": INBOX}),
        (["sales@example.com", "root@example.com"], {"carol": "Junk", "alice": INBOX}),
        (["SALES@example.com", "user@example.com"], {"carol": "Junk", "user": "My Junk"}),
        (["bob@example.com", "sales@example.com"], {"bob": "Junk", "carol": "Junk"}),
        (["alice@example.com", "carol@example.com"], {"alice": INBOX, "carol": INBOX}),
    ],
)
@pytest.mark.parametrize("sender", ["a@example.net", ""], ids=["sender", "null sender"])
async def test_each_finds_it_where_their_profile_says(
    filing: Mailguard, store: Exim, client_address: str, recipients: list[str], folders: dict[str, str], sender: str
) -> None:
    """In one transaction; and by the address that mailguard was given, whoever is behind it."""
    letter = mail(GTUBE)
    await send(filing, client_address, letter, *recipients, sender=sender)
    assert where(store, letter, len(folders)) == folders
    assert transactions(store, letter) == 1


async def test_the_header_names_profiles_and_no_recipient(filing: Mailguard, store: Exim, client_address: str) -> None:
    letter = mail(GTUBE)
    await send(filing, client_address, letter, "alice@example.com", "bob@example.com", "user@example.com")
    where(store, letter, 3)
    for found in store.find(letter.message_id):
        head, _, _ = found.read().partition(b"\n\n")
        assert b"\nX-Mailguard-Folder: normal=-; strict=Junk; third=My Junk\n" in head
        ours = head.partition(b"X-Mailguard-Id: ")[2].partition(letter.octets.partition(b"\r\n")[0])[0]
        assert not any(user in ours for user in (b"alice", b"bob", b"user@"))


@pytest.mark.parametrize(
    "forged",
    [
        "X-Mailguard-Folder: normal=Junk; strict=-; third=Junk; postmaster=Junk",
        "X-Mailguard-Folder:\r\n normal=Junk;\r\n\tstrict=-",
        "x-mailguard-folder : postmaster=Junk",
    ],
)
async def test_nobody_else_says_where(filing: Mailguard, store: Exim, client_address: str, forged: str) -> None:
    clean, spam = mail(headers=[forged]), mail(GTUBE, headers=[forged])
    recipients = ("alice@example.com", "bob@example.com", "postmaster@example.com")
    for letter in (clean, spam):
        await send(filing, client_address, letter, *recipients)
    assert where(store, clean, 3) == {"alice": INBOX, "bob": INBOX, "postmaster": INBOX}
    assert where(store, spam, 3) == {"alice": INBOX, "bob": "Junk", "postmaster": INBOX}


# -- a file that is not there, or of another policy


async def test_without_the_file_everybody_has_the_profile_of_the_macro(
    filing: Mailguard, store: Exim, client_address: str
) -> None:
    """``normal``: who differ from that find mail in the inbox; where all are filed alike, nobody looks it up."""
    store.profiles.unlink()
    letter, alike = mail(GTUBE), mail(GTUBE)
    await send(filing, client_address, letter, "alice@example.com", "bob@example.com", "postmaster@example.com")
    await send(filing, client_address, alike, "bob@example.com", "sales@example.com")
    assert where(store, letter, 3) == {"alice": INBOX, "bob": INBOX, "postmaster": INBOX}
    assert where(store, alike, 2) == {"bob": "Junk", "carol": "Junk"}


async def test_what_an_old_file_calls_otherwise_is_in_the_inbox(
    filing: Mailguard, store: Exim, client_address: str
) -> None:
    store.profiles.write_text('"bob@example.com": formerly\n"*": normal\n')
    letter = mail(GTUBE)
    await send(filing, client_address, letter, "alice@example.com", "bob@example.com")
    assert where(store, letter, 2) == {"alice": INBOX, "bob": INBOX}


# -- where a rule can refuse


@pytest.fixture(params=["exim", "postfix"])
def client(request: pytest.FixtureRequest, lab: Lab, refusing: Mailguard) -> Queueing:
    """A real mail server that sends."""
    if request.param == "exim":
        return EximClient(lab.scratch / "recipients-exim-client", refusing.port)
    if not is_root():
        pytest.skip("Postfix wants root")
    return lab.server("recipients-postfix", Postfix, lambda folder: Postfix(folder, refusing.port))


def test_who_waits_comes_again_and_each_has_it_once(client: Queueing, refusing: Mailguard, store: Exim) -> None:
    """Alice and Bob differ in a rule that refuses, Alice and user in filing alone."""
    letter = mail(GTUBE)
    recipients = ["alice@example.com", "bob@example.com", "user@example.com"]
    client.submit("sender@example.net", recipients, letter.octets.replace(b"\r\n", b"\n"))
    for _ in range(60):
        if len(store.find(letter.message_id, 1.0)) == len(recipients):
            break
        client.flush()
    assert where(store, letter, 3) == {"alice": INBOX, "bob": "Junk", "user": "My Junk"}
    assert transactions(store, letter) == 2
    refused = [
        event["reply"]
        for event in refusing.events()
        if event["event"] == "recipient" and event["recipient"] in recipients
    ]
    assert refused
    assert all(reply.startswith("452 4.5.3 ") for reply in refused)
    assert not any(letter.message_id.encode() in bounce for bounce in client.bounced().values())
