"""A client of whom the same is known is the same object, and no other is; few are remembered."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from mailguard.clients import Clients
from mailguard.facts import NOT_ASKED, NOT_LISTED, Answer, Client, ClientAddress, Codes, Known, ReverseDns

NAMELESS: Answer[ReverseDns] = Known(ReverseDns("", confirmed=False))
LISTED: Answer[Codes] = Known(frozenset({IPv4Address("127.0.0.2")}))


def met(
    clients: Clients,
    address: str = "198.18.0.1",
    talks: Answer[bool] = NOT_ASKED,
    name: Answer[ReverseDns] = NAMELESS,
    zen: Answer[Codes] = NOT_LISTED,
) -> Client:
    return clients.known(ClientAddress.parse(address), talks, name, {"zen": zen})


def test_who_comes_again_is_the_same() -> None:
    clients = Clients()
    first = met(clients)
    assert (first.address.text, first.early_talker, first.reverse_dns) == ("198.18.0.1", NOT_ASKED, NAMELESS)
    assert first.dnsbl == {"zen": NOT_LISTED}
    assert met(clients, zen=Known(frozenset())) is first


@pytest.mark.parametrize(
    "other",
    [
        {"address": "198.18.0.2"},
        {"talks": Known(True)},
        {"name": Known(ReverseDns("mail.example.org", confirmed=True))},
        {"zen": LISTED},
    ],
)
def test_who_is_known_otherwise_is_another(other: dict[str, object]) -> None:
    clients = Clients()
    first = met(clients)
    second = met(clients, **other)  # type: ignore[arg-type]
    assert second is not first
    assert met(clients, **other) is second  # type: ignore[arg-type]


def test_who_was_not_seen_for_longest_is_forgotten() -> None:
    clients = Clients(most=2)
    first, second = met(clients, "198.18.0.1"), met(clients, "198.18.0.2")
    assert met(clients, "198.18.0.1") is first
    met(clients, "198.18.0.3")
    assert met(clients, "198.18.0.1") is first
    assert met(clients, "198.18.0.2") is not second
