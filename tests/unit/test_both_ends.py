"""Our own two ends of SMTP talk to each other, without a network: the server's conversation and the client's.

Every octet in between is handed over in pieces, down to one at a time, and each stage refuses once: whatever the cut,
both see the same, the content arrives octet for octet, and the client knows what was taken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from mailguard.commands import Extensions, MailFrom, Parameter, Path, RcptTo
from mailguard.config import Limits
from mailguard.facts import ClientAddress, Known, ReverseDns
from mailguard.relay.answers import Answer, BackendFailed
from mailguard.relay.conversation import Conversation as Client
from mailguard.relay.conversation import Tls
from mailguard.relay.identity import Identity, Introduction
from mailguard.replies import Reply, reply
from mailguard.smtp.conversation import Conversation as Server
from mailguard.smtp.events import (
    ClientNamed,
    Closed,
    Content,
    DataAsked,
    EndOfData,
    Event,
    HeloGiven,
    MailGiven,
    RcptGiven,
    TlsAsked,
)
from mailguard.smtp.keywords import Hop
from mailguard.smtp.xclient import Xclient

OFFERED = Extensions(size=70_000, eightbitmime=True, smtputf8=True, dsn=True)
MAIL = MailFrom(Path(b"sender", b"example.org"), (Parameter("SIZE", b"90"), Parameter("BODY", b"8BITMIME")))
ALICE, BOB = (RcptTo(Path(name, b"example.com")) for name in (b"alice", b"bob"))
MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..\r\n.\r\nMAIL FROM:<smuggled@example.org>\r\n\xff end\r\n"
PLAIN = Hop()
CUTS = (1, 2, 7, 100_000)
GOOD: Mapping[type, Reply] = {
    HeloGiven: reply("helo", hostname="mx"),
    MailGiven: reply("mail_ok"),
    RcptGiven: reply("rcpt_ok"),
    DataAsked: reply("data_go"),
    EndOfData: reply("data_ok"),
}
LATER, NEVER, CLOSING = reply("policy_defer"), reply("policy_reject"), reply("shutting_down")


def in_pieces(octets: bytes, cut: int) -> Sequence[bytes]:
    return [octets[at : at + cut] for at in range(0, len(octets), cut)]


@dataclass
class Ends:
    """Both ends; ``said``: the answers of each kind of question that are none of :data:`GOOD`, used once each."""

    cut: int
    said: dict[type, list[Reply]] = field(default_factory=dict)
    ignored: Collection[str] = ()
    hop: Hop = PLAIN
    tls: Tls = "none"
    identity: Identity | None = None
    answers: list[Answer] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    content: bytes = b""
    contents: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Client(Introduction(b"", "client.example", self.identity), self.tls, self.ignored)
        self.server = Server(Limits(), "mx")
        self.server.hop = self.hop
        self.to_client(b"220 mx ESMTP\r\n")
        self.talk()

    def talk(self) -> None:
        """Until neither has anything more to say."""
        while octets := self.client.octets():
            self.to_server(octets)
            if self.client.handshake_due:
                self.client.secured()

    def to_server(self, octets: bytes) -> None:
        for piece in in_pieces(octets, self.cut):
            self.server.receive(piece)
            while (event := self.server.next_event()) is not None:
                self.happen(event)
            self.to_client(self.replies())

    def replies(self) -> bytes:
        """What the server says now."""
        return b"".join(reply.encode() for reply, _, _ in self.server.replies())

    def happen(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Content):
            self.content += event.chunk
        elif isinstance(event, TlsAsked):
            self.to_client(self.replies())
            self.server = self.server.in_tls()
            self.server.hop = self.hop._replace(tls=True)
        elif isinstance(event, ClientNamed):
            self.server = self.server.for_another_client()
            self.server.hop = self.hop._replace(starttls=False, tls=self.tls != "none")
            self.to_client(b"220 mx ESMTP\r\n")
        elif type(event) in GOOD:
            if isinstance(event, EndOfData):
                self.contents.append(self.content)
                self.content = b""
            others = self.said.get(type(event))
            self.server.answer(others.pop(0) if others else GOOD[type(event)], OFFERED)

    def to_client(self, octets: bytes) -> None:
        for piece in in_pieces(octets, self.cut):
            self.client.receive(piece)
            while (answer := self.client.next_answer()) is not None:
                self.answers.append(answer)

    def envelope(self, *recipients: RcptTo) -> list[int]:
        """The codes that MAIL and RCPT got."""
        before = len(self.answers)
        self.client.mail(MAIL, recipients)
        self.talk()
        return [answer.code for answer in self.answers[before:]]

    def message(self, octets: bytes = MESSAGE, piece: int = 10) -> list[int]:
        """The codes that DATA, if it was said, and the content got."""
        before = len(self.answers)
        self.client.begin_content(len(octets))
        self.talk()
        if self.client.in_content:
            for part in in_pieces(octets, piece):
                self.to_server(self.client.content(part))
            self.to_server(self.client.end())
        return [answer.code for answer in self.answers[before:]]

    def quit(self) -> None:
        self.to_server(self.client.quit())

    @property
    def ended(self) -> list[str]:
        return [event.end for event in self.events if isinstance(event, Closed)]


WAYS = pytest.mark.parametrize(
    "ignored", [(), ("CHUNKING",), ("CHUNKING", "PIPELINING")], ids=["bdat", "data", "turns"]
)
EVERY_CUT = pytest.mark.parametrize("cut", CUTS)


def codes(ends: Ends, *content: int) -> list[int]:
    """``content``, with the 354 in front where DATA carries it."""
    return [354, *content] if "CHUNKING" in ends.ignored else [*content]


@WAYS
@EVERY_CUT
def test_two_messages_in_one_connection(cut: int, ignored: Collection[str]) -> None:
    ends = Ends(cut, ignored=ignored)
    for content in (MESSAGE, b"\r\n", MESSAGE * 50):
        assert ends.envelope(ALICE, BOB) == [250, 250, 250]
        assert ends.message(content) == codes(ends, 250)
        assert ends.client.idle()
    ends.quit()
    assert ends.contents == [MESSAGE, b"\r\n", MESSAGE * 50]
    assert ends.ended == ["quit"]
    assert [event.command for event in ends.events if isinstance(event, MailGiven)] == [MAIL] * 3
    assert [event.command for event in ends.events if isinstance(event, RcptGiven)] == [ALICE, BOB] * 3


@WAYS
@EVERY_CUT
@pytest.mark.parametrize("refusal", [LATER, NEVER])
def test_one_recipient_is_refused(cut: int, ignored: Collection[str], refusal: Reply) -> None:
    ends = Ends(cut, {RcptGiven: [refusal]}, ignored)
    assert ends.envelope(ALICE, BOB) == [250, refusal.code, 250]
    assert ends.message() == codes(ends, 250)
    assert ends.contents == [MESSAGE]


@WAYS
@EVERY_CUT
def test_all_recipients_are_refused_and_the_next_transaction_is_clean(cut: int, ignored: Collection[str]) -> None:
    ends = Ends(cut, {RcptGiven: [NEVER, LATER]}, ignored)
    assert ends.envelope(ALICE, BOB) == [250, NEVER.code, LATER.code]
    assert ends.envelope(BOB) == [250, 250, 250], "RSET first"
    assert ends.message() == codes(ends, 250)
    assert ends.contents == [MESSAGE]


@WAYS
@EVERY_CUT
def test_mail_is_refused(cut: int, ignored: Collection[str]) -> None:
    ends = Ends(cut, {MailGiven: [NEVER]}, ignored)
    answered = ends.envelope(ALICE)
    assert answered == ([NEVER.code] if "PIPELINING" in ignored else [NEVER.code, 503])
    assert ends.envelope(ALICE) == [250, 250]
    assert ends.message() == codes(ends, 250)


@EVERY_CUT
@pytest.mark.parametrize("refusal", [LATER, NEVER])
def test_data_is_refused_and_the_next_transaction_is_clean(cut: int, refusal: Reply) -> None:
    ends = Ends(cut, {DataAsked: [refusal]}, ("CHUNKING",))
    assert ends.envelope(ALICE) == [250, 250]
    assert ends.message() == [refusal.code]
    assert ends.envelope(BOB) == [250, 250, 250], "RSET first"
    assert ends.message() == [354, 250]
    assert ends.contents == [MESSAGE]


@WAYS
@EVERY_CUT
@pytest.mark.parametrize("refusal", [LATER, NEVER])
def test_the_content_is_refused(cut: int, ignored: Collection[str], refusal: Reply) -> None:
    ends = Ends(cut, {EndOfData: [refusal]}, ignored)
    assert ends.envelope(ALICE) == [250, 250]
    assert ends.message() == codes(ends, refusal.code)
    assert ends.envelope(ALICE) == [250, 250], "the transaction was over"
    assert ends.message() == codes(ends, 250)


@EVERY_CUT
@pytest.mark.parametrize("stage", [MailGiven, RcptGiven, DataAsked, EndOfData])
def test_a_421_ends_it_at_every_stage(cut: int, stage: type) -> None:
    ends = Ends(cut, {stage: [CLOSING]}, ("CHUNKING",))
    with pytest.raises(BackendFailed) as failed:
        ends.envelope(ALICE)
        ends.message()
    assert (failed.value.fault, failed.value.code) == ("closing", 421)
    assert ends.ended == ["refused"]


@EVERY_CUT
def test_ehlo_is_refused(cut: int) -> None:
    with pytest.raises(BackendFailed, match="helo: out of place: 5"):
        Ends(cut, {HeloGiven: [NEVER]})


# -- in TLS, and in another client's name


V6 = ClientAddress.parse("2001:2::1")
NAMED = Identity(V6, 40000, ClientAddress.parse("2001:2::2"), 25, "there.example", False, Known(ReverseDns("", False)))
BOTH = Hop(starttls=True, xclient=True)


def names(ends: Ends) -> list[str]:
    return [event.name for event in ends.events if isinstance(event, HeloGiven)]


@EVERY_CUT
@pytest.mark.parametrize("tls", ["opportunistic", "required"])
def test_in_tls(cut: int, tls: Tls) -> None:
    ends = Ends(cut, tls=tls, hop=Hop(starttls=True))
    assert names(ends) == ["client.example"] * 2
    assert ends.envelope(ALICE) == [250, 250]
    assert ends.message() == [250]
    assert ends.contents == [MESSAGE]


@EVERY_CUT
def test_in_another_clients_name(cut: int) -> None:
    ends = Ends(cut, tls="required", hop=BOTH, identity=NAMED)
    assert names(ends) == ["client.example", "client.example", "there.example"]
    [named] = [event.attributes for event in ends.events if isinstance(event, ClientNamed)]
    assert named == Xclient(
        address=V6,
        port=40000,
        reverse=Known(ReverseDns("", False)),
        helo="there.example",
        extended=False,
        local_address=NAMED.local_address,
        local_port=25,
    )
    assert ends.envelope(ALICE) == [250, 250]
    assert ends.message() == [250]


@EVERY_CUT
def test_in_the_name_of_one_who_wants_two_lines(cut: int) -> None:
    helo = "-".join(["a" * 50] * 5)
    reverse = Known(ReverseDns(".".join(["b" * 50] * 4), True))
    ends = Ends(cut, hop=BOTH, identity=replace(NAMED, helo=helo, reverse=reverse))
    first, second = (event.attributes for event in ends.events if isinstance(event, ClientNamed))
    assert (first.address, first.reverse) == (V6, reverse)
    assert (second.helo, second.local_port) == (helo, 25)
    assert ends.envelope(ALICE) == [250, 250]


@EVERY_CUT
def test_a_server_that_does_not_know_us_gets_no_mail(cut: int) -> None:
    with pytest.raises(BackendFailed, match="XCLIENT"):
        Ends(cut, hop=Hop(starttls=True), identity=NAMED)
    with pytest.raises(BackendFailed, match="STARTTLS"):
        Ends(cut, tls="required", hop=Hop(xclient=True), identity=NAMED)
