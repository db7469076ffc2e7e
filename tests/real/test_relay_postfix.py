"""The relay and a real Postfix: who the client was, by PROXY protocol and by XCLIENT, plain and in TLS."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mailguard import config
from mailguard.commands import Extensions, MailFrom, Parameter, RcptTo
from mailguard.commands import Path as MailPath
from mailguard.facts import ClientAddress, Known, ReverseDns
from mailguard.lab import Lab
from mailguard.lab.folders import free_port, greets
from mailguard.lab.postfix import Postfix
from mailguard.relay import OpenRelay, Relay
from tests.real.test_relay_exim import CLIENT, HOSTNAME, LIMITS, SENDER, WAIT, deliver, until
from tests.support.certificates import shared
from tests.support.mail import Mail, mail

NAMED = replace(CLIENT, reverse=Known(ReverseDns("mail.example.org", confirmed=True)))
INBOX = RcptTo(MailPath(b"inbox", b"example.net"))

_SERVICES = """\
anvil unix - - n - 1 anvil
127.0.0.1:{proxy} inet n - n - - smtpd
  -o syslog_name=postfix/proxy -o inet_protocols=all -o smtpd_upstream_proxy_protocol=haproxy
127.0.0.1:{xclient} inet n - n - - smtpd
  -o syslog_name=postfix/xclient -o inet_protocols=all -o smtpd_authorized_xclient_hosts=127.0.0.1
127.0.0.1:{plain} inet n - n - - smtpd
  -o syslog_name=postfix/plain -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination
