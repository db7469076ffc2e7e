"""Slots, and who a peer is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest

from mailguard.config import Limits
from mailguard.facts import ClientAddress
from mailguard.net.proxy_protocol import Endpoints, Header
from mailguard.smtp.admission import Slots, TurnedAway, Why, behind, endpoint, is_trusted
from mailguard.smtp.shared_counts import SharedCounts, Tally, clear, create

LIMITS = Limits(max_connections=3, max_connections_per_client=2)
RESERVING = Limits(max_connections=6, reserved_share=34, max_connections_per_client=10)
OWN = (ip_network("203.0.113.0/28"),)
RELAY = "203.0.113.1"


def address(text: str) -> ClientAddress:
    return ClientAddress.parse(text)


def hold(stack: ExitStack, slots: Slots, clients: Iterable[str]) -> None:
    for client in clients:
        stack.enter_context(slots.client(address(client)))


def strangers(count: int, first: int = 1) -> list[str]:
    return [f"198.18.7.{number}" for number in range(first, first + count)]


def turned_away(slots: Slots, client: str) -> TurnedAway | None:
    try:
        with slots.client(address(client)):
            return None
    except TurnedAway as refusal:
        return refusal


def test_slots_in_all_come_back() -> None:
    slots = Slots(LIMITS)
    for _ in range(3):
        with ExitStack() as stack:
            hold(stack, slots, strangers(3))
            with pytest.raises(TurnedAway, match=r"^421 4\.3\.2 "), slots.client(address("198.18.7.4")):
                pass


def test_strangers_do_not_reach_the_reserve() -> None:
    slots = Slots(RESERVING, OWN)
    with ExitStack() as stack:
        hold(stack, slots, strangers(4))
        refusal = turned_away(slots, "198.18.7.9")
        assert refusal is not None
        assert (refusal.why, refusal.reply.code, refusal.reply.cause) == (Why.SLOTS, 421, "4 connections of strangers")
        hold(stack, slots, [RELAY, "::1"])
        assert turned_away(slots, RELAY)
        assert turned_away(slots, "127.0.0.1")
    assert not turned_away(slots, "198.18.7.9")


def test_our_own_relays_take_more_than_the_reserve_where_there_is_room() -> None:
    """And what they hold beyond it is missing for strangers, not for them."""
    slots = Slots(RESERVING, OWN)
    with ExitStack() as stack:
        hold(stack, slots, [RELAY] * 5)
        hold(stack, slots, strangers(1))
        assert turned_away(slots, "198.18.7.9")
        assert turned_away(slots, RELAY)


def test_a_twentieth_is_reserved_and_never_all() -> None:
    assert [Limits(max_connections=number).reserve for number in (1, 19, 20, 1000)] == [0, 0, 1, 50]
    assert Limits(max_connections=1, reserved_share=50).reserve == 0
    assert Limits(reserved_share=0).reserve == 0


def test_those_without_a_proxy_header_take_no_slot_and_are_bounded() -> None:
    slots = Slots(RESERVING, OWN)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(slots.unnamed())
        with pytest.raises(TurnedAway, match=r"^421 4\.3\.2 "), slots.unnamed():
            pass
        hold(stack, slots, [*strangers(4), RELAY, RELAY])
    assert not turned_away(slots, RELAY)


def test_behind_a_proxy_strangers_at_their_bound_leave_room_for_a_relays_header() -> None:
    slots = Slots(RESERVING, OWN)
    with ExitStack() as stack:
        hold(stack, slots, strangers(4))
        for _ in range(4):
            stack.enter_context(slots.unnamed())
        with pytest.raises(TurnedAway), slots.unnamed():
            pass
        assert not turned_away(slots, RELAY)


def test_an_overloaded_worker_takes_our_own_relays_alone() -> None:
    busy = [True]
    slots = Slots(RESERVING, OWN, overloaded=lambda: busy[0])
    refusal = turned_away(slots, "198.18.7.9")
    assert refusal is not None
    assert (refusal.why, str(refusal.reply)) == (Why.LAG, "421 4.3.2 Too busy, try again later")
    assert not turned_away(slots, RELAY)
    assert not turned_away(slots, "127.0.0.1")
    busy[0] = False
    assert not turned_away(slots, "198.18.7.9")


def test_a_refused_connection_leaves_nothing_counted() -> None:
    counts = SharedCounts.alone()
    slots = Slots(Limits(max_connections=2, max_connections_per_client=1, reserved_share=50), OWN, counts)
    with slots.client(address("198.18.7.1")):
        assert turned_away(slots, "198.18.7.1")
        assert turned_away(slots, "198.18.7.2")
        with slots.client(address(RELAY)):
            assert turned_away(slots, RELAY)
            with slots.unnamed(), pytest.raises(TurnedAway), slots.unnamed():
                pass
    assert [counts.total(tally) for tally in Tally] == [0, 0, 0]
    assert counts.client(address("198.18.7.1").client_key) == 0


@pytest.fixture
def memory() -> Iterator[int]:
    fd = create(2)
    yield fd
    os.close(fd)


def test_the_bounds_hold_over_workers(memory: int) -> None:
    """Each with a slot of the same memory, as processes have it (test_shared_counts.py)."""
    one, two = (Slots(RESERVING, OWN, SharedCounts(memory, number)) for number in range(2))
    with ExitStack() as stack:
        hold(stack, one, strangers(2))
        with ExitStack() as of_two:
            hold(of_two, two, strangers(2, first=3))
            assert turned_away(one, "198.18.7.9")
            assert turned_away(two, "198.18.7.9")
            hold(of_two, two, [RELAY])
        assert not turned_away(one, "198.18.7.9")


def test_connections_of_a_dead_worker_do_not_count(memory: int) -> None:
    dead, living = SharedCounts(memory, 0), Slots(LIMITS, (), SharedCounts(memory, 1))
    client = "198.18.7.1"
    for _ in range(2):
        dead.add(dead.of_client(address(client).client_key), 1)
        dead.add([Tally.CONNECTIONS], 1)
    refusal = turned_away(living, client)
    assert refusal is not None
    assert refusal.why is Why.CLIENT
    clear(memory, 0)
    with ExitStack() as stack:
        hold(stack, living, [client, client, "198.18.7.2"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("198.18.0.1", "198.18.0.1", True),
        ("198.18.0.1", "::ffff:198.18.0.1", True),
        ("198.18.0.1", "198.18.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("0.0.0.0", "::", False),
        ("255.255.255.255", "0:0:0:1::", False),
    ],
)
def test_what_counts_as_one_client(one: str, other: str, same: bool) -> None:
    counts = SharedCounts.alone()
    slots = Slots(Limits(max_connections_per_client=2), (), counts)
    with slots.client(address(one)), slots.client(address(one)):
        if same:
            with pytest.raises(TurnedAway, match=r"^421 4\.7\.0 "), slots.client(address(other)):
                pass
        else:
            with slots.client(address(other)):
                pass
    with slots.client(address(other)), slots.client(address(other)):
        assert counts.client(address(other).client_key) == 2
    assert counts.client(address(other).client_key) == counts.client(address(one).client_key) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (("198.18.0.1", 4711), "198.18.0.1 4711"),
        (("::ffff:198.18.0.1", 4711, 0, 0), "198.18.0.1 4711"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80::1 4711"),
    ],
)
def test_socket_names(name: tuple[object, ...], text: str) -> None:
    assert "{} {}".format(*endpoint(name)) == text


def test_who_sends_a_proxy_header() -> None:
    trusted = [ip_network("198.18.0.0/24"), ip_network("2001:db8::/32")]
    assert is_trusted(address("198.18.0.9"), trusted)
    assert is_trusted(address("::ffff:198.18.0.9"), trusted)
    assert is_trusted(address("2001:db8::1"), trusted)
    assert not is_trusted(address("198.18.1.9"), trusted)
    assert not is_trusted(address("198.18.0.9"), [])


def test_who_is_behind_a_header() -> None:
    peer, local = (address("198.18.0.1"), 1), (address("198.18.0.2"), 2)
    named = Endpoints(address("198.18.0.3"), 3, address("198.18.0.4"), 4)
    assert behind(Header(), peer, local) == (peer, local)
    assert behind(Header(named), peer, local) == ((named.source, 3), (named.destination, 4))
