"""What the policy's white lists say of the client stands in Authentication-Results (RFC 8904)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from mailguard.facts import Answer, Codes, Known, Unknown
from tests.support.found import said
from tests.support.mail import mail, submit
from tests.unit.session.conftest import POLICY, Start

LISTS = """\
dnsbl:
  black: {zone: black.test, answers: {127.0.0.2: {weight: 4}}}
  mixed: {zone: mixed.test, answers: {127.0.0.2: {weight: 4}, 127.0.0.3: {weight: -1}}}
  noted: {zone: noted.test, answers: {127.0.0.2: {weight: 0}}}
  white: {zone: white.test, answers: {127.0.0.2: {weight: 0}, 127.0.10.*: {weight: -2}}}
"""
WITH_LISTS = (
    POLICY.replace("rules:\n", LISTS + "rules:\n", 1)
    .replace("sender.domain == 'dull.example'", "dnsbl.score >= 9")
    .replace("unavailable:\n", "unavailable:\n  dnsbl: ignore\n")
)


async def results(start: Start, monkeypatch: pytest.MonkeyPatch, white: Answer[Codes], client: str) -> bytes:
    """The Authentication-Results of a delivered message, unfolded."""

    listed = Known(frozenset({IPv4Address("127.0.0.2")}))
    answers: dict[str, Answer[Codes]] = {"black": listed, "mixed": listed, "noted": listed, "white": white}
    monkeypatch.setattr("mailguard.checks.dnsbl.Dnsbl.ask", lambda *_: said(answers))
    service = await start(policy_text=WITH_LISTS, own_relays=["198.18.9.0/24"])
    async with await service.connect(client) as connection:
        await submit(connection, mail().octets)
    head = service.sink.messages[0].content.replace(b"\r\n\t", b" ").split(b"\r\n")
    return next(line for line in head if line.startswith(b"Authentication-Results:"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Known(frozenset({IPv4Address("127.0.10.2")})), b"dnswl=pass dns.zone=white.test policy.ip=127.0.10.2"),
        (Known(frozenset()), b"dnswl=none dns.zone=white.test"),
        (Unknown("timeout"), b"dnswl=temperror dns.zone=white.test"),
        (Known(frozenset({IPv4Address("127.255.255.254")})), b"dnswl=temperror dns.zone=white.test"),
    ],
)
async def test_only_white_lists_are_told(
    start: Start, monkeypatch: pytest.MonkeyPatch, answer: Answer[Codes], told: bytes
) -> None:
    line = await results(start, monkeypatch, answer, "198.18.1.10")
    assert line.endswith(b"; " + told)
    assert line.count(b"dnswl") == 1


async def test_of_our_own_relay_nothing_is_claimed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    line = await results(start, monkeypatch, Known(frozenset()), "198.18.9.1")
    assert line == b"Authentication-Results: mx.example.com; none"
