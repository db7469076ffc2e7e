"""Real mail clients deliver through mailguard to a real Exim: what they send arrives, once and unchanged, or they know.

A mailguard of its own process stands before an Exim of its own; clients that have a queue have one each. All connect
from loopback, as not every machine lets them have another address.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mailguard.lab import Lab, world
from mailguard.lab.exim import INBOX, Exim
from mailguard.lab.exim_client import EximClient
from mailguard.lab.folders import is_root
from mailguard.lab.mailguard import Mailguard
from mailguard.lab.postfix import Postfix
from mailguard.lab.process import wait_until
from tests.support import certificates
from tests.support.mail import EICAR, Mail, mail
from tests.support.senders import (
    Aiosmtplib,
    EximSender,
    Order,
    PostfixSender,
    Queued,
    Sender,
    Smtplib,
    SmtpSource,
    Swaks,
)

WAIT = 30.0
"""Seconds within which Exim delivers what it took, and mailguard finds a backend that is up again."""

MEMORY = 65_536
"""Octets of one message that mailguard keeps in memory."""

CLIENTS = (Swaks, SmtpSource, Smtplib, Aiosmtplib, EximSender, PostfixSender)
NUMBERED = ("3alice", "2alice", "alice")
"""Whom smtp-source sends to when it is told to send to three."""


@pytest.fixture(scope="module")
def store(lab: Lab) -> Exim:
    """The Exim behind mailguard; a test may take it away for a while."""
    return lab.server("clients-store", Exim, lambda folder: Exim(folder, users={*world.USERS, *NUMBERED}))


@pytest.fixture(scope="module")
def certificate(lab: Lab) -> certificates.Pair:
    return certificates.make(lab.scratch, world.MAILGUARD_NAME)


@pytest.fixture(scope="module")
def front(lab: Lab, store: Exim, certificate: certificates.Pair) -> Mailguard:
    return lab.server(
        "clients-mailguard",
        Mailguard,
        lambda folder: Mailguard(
            folder,
            lab,
            backends=[{"address": store.address}],
            limits={"backend_retry": 0.2, "max_message_memory": MEMORY},
            tls=certificate.settings,
            spamassassin={"max_size": 4096},  # what it scores is not what is tried here
        ),
    )


MakeSender = Callable[[type[Sender]], Sender]


@pytest.fixture(scope="module")
def sender_of(lab: Lab, front: Mailguard, tmp_path_factory: pytest.TempPathFactory) -> MakeSender:
    def postfix(tls: str) -> Postfix:
        """One that logs every command and reply, to see what it pipelines."""
        more = "debug_peer_list = 127.0.0.1"
        return lab.server(f"postfix-{tls}", Postfix, lambda folder: Postfix(folder, front.port, tls=tls, more=more))

    def make(kind: type[Sender]) -> Sender:
        folder = tmp_path_factory.mktemp("client")
        if kind is EximSender:
            plain, encrypting = (
                EximClient(lab.scratch / f"exim-client-{tls}", front.port, tls=tls) for tls in (False, True)
            )
            return EximSender(front.port, folder, plain, encrypting)
        if kind is PostfixSender:
            if not is_root():
                pytest.skip("Postfix wants root")
            return PostfixSender(front.port, folder, postfix("none"), postfix("encrypt"))
        return kind(front.port, folder)

    known: dict[type[Sender], Sender] = {}
    return lambda kind: known.get(kind) or known.setdefault(kind, make(kind))


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.title)
def client(request: pytest.FixtureRequest, sender_of: MakeSender) -> Sender:
    return sender_of(request.param)


def only(*kinds: type[Sender]) -> pytest.MarkDecorator:
    """The test is for some clients."""
    return pytest.mark.parametrize("client", kinds, indirect=True, ids=lambda kind: kind.title)


def arrivals(store: Exim, letter: Mail) -> list[str]:
    """A line of the mail store's log for each time that it took the message."""
    identity = f" id={letter.message_id[1:-1]} "
    return [line for line in store.main_log().splitlines() if " <= " in line and identity in line]


