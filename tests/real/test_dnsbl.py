"""DNS lists served by a real rbldnsd behind a real unbound: codes, faults, health, cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import pytest

from mailguard.checks.dnsbl import Dnsbl
from mailguard.checks.dnsbl_health import IPV6_POINTS
from mailguard.checks.dnsbl_names import query_name
from mailguard.config import Dns
from mailguard.dns.resolver import Resolver
from mailguard.facts import Answer, ClientAddress, Codes, DnsblZone, Known, Unknown
from mailguard.lab import Lab, world
from mailguard.lab.unbound import Unbound
from tests.unit.dns.fakes import Clock

ZEN = DnsblZone("zen", world.ZEN, ipv6=True)
SPAMCOP = DnsblZone("spamcop", world.SPAMCOP)
DNSWL = DnsblZone("dnswl", world.DNSWL)
LISTS = (ZEN, SPAMCOP, DNSWL)
CLEAN = "198.18.1.10"


class Asking:
    """Lists asked through one resolver, with a clock of our own for the cache."""

    def __init__(self, server: Unbound, *lists: DnsblZone, **settings: object) -> None:
        self.clock = Clock()
        self.settings = Dns.model_validate({"servers": [server.address], "timeout": 30} | settings)
        self.dnsbl = Dnsbl(Resolver(self.settings, self.clock), lists, self.settings, self.clock)

    async def ask(self, client: str = CLEAN) -> dict[str, Answer[Codes]]:
        return (await self.dnsbl.ask(ClientAddress.parse(client), asyncio.get_running_loop().time() + 60)).answers

    async def is_ill(self, name: str) -> bool:
        answer = (await self.ask())[name]
        return isinstance(answer, Unknown) and answer.why.startswith("ill: ")

    async def until_ill(self, name: str, ill: bool) -> None:
        while await self.is_ill(name) is not ill:  # noqa: ASYNC110 - a list found ill sets no event
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.dnsbl.watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


def listed(*codes: str) -> Known[Codes]:
    return Known(frozenset(map(IPv4Address, codes)))


def fault(name: str) -> DnsblZone:
    return DnsblZone(name, world.fault_zone(name))


@pytest.mark.parametrize(
    ("client", "zen", "spamcop", "dnswl"),
    [
        (CLEAN, (), (), ()),
        ("198.18.7.2", ("127.0.0.2",), (), ()),
        ("198.18.7.3", ("127.0.0.3",), (), ()),
        ("198.18.7.4", ("127.0.0.4",), (), ()),
        ("198.18.7.9", ("127.0.0.9",), (), ()),
        ("198.18.7.10", ("127.0.0.10",), (), ()),
        ("198.18.7.11", ("127.0.0.11",), (), ()),
        ("198.18.7.99", ("127.0.0.99",), (), ()),
        ("198.18.66.0", ("127.0.0.4",), (), ()),
        ("198.18.66.255", ("127.0.0.4",), (), ()),
        ("198.18.7.8", (), ("127.0.0.2",), ()),
        (world.LISTED_TWICE, ("127.0.0.4",), ("127.0.0.2",), ()),
        (world.LISTED_AND_WELCOME, ("127.0.0.4",), ("127.0.0.2",), ("127.0.10.2",)),
        ("198.18.5.1", (), (), ("127.0.10.0",)),
        ("198.18.5.4", (), (), ("127.0.10.3",)),
        ("::ffff:198.18.7.2", ("127.0.0.2",), (), ()),
        (world.LISTED_V6, ("127.0.0.4",), (), ()),
        ("2001:2:0:7:ffff::1", ("127.0.0.4",), (), ()),
        ("2001:2:0:1::1", (), (), ()),
    ],
)
async def test_what_the_lists_say(
    dns: Unbound, client: str, zen: Sequence[str], spamcop: Sequence[str], dnswl: Sequence[str]
) -> None:
    answers = await Asking(dns, *LISTS).ask(client)
    assert answers == {"zen": listed(*zen), "spamcop": listed(*spamcop), "dnswl": listed(*dnswl)}


async def test_several_codes_of_one_list(own_lab: Lab) -> None:
    own_lab.lists().write(world.ZEN, "ip4set", "127.0.0.2\n198.18.7.2 :127.0.0.2:\n198.18.7.2 :127.0.0.10:\n")
    answers = await Asking(own_lab.dns(), ZEN).ask("198.18.7.2")
    assert answers == {"zen": listed("127.0.0.2", "127.0.0.10")}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("refused", "refused: {server} REFUSED"),
        ("servfail", "servfail: {server} SERVFAIL"),
        ("blocked", "blocked: the list answered 127.255.255.254"),
        ("outside", "bad answer: 198.18.0.53 is outside 127.0.0.0/8"),
    ],
)
async def test_a_list_that_fails_is_unknown_and_the_others_are_not(dns: Unbound, name: str, why: str) -> None:
    answers = await Asking(dns, fault(name), *LISTS).ask(world.LISTED_TWICE)
    assert answers[name] == Unknown(why.format(server=dns.address))
    assert (answers["zen"], answers["dnswl"]) == (listed("127.0.0.4"), listed())


async def test_a_silent_list_is_unknown(dns: Unbound) -> None:
    answers = await Asking(dns, fault("silent"), timeout=0.05, attempts=1).ask()
    assert answers == {"silent": Unknown(f"timeout: {dns.address} silent for 0.05 s")}


async def test_a_silent_list_costs_the_deadline_and_no_more(dns: Unbound) -> None:
    asking = Asking(dns, fault("silent"), timeout=3600)
    loop = asyncio.get_running_loop()
    said = await asking.dnsbl.ask(ClientAddress.parse(CLEAN), loop.time() + 0.05)
    assert said.answers == {"silent": Unknown("timeout: no answer by the deadline")}


async def test_the_lists_of_the_world_are_healthy(dns: Unbound) -> None:
    asking = Asking(dns, *LISTS)
    await asking.dnsbl.probe_due()
    assert not any([await asking.is_ill(zone.name) for zone in LISTS])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing", "ill: test point 127.0.0.2: not listed"),
        ("everything", "ill: test point 127.0.0.1: listed as 127.0.0.2"),
        ("blocked", "ill: test point 127.0.0.2: blocked: the list answered 127.255.255.254"),
        ("outside", "ill: test point 127.0.0.2: bad answer: 198.18.0.53 is outside 127.0.0.0/8"),
    ],
)
async def test_a_list_that_answers_wrongly_is_ill(dns: Unbound, name: str, why: str) -> None:
    asking = Asking(dns, fault(name), ZEN)
    await asking.dnsbl.probe_due()
    assert await asking.ask() == {name: Unknown(why), "zen": listed()}


@pytest.mark.parametrize(("name", "patience"), [("silent", 0.05), ("refused", 30), ("servfail", 30)])
async def test_a_list_that_does_not_answer_is_not_ill(dns: Unbound, name: str, patience: float) -> None:
    asking = Asking(dns, fault(name), timeout=patience, attempts=1)
    await asking.dnsbl.probe_due()
    assert not await asking.is_ill(name)


async def test_a_list_whose_ipv6_side_was_emptied_is_ill_where_it_declares_one(own_lab: Lab) -> None:
    server = own_lab.dns()
    server.control("local_zone", f"{query_name(IPV6_POINTS[0].ip, world.ZEN)}.", "always_nxdomain")
    asking = Asking(server, ZEN, DnsblZone("zen4", world.ZEN))
    await asking.dnsbl.probe_due()
    assert await asking.ask() == {"zen": Unknown(f"ill: test point {IPV6_POINTS[0].ip}: not listed"), "zen4": listed()}


@pytest.mark.parametrize("how", ["nothing", "blocked", "outside", "everything"])
async def test_a_list_falls_ill_and_comes_back_while_mailguard_runs(own_lab: Lab, how: str) -> None:
    """The watch with short intervals, real time, and live changes of unbound; every wait is for what must come."""
    server = own_lab.dns()
    asking = Asking(server, ZEN, SPAMCOP, probe_interval=0.05, ill_probe_interval=0.05, cache_size=0)
    asking.clock = asking.dnsbl._clock = asyncio.get_running_loop().time  # type: ignore[assignment]
    async with asking.watched():
        server.break_zone(world.ZEN, how)
        await asking.until_ill("zen", True)
        assert (await asking.ask(world.LISTED_BY_SPAMCOP))["spamcop"] == listed("127.0.0.2")
        server.heal_zone(world.ZEN)
        await asking.until_ill("zen", False)
        assert (await asking.ask("198.18.7.4"))["zen"] == listed("127.0.0.4")


async def test_an_emptied_list_is_ill_until_it_is_filled_again(own_lab: Lab) -> None:
    server, lists = own_lab.dns(), own_lab.lists()
    asking = Asking(server, SPAMCOP)
    for change, ill in ((lists.empty, True), (lists.restore, False)):
        change(world.SPAMCOP)
        server.forget(world.SPAMCOP)
        asking.clock.now += asking.settings.probe_interval
        await asking.dnsbl.probe_due()
        assert await asking.is_ill("spamcop") is ill


async def test_without_resolver_all_is_unknown_and_none_is_ill_and_all_comes_back(own_lab: Lab) -> None:
    server = own_lab.dns()
    asking = Asking(server, *LISTS)
    server.kill()
    await asking.dnsbl.probe_due()
    answers = await asking.ask(world.LISTED_TWICE)
    assert {type(answer) for answer in answers.values()} == {Unknown}
    assert not await asking.is_ill("zen")
    server.start()
    asking.clock.now += asking.settings.failure_ttl
    assert (await asking.ask(world.LISTED_TWICE))["zen"] == listed("127.0.0.4")


async def test_an_answer_is_kept_for_its_ttl(dns: Unbound) -> None:
    """Listed: 60 s from the zone's $TTL; not listed: 60 s from its SOA. unbound tells how often it was asked."""
    asking = Asking(dns, ZEN, SPAMCOP)
    dns.forget(world.ZEN)
    dns.forget(world.SPAMCOP)
    counts = []
    for wait in (0.0, 0.0, 59.0, 1.0):
        asking.clock.now += wait
        before = dns.questions()
        assert await asking.ask("198.18.7.4") == {"zen": listed("127.0.0.4"), "spamcop": listed()}
        counts.append(dns.questions() - before)
    assert counts == [2, 0, 0, 2]


