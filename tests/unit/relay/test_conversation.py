"""relay/conversation.py alone: how a connection begins, what goes out when, and what ends it."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from mailguard.commands import MailFrom, Parameter, Path, RcptTo
from mailguard.relay.answers import MAX_LINE, BackendFailed
from mailguard.relay.conversation import Conversation, Tls
from mailguard.relay.identity import Identity, Introduction
from tests.unit.relay.conftest import ALICE, BOB, IDENTITY, SENDER

XCLIENT = b"250-XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT\r\n"
NAMED = (
    b"XCLIENT ADDR=198.18.1.10 NAME=[TEMPUNAVAIL] PORT=40000 PROTO=ESMTP HELO=client.example.org "
    b"DESTADDR=127.0.0.1 DESTPORT=25\r\n"
)


def said(talk: Conversation, octets: bytes) -> bytes:
    """What goes out once ``octets`` came in, each answer looked at."""
    talk.receive(octets)
    while talk.next_answer() is not None:
        pass
    return talk.octets()


def offering(*keywords: bytes) -> bytes:
    return b"".join(b"250-%b\r\n" % line for line in (b"sink", *keywords)) + b"250 HELP\r\n"


def opened(*keywords: bytes, ignored: Collection[str] = ()) -> Conversation:
    talk = Conversation(Introduction(b"", "mx"), ignored=ignored)
    assert said(talk, b"220 sink\r\n") == b"EHLO mx\r\n"
    assert said(talk, offering(*keywords)) == b""
    assert talk.open
    return talk


def starting(tls: Tls, client: Identity | None = None) -> Conversation:
    """A conversation that has said EHLO."""
    talk = Conversation(Introduction(b"", "mx", client), tls)
    assert said(talk, b"220 sink\r\n") == b"EHLO mx\r\n"
    return talk


# -- how it begins


def test_the_proxy_header_goes_out_first_and_nothing_else_before_the_greeting() -> None:
    talk = Conversation(Introduction(b"PROXY", "client.example"))
    assert talk.octets() == b"PROXY"
    assert talk.octets() == b""
    assert said(talk, b"220-sink\r\n") == b""
    assert said(talk, b"220 greets\r\n") == b"EHLO client.example\r\n"


def test_tls_is_asked_for_where_it_is_offered_and_all_is_said_again_in_it() -> None:
    for tls in ("opportunistic", "required"):
        talk = starting(tls)
        assert said(talk, offering(b"STARTTLS", b"DSN")) == b"STARTTLS\r\n"
        assert said(talk, b"220 go on\r\n") == b""
        assert talk.handshake_due
        assert not talk.open
        talk.secured()
        assert talk.octets() == b"EHLO mx\r\n"
        assert said(talk, offering(b"STARTTLS")) == b""
        assert talk.open
        assert not talk.offer.dsn, "what was said before TLS is forgotten"


def test_tls_is_not_asked_for_where_nobody_wants_it() -> None:
    assert said(starting("none"), offering(b"STARTTLS")) == b""


def test_without_the_offer_opportunistic_goes_on_and_required_does_not() -> None:
    talk = starting("opportunistic")
    assert said(talk, offering()) == b""
    assert talk.open
    with pytest.raises(BackendFailed, match="offers no STARTTLS") as failed:
        said(starting("required"), offering())
    assert failed.value.fault == "tls"


@pytest.mark.parametrize("answer", [b"454 4.7.0 not now\r\n", b"501 no\r\n"])
def test_where_starttls_is_refused_opportunistic_goes_on_and_required_does_not(answer: bytes) -> None:
    talk = starting("opportunistic")
    said(talk, offering(b"STARTTLS"))
    assert said(talk, answer) == b""
    assert talk.open
    assert not talk.handshake_due
    talk = starting("required")
    said(talk, offering(b"STARTTLS"))
    with pytest.raises(BackendFailed, match="starttls") as failed:
        said(talk, answer)
    assert failed.value.fault == "tls"


@pytest.mark.parametrize("tls", ["opportunistic", "required"])
@pytest.mark.parametrize("more", [b"250 smuggled\r\n", b"2"])
def test_octets_behind_the_answer_to_starttls_are_the_end(tls: Tls, more: bytes) -> None:
    """Whoever sits between could put an answer there that would be taken for one given in TLS."""
    talk = starting(tls)
    said(talk, offering(b"STARTTLS"))
    with pytest.raises(BackendFailed, match="before TLS began") as failed:
        said(talk, b"220 go on\r\n" + more)
    assert failed.value.fault == "tls"
    assert not talk.handshake_due


def test_xclient_names_the_client_and_then_its_name_is_said() -> None:
    talk = starting("none", IDENTITY)
    assert said(talk, b"250-sink\r\n" + XCLIENT + b"250 DSN\r\n") == NAMED
    assert not talk.open
    assert said(talk, b"220 sink\r\n") == b"EHLO client.example.org\r\n"
    assert said(talk, b"250-sink\r\n" + XCLIENT + b"250 CHUNKING\r\n") == b""
    assert talk.open
    assert (talk.offer.chunking, talk.offer.dsn) == (True, False), "the last EHLO counts"


def test_xclient_comes_after_tls() -> None:
    talk = starting("required", IDENTITY)
    assert said(talk, b"250-sink\r\n" + XCLIENT + b"250 STARTTLS\r\n") == b"STARTTLS\r\n"
    said(talk, b"220 go on\r\n")
    talk.secured()
    assert talk.octets() == b"EHLO mx\r\n"
    assert said(talk, b"250-sink\r\n" + XCLIENT + b"250 STARTTLS\r\n") == NAMED
    assert said(talk, b"220 sink\r\n") == b"EHLO client.example.org\r\n"
    assert said(talk, b"250-sink\r\n" + XCLIENT + b"250 STARTTLS\r\n") == b""
    assert talk.open


def test_no_mail_for_a_client_that_cannot_be_named() -> None:
    for offer in (offering(), offering(b"XCLIENT NAME HELO")):
        with pytest.raises(BackendFailed, match="smtpd_authorized_xclient_hosts"):
            said(starting("none", IDENTITY), offer)
    talk = starting("none", IDENTITY)
    said(talk, b"250-sink\r\n" + XCLIENT + b"250 DSN\r\n")
    with pytest.raises(BackendFailed, match="xclient: out of place: 550"):
        said(talk, b"550 5.7.0 not you\r\n")


# -- what goes out when


def test_a_group_goes_out_at_once_where_pipelining_is_offered() -> None:
    talk = opened(b"PIPELINING")
    talk.mail(SENDER, [ALICE, BOB])
    assert talk.octets() == (
        b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<alice@example.com>\r\nRCPT TO:<bob@example.com>\r\n"
    )
    assert said(talk, b"250 ok\r\n550 no\r\n") == b""
    assert talk.expects == "rcpt"
    assert said(talk, b"250 ok\r\n") == b""
    assert talk.idle()


@pytest.mark.parametrize("ignored", [("PIPELINING",), ()])
def test_and_one_after_another_where_it_is_not_or_is_not_wanted(ignored: Collection[str]) -> None:
    talk = opened(b"PIPELINING", ignored=ignored) if ignored else opened()
    talk.mail(SENDER, [ALICE])
    assert talk.octets() == b"MAIL FROM:<sender@example.org>\r\n"
    assert talk.octets() == b""
    assert said(talk, b"250 ok\r\n") == b"RCPT TO:<alice@example.com>\r\n"


def test_an_unfinished_transaction_is_reset_first_and_a_finished_one_is_not() -> None:
    talk = opened(b"PIPELINING", b"CHUNKING")
    talk.mail(SENDER, [])
    talk.octets()
    said(talk, b"250 ok\r\n")
    talk.mail(SENDER, [])
    assert talk.octets() == b"RSET\r\nMAIL FROM:<sender@example.org>\r\n"
    said(talk, b"250 reset\r\n250 ok\r\n")
    talk.begin_content(2)
    talk.content(b"\r\n")
    talk.end()
    said(talk, b"250 taken\r\n")
    talk.mail(SENDER, [])
    assert talk.octets() == b"MAIL FROM:<sender@example.org>\r\n"


def test_by_bdat_the_last_piece_is_held_back_and_nothing_is_changed() -> None:
    talk = opened(b"CHUNKING")
    talk.begin_content(12)
    assert talk.octets() == b""
    assert talk.content(b".\r\n") == b""
    assert talk.content(b"..\r\n") == b"BDAT 12 LAST\r\n.\r\n"
    assert talk.content(b".\r\n.\n") == b"..\r\n"
    assert talk.in_content
    assert talk.end() == b".\r\n.\n"
    assert not talk.in_content
    assert said(talk, b"250 taken\r\n") == b""
    assert talk.idle()


def test_one_piece_goes_out_whole_with_its_command_and_so_does_none() -> None:
    talk = opened(b"CHUNKING")
    talk.begin_content(3)
    assert talk.content(b"a\r\n") == b""
    assert talk.end() == b"BDAT 3 LAST\r\na\r\n"
    said(talk, b"250 taken\r\n")
    talk.begin_content(0)
    assert talk.end() == b"BDAT 0 LAST\r\n"


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"b", b"c", b"d"], []])
def test_what_is_not_of_the_size_announced_never_ends(pieces: list[bytes]) -> None:
    talk = opened(b"CHUNKING")
    talk.begin_content(2)
    for piece in pieces:
        talk.content(piece)
    with pytest.raises(ValueError, match="not of the size"):
        talk.end()


def test_by_data_the_last_piece_is_held_back_too() -> None:
    talk = opened()
    talk.begin_content(7)
    assert talk.octets() == b"DATA\r\n"
    with pytest.raises(RuntimeError):
        talk.content(b"x")
    assert said(talk, b"354 go on\r\n") == b""
    assert talk.content(b"a\r\n") == b""
    assert talk.content(b".b\r\n") == b"a\r\n"
    assert talk.end() == b"..b\r\n.\r\n"


def test_quit_and_none_in_the_middle_of_content() -> None:
    talk = opened(b"CHUNKING")
    assert talk.quit() == b"QUIT\r\n"
    assert said(talk, b"221 bye\r\n") == b""
    talk = opened(b"CHUNKING")
    talk.begin_content(1)
    assert talk.quit() == b""
    assert not talk.idle()


@pytest.mark.parametrize("keyword", ["RET", "ENVID"])
def test_parameters_of_dsn_pass_byte_for_byte_or_not_at_all(keyword: str) -> None:
    mail = MailFrom(SENDER.path, (Parameter(keyword, b"+2Bx+3D"),))
    talk = opened(b"DSN")
    talk.mail(mail, [RcptTo(Path(b"a", b"b.example"), (Parameter("ORCPT", b"rfc822;a+2Bb@C.example"),))])
    assert talk.octets() == b"MAIL FROM:<sender@example.org> %b=+2Bx+3D\r\n" % keyword.encode()
    assert said(talk, b"250 ok\r\n") == b"RCPT TO:<a@b.example> ORCPT=rfc822;a+2Bb@C.example\r\n"
    with pytest.raises(BackendFailed, match="needs DSN"):
        opened().mail(mail, [])
    with pytest.raises(BackendFailed, match="needs DSN"):
        opened().rcpt(RcptTo(Path(b"a"), (Parameter("NOTIFY", b"NEVER"),)))


# -- what ends it


@pytest.mark.parametrize("octets", [b"250 what\r\n", b"421 4.4.2 timeout\r\n", b"554 5.3.0 out\r\n"])
def test_nothing_may_be_said_unasked(octets: bytes) -> None:
    talk = opened(b"CHUNKING")
    talk.receive(octets)
    assert talk.pending
    assert not talk.idle()
    with pytest.raises(BackendFailed, match="unasked"):
        talk.next_answer()


def test_before_the_first_octet_of_bdat_a_refusal_is_none_of_the_content() -> None:
    talk = opened(b"CHUNKING")
    talk.begin_content(4)
    talk.content(b"a\r\n")
    with pytest.raises(BackendFailed, match="unasked: 554"):
        said(talk, b"554 5.3.0 out\r\n")


@pytest.mark.parametrize("keywords", [(b"CHUNKING",), ()])
def test_in_the_middle_of_content_only_a_refusal_is_an_answer(keywords: tuple[bytes, ...]) -> None:
    def middle() -> Conversation:
        talk = opened(*keywords)
        talk.begin_content(6)
        if not keywords:
            talk.octets()
            said(talk, b"354 go on\r\n")
        talk.content(b"a\r\n")
        talk.content(b"b\r\n")
        return talk

    refused = middle()
    refused.receive(b"552 5.3.4 too big\r\n")
    answer = refused.next_answer()
    assert answer is not None
    assert answer.code == 552
    assert refused.quit() == b"", "it can only be cut"
    with pytest.raises(BackendFailed, match="content: out of place: 250"):
        said(middle(), b"250 taken\r\n")
    with pytest.raises(BackendFailed) as failed:
        said(middle(), b"421 4.3.2 down\r\n")
    assert failed.value.fault == "closing"


@pytest.mark.parametrize("line", [b"x" * MAX_LINE, b"250-a\r\n" * 100, b"\r\n", b"250-a\r\n550 b\r\n", b"250_a\r\n"])
def test_what_is_no_reply(line: bytes) -> None:
    talk = opened()
    talk.mail(SENDER, [])
    talk.octets()
    with pytest.raises(BackendFailed):
        said(talk, line)