def assert_arrived(store: Exim, client: Sender, letter: Mail, *users: str) -> bytes:
    """The message lies in these users' inboxes, one copy each, came in one transaction, and is what was sent."""
    wait_until(lambda: len(store.find(letter.message_id)) >= len(users), "the message is delivered", WAIT)
    found = store.find(letter.message_id)
    assert sorted((one.user, one.folder) for one in found) == sorted((user, INBOX) for user in users)
    assert len(arrivals(store, letter)) == 1
    head, _, body = client.sent(letter.octets).replace(b"\r\n", b"\n").partition(b"\n\n")
    for one in found:
        head_there, _, body_there = one.read().partition(b"\n\n")
        assert body_there == body
        assert b"\n" + head + b"\n" in head_there, "the client and Exim add lines, above and below"
    return found[0].read()


@contextmanager
def without(store: Exim) -> Iterator[None]:
    """While the mail store is down."""
    store.kill()
    try:
        yield
    finally:
        store.start()


# -- delivered


def test_delivers(client: Sender, store: Exim) -> None:
    letter = mail()
    report = client.send(Order(letter.octets))
    assert report.sent, report
    assert_arrived(store, client, letter, "alice")


def test_delivers_to_several_recipients_in_one_transaction(client: Sender, store: Exim) -> None:
    users = NUMBERED if isinstance(client, SmtpSource) else ("alice", "bob", "carol")
    letter = mail()
    report = client.send(Order(letter.octets, tuple(f"{user}@example.com" for user in users)))
    assert report.sent, report
    assert_arrived(store, client, letter, *users)