"""
_MORE = """\
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_received_header = yes
smtpd_peername_lookup = no
message_size_limit = 20000000
"""


@dataclass(frozen=True)
class Store:
    """Postfix as a backend; ``proxy``, ``xclient``, ``plain``: its ports; the last is an open relay for loopback."""

    postfix: Postfix
    proxy: int
    xclient: int
    plain: int

    def relay(self, port: int, **settings: Any) -> Relay:
        backend = config.Backend.model_validate({"address": f"127.0.0.1:{port}"} | settings)
        return Relay([backend], LIMITS, HOSTNAME, time.monotonic)

    async def commands(self, address: str) -> str:
        """What Postfix counted of the one connection of the client ``address``."""
        pattern = re.compile(rf"disconnect from \S+\[{re.escape(address)}\] (.*)")
        await until(lambda: bool(pattern.search(self.postfix.main_log())))
        (counted,) = pattern.findall(self.postfix.main_log())
        return str(counted)

    async def received(self, letter: Mail) -> bytes:
        """The message as Postfix delivered it."""

        def found() -> list[bytes]:
            return [octets for octets in self.postfix.bounced().values() if letter.message_id.encode() in octets]

        await until(lambda: bool(found()))
        (octets,) = found()
        return octets


@pytest.fixture(scope="module")
def store(lab: Lab) -> Iterator[Store]:
    ports = {name: free_port() for name in ("proxy", "xclient", "plain")}
    more = _MORE.format(certificate=shared().certificate, key=shared().key)
    services = _SERVICES.format(**ports)
    postfix = lab.server(
        "postfix-store", Postfix, lambda folder: Postfix(folder, free_port(), more=more, services=services)
    )
    deadline = time.monotonic() + WAIT
    while not all(greets(("127.0.0.1", ports[one]), b"220 ", b"QUIT\r\n") for one in ("xclient", "plain")):
        assert time.monotonic() < deadline, postfix.main_log()
        time.sleep(0.05)
    yield Store(postfix, **ports)


WAYS = {
    "proxy": {"client_identity": "proxy"},
    "xclient": {"client_identity": "xclient"},
    "proxy in tls": {"client_identity": "proxy", "tls": "required"},
    "xclient in tls": {
        "client_identity": "xclient",
        "tls": "required",
        "tls_name": "mx.example.com",
        "tls_ca_file": str(shared().certificate),
    },
    "by data": {"client_identity": "proxy", "ignore_extensions": ["CHUNKING"]},
}


@pytest.mark.parametrize(("number", "way"), list(enumerate(WAYS)))
async def test_postfix_sees_the_client_and_delivers_octet_for_octet(store: Store, number: int, way: str) -> None:
    address = f"198.18.7.{number}"
    settings = WAYS[way]
    relay = store.relay(getattr(store, settings["client_identity"]), **settings)
    await relay.refuse_open_relays()
    letter = mail(".dots\r\n..more\r\n.\r\n\r\nFrom here 8-bit: \xfc\r\n" + "x" * 998)
    transaction = relay.transaction(replace(NAMED, address=ClientAddress.parse(address)), SENDER)
    assert (await transaction.rcpt(INBOX)).code == 250
    answer = await deliver(transaction, letter.octets)
    assert str(answer).startswith("250 2.0.0 Ok: ") and " queued as " in str(answer), answer
    stored = await store.received(letter)
    head, _, body = stored.partition(b"\n\n")
    assert body == letter.octets.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    name = "mail.example.org" if "xclient" in way else "unknown"
    assert f"Received: from client.example.org ({name} [{address}])".encode() in head
    assert (b"using TLSv1.3" in head) == ("tls" in way)
    counted = await store.commands(address)
    assert ("bdat=1" in counted, "data=1" in counted) == ("data" not in way, "data" in way)


async def test_postfix_reads_header_fields_without_a_bound(store: Store) -> None:
    """Why a header section over ``limits.max_header_size`` is refused: Postfix would hand all of it to Sieve."""
    letter = mail()
    head, _, body = letter.octets.partition(b"\r\n\r\n")
    filler = b"X-Filler: " + b"a" * 60 + b"\r\n"
    long = head + b"\r\n" + filler * 22_222 + b"X-Mailguard-Folder: Trash\r\n\r\n" + body
    transaction = store.relay(store.proxy, client_identity="proxy").transaction(CLIENT, SENDER)
    assert (await transaction.rcpt(INBOX)).code == 250
    assert (await deliver(transaction, long)).code == 250
    stored = await store.received(letter)
    assert stored.partition(b"\n\n")[0].endswith(b"\nX-Mailguard-Folder: Trash")


@pytest.mark.parametrize("way", ["proxy", "xclient"])
async def test_ipv6_and_a_client_without_a_name(store: Store, way: str) -> None:
    letter = mail()
    identity = replace(CLIENT, address=ClientAddress.parse("2001:2:0:1::1"), helo="under_score")
    transaction = store.relay(getattr(store, way), client_identity=way).transaction(identity, SENDER)
    assert (await transaction.rcpt(INBOX)).code == 250
    assert (await deliver(transaction, letter.octets)).code == 250
    head = (await store.received(letter)).partition(b"\n\n")[0]
    assert re.search(rb"Received: from \[IPv6:2001:2:0:1::1\] \(unknown \[IPv6:2001:2:0:1::1\]\)", head)


async def test_relaying_is_refused_for_the_client(store: Store) -> None:
    for way in ("proxy", "xclient"):
        transaction = store.relay(getattr(store, way), client_identity=way).transaction(CLIENT, SENDER)
        answer = await transaction.rcpt(RcptTo(MailPath(b"x", b"elsewhere.example")))
        assert (answer.code, answer.enhanced) == (554, "5.7.1")
        await transaction.abort()


async def test_one_that_would_take_us_for_the_client_is_found_out(store: Store) -> None:
    with pytest.raises(OpenRelay):
        await store.relay(store.plain, client_identity="none").refuse_open_relays()


async def test_no_xclient_for_us_no_mail(store: Store) -> None:
    relay = store.relay(store.plain, client_identity="xclient")
    answer = await relay.transaction(CLIENT, SENDER).rcpt(INBOX)
    assert answer.code == 451
    assert "smtpd_authorized_xclient_hosts" in answer.cause


async def test_a_certificate_of_another_name_no_mail(store: Store) -> None:
    relay = store.relay(
        store.proxy, tls="required", tls_name="other.example.com", tls_ca_file=str(shared().certificate)
    )
    answer = await relay.transaction(CLIENT, SENDER).rcpt(INBOX)
    assert answer.code == 451
    assert "certificate verify failed" in answer.cause


async def test_what_postfix_offers_and_parameters_of_dsn(store: Store) -> None:
    relay = store.relay(store.proxy)
    assert await relay.probe()
    assert relay.extensions == Extensions(20_000_000, eightbitmime=True, smtputf8=True, dsn=True)
    letter = mail()
    sender = MailPath(b"sender", b"example.net")
    asked = (Parameter("RET", b"HDRS"), Parameter("ENVID", b"QQ+2B314159"))
    transaction = relay.transaction(CLIENT, MailFrom(sender, asked))
    original = (Parameter("NOTIFY", b"SUCCESS"), Parameter("ORCPT", b"rfc822;first+2Bone@Example.org"))
    assert (await transaction.rcpt(replace(INBOX, parameters=original))).code == 250
    assert (await deliver(transaction, letter.octets)).code == 250

    def reports() -> list[bytes]:
        return [octets for octets in store.postfix.bounced().values() if b"Original-Envelope-Id: QQ+314159\n" in octets]

    await until(lambda: bool(reports()))
    assert b"\nOriginal-Recipient: rfc822;first+one@Example.org\n" in reports()[0]


async def test_one_connection_for_many_messages_where_no_client_is_named(store: Store) -> None:
    relay = store.relay(store.plain, client_identity="none", relay_probe=False)
    letters = [mail(str(number)) for number in range(12)]
    for letter in letters:
        transaction = relay.transaction(CLIENT, SENDER)
        assert (await transaction.rcpt(INBOX)).code == 250
        assert (await deliver(transaction, letter.octets)).code == 250
    await relay.finish()
    for letter in letters:
        await store.received(letter)

    def messages() -> list[str]:
        return re.findall(r"postfix/plain/smtpd.*disconnect.* bdat=(\d+) .*quit=1", store.postfix.main_log())

    await until(lambda: len(messages()) == 2)
    assert messages() == ["10", "2"]


async def test_postfix_has_nothing_to_complain_about(store: Store) -> None:
    """After all the others. The certificate that was refused is told as an error of the handshake."""
    lines = [line for line in store.postfix.main_log().splitlines() if "smtpd" in line and "TLS" not in line]
    complaints = ("warning:", "improper command pipelining", "timeout", "too many")
    assert [line for line in lines if any(complaint in line for complaint in complaints)] == []