async def test_a_hundred_connections_of_one_client_ask_once(dns: Unbound) -> None:
    asking = Asking(dns, *LISTS, cache_size=0)
    before = dns.questions()
    answers = await asyncio.gather(*(asking.ask(world.LISTED_TWICE) for _ in range(100)))
    assert answers == [answers[0]] * 100
    assert dns.questions() - before == len(LISTS)


async def test_a_thousand_clients_at_once(dns: Unbound) -> None:
    asking = Asking(dns, ZEN, max_questions=50)
    clients = [f"198.18.{net}.{host}" for net in (7, 66, 67, 68) for host in range(250)]
    answers = await asyncio.gather(*(asking.ask(client) for client in clients))
    codes = {client: answer["zen"] for client, answer in zip(clients, answers, strict=True)}
    assert codes["198.18.7.4"] == listed("127.0.0.4")
    assert sum(answer == listed("127.0.0.4") for answer in answers_of(answers)) == 250 + 3
    assert not [answer for answer in answers_of(answers) if isinstance(answer, Unknown)]


def answers_of(answers: Sequence[dict[str, Answer[Codes]]]) -> list[Answer[Codes]]:
    return [answer["zen"] for answer in answers]


async def test_the_second_resolver_serves_where_the_first_is_dead(own_lab: Lab, dns: Unbound) -> None:
    dead = own_lab.dns()
    dead.kill()
    asking = Asking(dns, *LISTS, servers=[dead.address, dns.address])
    assert (await asking.ask(world.LISTED_TWICE))["zen"] == listed("127.0.0.4")