ODD = (
    ".\r\n..\r\n.leading dots\r\n\r\n\r\n\tblanks at the end \t \r\n"
    "From here on\r\n>From there\r\n" + "x" * 998 + "\r\nQUIT\r\nRSET\r\nBDAT 5 LAST\r\n\r\n"
)
BODIES = {
    "odd": ODD,
    "8-bit": "Grüße, 日本語 \x7f\x01\r\n" + ODD,
    "empty": "",
    "larger than memory": "A line of text that says nothing at all.\r\n" * (MEMORY // 20),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_delivers_unchanged(client: Sender, store: Exim, body: str) -> None:
    letter = mail(body)
    report = client.send(Order(letter.octets))
    assert report.sent, report
    assert_arrived(store, client, letter, "alice")


@only(SmtpSource)
def test_many_messages_in_few_sessions(client: SmtpSource, store: Exim) -> None:
    before = store.main_log().count(" => alice ")
    report = client.burst(Order(b"", sender="burst@example.net"), sessions=3, messages=24)
    assert report.sent, report
    wait_until(lambda: store.main_log().count(" => alice ") >= before + 24, "all are delivered", WAIT)
    assert store.main_log().count(" <= burst@example.net ") == 24


@only(*(kind for kind in CLIENTS if kind.declares_8bit))
def test_8bitmime_is_declared_and_passed_on(client: Sender, store: Exim) -> None:
    """RFC 6152: what the client says of the body is told to the backend (``M8S`` in Exim's log)."""
    letter = mail("Grüße")
    assert client.send(Order(letter.octets)).sent
    assert_arrived(store, client, letter, "alice")
    assert " M8S=8 " in arrivals(store, letter)[0]


@only(*(kind for kind in CLIENTS if kind.utf8))
def test_smtputf8(client: Sender, store: Exim) -> None:
    """RFC 6531: an address that ASCII cannot write."""
    letter = mail("Grüße", headers=["Comments: Grüße"])
    report = client.send(Order(letter.octets, sender="grüße@example.net"))
    assert report.sent, report
    there = assert_arrived(store, client, letter, "alice")
    assert "Return-path: <grüße@example.net>\n".encode() in there
    assert " P=utf8esmtp " in arrivals(store, letter)[0]


# -- how it was sent


@only(*(kind for kind in CLIENTS if kind.starttls))
def test_starttls(client: Sender, store: Exim) -> None:
    """RFC 3207; what our Received line says of it is RFC 3848's."""
    letter = mail("Grüße")
    report = client.send(Order(letter.octets, ("alice@example.com", "bob@example.com"), tls=True))
    assert report.sent, report
    there = assert_arrived(store, client, letter, "alice", "bob")
    assert re.search(rb"by mx\.test\.invalid with ESMTPS \(TLS1\.3 ", there)


@only(EximSender, PostfixSender)
def test_a_refusal_by_starttls_is_reported_to_the_sender(client: Sender, store: Exim) -> None:
    letter = mail(EICAR)
    report = client.send(Order(letter.octets, tls=True))
    assert "554" in report.text
    assert arrivals(store, letter) == []


@only(PostfixSender)
def test_posttls_finger_verifies_the_certificate(
    client: PostfixSender, front: Mailguard, certificate: certificates.Pair
) -> None:
    """Postfix's own probe: the chain leads to an authority, and the name is right."""
    postfix = client.server
    assert isinstance(postfix, Postfix)
    said = postfix.tls_finger(front.port, world.MAILGUARD_NAME, certificate.certificate)
    assert "Verified TLS connection established" in said
    assert "TLSv1.3" in said
    assert "Verified" not in postfix.tls_finger(front.port, "another.example.com", certificate.certificate)


@only(EximSender)
def test_exim_pipelines_and_uses_bdat_where_it_is_offered(client: EximSender, front: Mailguard, store: Exim) -> None:
    """RFC 2920, RFC 3030: ``L`` and ``K`` in Exim's log."""
    letter = mail()
    assert client.send(Order(letter.octets)).sent
    assert_arrived(store, client, letter, "alice")
    line = [line for line in client.server.main_log().splitlines() if " => alice@example.com " in line][-1]
    assert " L " in line
    assert (" K " in line) == ("chunking" in offered(front.port))


PIPELINED = [(">", "MAIL"), (">", "RCPT"), (">", "DATA"), ("<", "250"), ("<", "250"), ("<", "354")]


@only(PostfixSender)
def test_postfix_pipelines(client: PostfixSender, store: Exim) -> None:
    """RFC 2920: MAIL, RCPT and DATA are on their way before the first is answered."""
    letter = mail()
    before = len(client.server.main_log())
    assert client.send(Order(letter.octets)).sent
    assert_arrived(store, client, letter, "alice")
    said = re.findall(r"([<>]) 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: (\w+)", client.server.main_log()[before:])
    at = said.index((">", "MAIL"))
    assert said[at : at + 6] == PIPELINED


@only(Swaks)
def test_swaks_pipelines(client: Swaks, store: Exim) -> None:
    letter = mail()
    report = client.send(Order(letter.octets))
    assert_arrived(store, client, letter, "alice")
    said = re.findall(r"^ ?(<|>)[->>* ]* +(\w+)", report.text.replace("->", ">").replace("<-", "<"), re.MULTILINE)
    at = said.index((">", "MAIL"))
    assert said[at : at + 6] == PIPELINED


def offered(port: int) -> set[str]:
    """The extensions that mailguard offers."""
    with smtplib.SMTP("127.0.0.1", port, timeout=WAIT) as client:
        client.ehlo()
        return set(client.esmtp_features)


# -- refused and deferred


def bounced(client: Sender) -> int:
    """How many bounces the client's senders got so far."""
    return len(client.server.bounced()) if isinstance(client, Queued) else 0


def test_an_unknown_user_is_reported_to_the_sender(client: Sender, store: Exim) -> None:
    letter = mail()
    report = client.send(Order(letter.octets, ("nobody@example.com",)))
    assert not report.sent
    assert not report.waiting
    assert "550" in report.text
    if not isinstance(client, SmtpSource):
        assert "Unknown user" in report.text
    assert store.find(letter.message_id) == []


def test_malware_is_reported_to_the_sender(client: Sender, store: Exim) -> None:
    """A refusal after the content was sent (by BDAT, where the client uses it)."""
    letter = mail(EICAR)
    report = client.send(Order(letter.octets))
    assert not report.sent
    assert not report.waiting
    assert "554" in report.text
    assert arrivals(store, letter) == []


@only(*(kind for kind in CLIENTS if kind is not SmtpSource))
def test_one_refused_recipient_does_not_keep_the_others_from_theirs(client: Sender, store: Exim) -> None:
    letter = mail()
    report = client.send(Order(letter.octets, ("alice@example.com", "nobody@example.com", "bob@example.com")))
    assert not report.sent
    assert "nobody@example.com" in report.text
    assert_arrived(store, client, letter, "alice", "bob")


def test_what_cannot_be_delivered_now_is_delivered_once_later(client: Sender, store: Exim) -> None:
    letter = mail()
    bounces = bounced(client)
    with without(store):
        report = client.send(Order(letter.octets))
        assert not report.sent
        assert report.waiting == client.queues
        assert "451" in (client.server.main_log() if isinstance(client, Queued) else report.text)
    if isinstance(client, Queued):
        client.flush()
        assert bounced(client) == bounces
    else:
        wait_until(lambda: client.send(Order(letter.octets)).sent, "mailguard finds the backend again", WAIT)
    assert_arrived(store, client, letter, "alice")
