"""Asking the lists, and probing them, against tables of faults."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest
import structlog.testing

from mailguard import metrics
from mailguard.checks.dnsbl import JITTER, Dnsbl
from mailguard.checks.dnsbl_answers import Outcome
from mailguard.checks.dnsbl_names import query_name
from mailguard.dns.resolver import Resolver
from mailguard.facts import Answer, ClientAddress, Codes, DnsblZone, Known, Unknown
from tests.support.loops import alone, at, cancelled_after
from tests.unit.dns.fakes import (
    FAULTS,
    HANGING,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    SILENT,
    Answerer,
    Clock,
    FakeTransport,
    Say,
    Table,
    dns_settings,
    says,
    until,
)

ZEN = DnsblZone("zen", "zen.example", ipv6=True)
COP = DnsblZone("cop", "cop.example")
CLIENT = ClientAddress.parse("198.18.7.7")
CLIENT6 = ClientAddress.parse("2001:2::7")
NOT_LISTED: Known[Codes] = Known(frozenset())
V6_TEST_POINT = "2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20


def listed(client: ClientAddress, zone: DnsblZone, *codes: str) -> Table:
    return says(query_name(client.ip, zone.zone), "A", *codes)


def healthy(*zones: DnsblZone) -> Table:
    table: Table = {}
    for zone in zones:
        table |= says(f"2.0.0.127.{zone.zone}", "A", "127.0.0.2")
        table |= says(f"{V6_TEST_POINT}.{zone.zone}", "A", "127.0.0.2") if zone.ipv6 else {}
    return table


class World:
    """Lists in front of a table."""

    def __init__(self, *zones: DnsblZone, table: Table | None = None, **settings: object) -> None:
        self.clock = Clock()
        self.transport = FakeTransport(healthy(*zones) | (table or {}))
        self.settings = dns_settings(**settings)
        self.dnsbl = self.lists(*zones)

    def lists(self, *zones: DnsblZone) -> Dnsbl:
        resolver = Resolver(self.settings, self.clock, self.transport)
        return Dnsbl(resolver, zones, self.settings, self.clock, jitter=lambda: 0.0)

    async def ask(self, client: ClientAddress = CLIENT, within: float = 30.0) -> dict[str, Answer[Codes]]:
        return (await self.dnsbl.ask(client, at(within))).answers


def metric(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"mailguard_{name}", labels) or 0.0


@contextmanager
def counts(zone: str, outcome: str, by: int) -> Iterator[None]:
    before = metric("dnsbl_queries_total", zone=zone, outcome=outcome)
    yield
    assert metric("dnsbl_queries_total", zone=zone, outcome=outcome) == before + by


def test_a_list_is_asked_about_a_client_address_and_nothing_else() -> None:
    """The invariant by type (architecture.md): no header can get in, since there is no way in for one."""
    parameters = dict(inspect.signature(Dnsbl.ask).parameters)
    del parameters["self"]
    hints = typing.get_type_hints(Dnsbl.ask)
    told = parameters.pop("took")  # what is told, and nothing that is asked about
    assert hints[told.name] == dict[str, float] | None
    assert {name: hints[name] for name in parameters} == {"address": ClientAddress, "deadline": float}


async def test_nothing_but_the_client_is_ever_asked_about() -> None:
    world = World(ZEN, COP)
    await world.ask()
    assert sorted(world.transport.names) == ["7.7.18.198.cop.example", "7.7.18.198.zen.example"]


async def test_what_each_list_says() -> None:
    table = listed(CLIENT, ZEN, "127.0.0.4", "127.0.0.2")
    with counts("zen", "listed", 1), counts("cop", "not_listed", 1):
        assert await World(ZEN, COP, table=table).ask() == {
            "zen": Known(frozenset({IPv4Address("127.0.0.2"), IPv4Address("127.0.0.4")})),
            "cop": NOT_LISTED,
        }


@pytest.mark.parametrize(
    ("said", "outcome", "why"),
    [
        (SILENT, "timeout", "timeout: 127.0.0.1:5301 silent for 20 s"),
        (SERVFAIL, "servfail", "servfail: 127.0.0.1:5301 SERVFAIL"),
        (REFUSED, "refused", "refused: 127.0.0.1:5301 REFUSED"),
        (OSError("no route"), "error", "error: 127.0.0.1:5301 no route"),
        (
            Say(("7.7.18.198.zen.example. 60 A 127.255.255.254",)),
            "blocked",
            "blocked: the list answered 127.255.255.254",
        ),
        (
            Say(("7.7.18.198.zen.example. 60 A 198.18.0.1",)),
            "bad_answer",
            "bad answer: 198.18.0.1 is outside 127.0.0.0/8",
        ),
    ],
)
async def test_a_failure_is_unknown_for_that_list_alone(said: Answerer, outcome: str, why: str) -> None:
    world = World(ZEN, COP, table={("7.7.18.198.zen.example", "A"): said})
    with counts("zen", outcome, 1), counts("cop", "not_listed", 1):
        assert await world.ask() == {"zen": Unknown(why), "cop": NOT_LISTED}


async def test_all_lists_are_asked_at_once() -> None:
    world = World(ZEN, COP)
    world.transport.gate = asyncio.Event()
    task = asyncio.create_task(world.ask())
    await until(lambda: world.transport.under_way == 2)
    world.transport.gate.set()
    assert await task == {"zen": NOT_LISTED, "cop": NOT_LISTED}


async def test_one_deadline_is_for_all_lists_and_keeps_what_came_before() -> None:
    world = World(ZEN, COP, table={("7.7.18.198.zen.example", "A"): HANGING})
    await world.ask(within=0.01)  # the second list's answer may come now, and is kept then
    await world.dnsbl._resolver.resolve("7.7.18.198.cop.example", "A", at())
    assert await world.ask(within=0.01) == {"zen": Unknown("timeout: no answer by the deadline"), "cop": NOT_LISTED}


async def test_many_connections_of_one_client_ask_once() -> None:
    world = World(ZEN, COP)
    world.transport.gate = asyncio.Event()
    tasks = [asyncio.create_task(world.ask()) for _ in range(10)]
    await until(lambda: len(world.transport.asked) == 2)
    world.transport.gate.set()
    assert await asyncio.gather(*tasks) == [{"zen": NOT_LISTED, "cop": NOT_LISTED}] * 10
    assert len(world.transport.asked) == 2


async def test_cancelled_at_every_step_nothing_goes_on() -> None:
    for turns in range(30):
        world = World(ZEN, COP)
        task = await cancelled_after(turns, world.ask())
        assert await alone()
        assert world.transport.under_way == 0
    assert not task.cancelled()


@pytest.mark.parametrize(
    "client", ["10.1.2.3", "192.168.0.1", "127.0.0.1", "100.64.0.1", "169.254.1.1", "::1", "fe80::1", "fd00::1"]
)
async def test_private_clients_are_on_no_list_unasked(client: str) -> None:
    world = World(ZEN, COP)
    assert await world.ask(ClientAddress.parse(client)) == {"zen": NOT_LISTED, "cop": NOT_LISTED}
    assert not world.transport.asked


async def test_private_clients_are_asked_about_where_the_setting_says_so() -> None:
    client = ClientAddress.parse("10.1.2.3")
    world = World(ZEN, table=listed(client, ZEN, "127.0.0.2"), ask_about_private_clients=True)
    assert await world.ask(client) == {"zen": Known(frozenset({IPv4Address("127.0.0.2")}))}


async def test_ipv6_clients_are_asked_about_where_the_list_declares_it() -> None:
    world = World(ZEN, COP, table=listed(CLIENT6, ZEN, "127.0.0.4"))
    with counts("cop", "not_listed", 0):
        assert await world.ask(CLIENT6) == {"zen": Known(frozenset({IPv4Address("127.0.0.4")})), "cop": NOT_LISTED}
    assert world.transport.names == [query_name(CLIENT6.ip, "zen.example")]


async def test_a_healthy_list_is_probed_at_all_its_points_and_goes_on() -> None:
    world = World(ZEN, COP)
    await world.dnsbl.probe_due()
    assert sorted(world.transport.names) == sorted(
        [f"{point}.0.0.127.{zone}.example" for point in (1, 2) for zone in ("zen", "cop")]
        + [f"{point}{V6_TEST_POINT[1:]}.zen.example" for point in (1, 2)]
    )
    assert await world.ask() == {"zen": NOT_LISTED, "cop": NOT_LISTED}
    assert metric("dnsbl_healthy", zone="zen") == 1


WRONG = [
    ({("2.0.0.127.zen.example", "A"): NXDOMAIN}, "test point 127.0.0.2: not listed"),
    (
        says("1.0.0.127.zen.example", "A", "127.0.0.2", "127.0.0.10"),
        "test point 127.0.0.1: listed as 127.0.0.2, 127.0.0.10",
    ),
    (
        says("2.0.0.127.zen.example", "A", "127.255.255.254"),
        "test point 127.0.0.2: blocked: the list answered 127.255.255.254",
    ),
    (
        says("1.0.0.127.zen.example", "A", "198.18.0.1"),
        "test point 127.0.0.1: bad answer: 198.18.0.1 is outside 127.0.0.0/8",
    ),
    ({(f"{V6_TEST_POINT}.zen.example", "A"): NXDOMAIN}, "test point ::ffff:127.0.0.2: not listed"),
    (says(f"1{V6_TEST_POINT[1:]}.zen.example", "A", "127.0.0.2"), "test point ::ffff:127.0.0.1: listed as 127.0.0.2"),
    (
        {("1.0.0.127.zen.example", "A"): SILENT, ("2.0.0.127.zen.example", "A"): NXDOMAIN},
        "test point 127.0.0.2: not listed",
    ),
]


@pytest.mark.parametrize(("fault", "why"), WRONG)
async def test_a_wrong_answer_sets_the_list_aside_until_it_is_healthy(fault: Table, why: str) -> None:
    world = World(ZEN, COP, table=listed(CLIENT, ZEN, "127.0.0.4") | fault)
    with structlog.testing.capture_logs() as log:
        await world.dnsbl.probe_due()
        asked = len(world.transport.asked)
        with counts("zen", "ill", 1), counts("zen", "listed", 0), counts("cop", "not_listed", 1):
            answers = await world.ask()
        assert {
            name: str(getattr(answer, "why", "")).replace("::ffff:7f00:", "::ffff:127.0.0.")
            for name, answer in answers.items()
        } == {"zen": f"ill: {why}", "cop": ""}
        assert world.transport.names[asked:] == ["7.7.18.198.cop.example"]
        assert metric("dnsbl_healthy", zone="zen") == 0
        world.transport.table.update(healthy(ZEN))
        for name in ("1.0.0.127.zen.example", f"1{V6_TEST_POINT[1:]}.zen.example"):
            world.transport.table[name, "A"] = NXDOMAIN
        world.clock.now += world.settings.ill_probe_interval
        await world.dnsbl.probe_due()
        assert await world.ask() == {"zen": Known(frozenset({IPv4Address("127.0.0.4")})), "cop": NOT_LISTED}
    assert metric("dnsbl_healthy", zone="zen") == 1
    assert [(line["event"], line["log_level"], line["zone"]) for line in log] == [
        ("dnsbl ill", "warning", "zen"),
        ("dnsbl healthy", "info", "zen"),
    ]


async def test_what_a_list_said_is_not_given_again_once_it_is_ill() -> None:
    world = World(ZEN, probe_interval=1)
    await world.dnsbl.probe_due()
    assert await world.ask() == {"zen": NOT_LISTED}
    world.transport.table.update(says("1.0.0.127.zen.example", "A", "127.0.0.2"))
    world.clock.now += 1
    with counts("zen", "ill", 2):
        await world.dnsbl.probe_due()
        assert isinstance((await world.ask())["zen"], Unknown)
        assert isinstance((await world.ask())["zen"], Unknown)


async def test_a_client_that_comes_again_is_counted_again() -> None:
    table = listed(CLIENT, ZEN, "127.0.0.4")
    world = World(ZEN, COP, table=table)
    with counts("zen", "listed", 3), counts("cop", "not_listed", 3):
        for _ in range(3):
            told: dict[str, float] = {}
            await world.dnsbl.ask(CLIENT, at(30.0), told)
            assert set(told) == {"zen", "cop"}
    assert told == {"zen": 0.0, "cop": 0.0}
    assert len(world.transport.names) == 2


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("point", [1, 2])
async def test_a_failure_never_makes_a_list_ill_nor_healthy(fault: Answerer, point: int) -> None:
    world = World(ZEN, table={(f"{point}.0.0.127.zen.example", "A"): fault})
    await world.dnsbl.probe_due()
    assert await world.ask() == {"zen": NOT_LISTED}
    world.transport.table[f"{3 - point}.0.0.127.zen.example", "A"] = (
        NXDOMAIN if point == 1 else Say(("1.0.0.127.zen.example. 60 A 127.0.0.2",))
    )
    world.clock.now += world.settings.probe_interval
    await world.dnsbl.probe_due()
    assert isinstance((await world.ask())["zen"], Unknown)
    world.transport.table = healthy(ZEN) | {(f"{point}.0.0.127.zen.example", "A"): fault}
    world.clock.now += world.settings.probe_interval
    await world.dnsbl.probe_due()
    assert isinstance((await world.ask())["zen"], Unknown)


async def test_a_list_is_probed_when_it_is_due_and_not_before() -> None:
    world = World(COP, probe_interval=1800, ill_probe_interval=60)
    for wait, point, probed in [
        (0, "127.0.0.2", True),
        (1799, None, False),
        (1, None, True),
        (60, "127.0.0.2", False),
        (1740, "127.0.0.2", True),
    ]:
        world.clock.now += wait
        before = len(world.transport.asked)
        await world.dnsbl.probe_due()
        assert (len(world.transport.asked) > before) is probed, (wait, point)
    world.transport.table["2.0.0.127.cop.example", "A"] = NXDOMAIN
    world.clock.now += 1800
    await world.dnsbl.probe_due()
    for wait, probed in ((59, False), (1, True)):
        world.clock.now += wait
        before = len(world.transport.asked)
        await world.dnsbl.probe_due()
        assert (len(world.transport.asked) > before) is probed


async def test_jitter_makes_a_probe_earlier_and_never_later() -> None:
    world = World(COP)
    world.dnsbl._jitter = lambda: 1.0
    await world.dnsbl.probe_due()
    assert world.dnsbl._until_next() == pytest.approx(world.settings.probe_interval * (1 - JITTER))


async def test_a_probe_is_not_answered_by_our_cache() -> None:
    world = World(COP, probe_interval=1, max_ttl=3600)
    await world.dnsbl.probe_due()
    world.transport.table["2.0.0.127.cop.example", "A"] = NXDOMAIN
    world.clock.now += 1
    await world.dnsbl.probe_due()
    assert isinstance((await world.ask())["cop"], Unknown)


async def test_other_lists_after_a_reload_and_known_ones_as_they_were() -> None:
    world = World(ZEN, COP, table={("2.0.0.127.zen.example", "A"): NXDOMAIN})
    await world.dnsbl.probe_due()
    new = DnsblZone("new", "new.example")
    asked = len(world.transport.asked)
    world.dnsbl.reconfigure([ZEN, new])
    world.transport.table |= healthy(new)
    await world.dnsbl.probe_due()
    assert sorted(world.transport.names[asked:]) == ["1.0.0.127.new.example", "2.0.0.127.new.example"]
    answers = await world.ask()
    assert (set(answers), type(answers["zen"]), answers["new"]) == ({"zen", "new"}, Unknown, NOT_LISTED)
    world.dnsbl.reconfigure([COP])
    assert metric("dnsbl_healthy", zone="zen") == 1


async def test_what_is_counted_of_a_list_is_there_before_it_is_asked() -> None:
    """Or the first code that no table knows, the first question without answer, would be no increase."""
    World(DnsblZone("fresh", "fresh.example"))
    found = {
        key
        for each in metrics.REGISTRY.collect()
        for sample in each.samples
        for key in [(sample.name, *sample.labels.values())]
    }
    assert ("mailguard_dnsbl_unmatched_codes_total", "fresh") in found
    assert {("mailguard_dnsbl_queries_total", "fresh", outcome) for outcome in Outcome} <= found


async def test_two_lists_of_one_name_change_nothing() -> None:
    world = World(ZEN)
    with pytest.raises(ValueError, match="same name"):
        world.dnsbl.reconfigure([COP, DnsblZone("cop", "other.example")])
    assert set(await world.ask()) == {"zen"}


async def test_no_lists_no_answers() -> None:
    world = World()
    assert await world.ask() == {}
    await world.dnsbl.probe_due()


async def watching(world: World) -> asyncio.Task[None]:
    task = asyncio.create_task(world.dnsbl.watch())
    await quiet()
    return task


async def quiet() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_the_watch_probes_at_start_at_each_change_and_when_due() -> None:
    world = World(COP, probe_interval=0.01)
    task = await watching(world)
    assert len(world.transport.asked) == 2
    world.transport.table |= healthy(ZEN)
    world.dnsbl.reconfigure([COP, ZEN])
    await quiet()
    assert {name.split(".", 4)[-1] for name in world.transport.names[2:]} >= {"zen.example"}
    before = len(world.transport.asked)
    world.clock.now += 1
    await until(lambda: len(world.transport.asked) >= before + 2)
    await stop(task)
    assert len(asyncio.all_tasks()) == 1


async def test_a_bug_in_a_probe_does_not_end_the_watch() -> None:
    world = World(COP, table={("2.0.0.127.cop.example", "A"): RuntimeError("bug")}, ill_probe_interval=0.001)
    errors = metric("internal_errors_total")
    with structlog.testing.capture_logs() as log:
        task = await watching(world)
        assert log[0]["event"] == "dnsbl probe failed"
        assert metric("internal_errors_total") > errors
        world.transport.table = {}
        await until(lambda: "dnsbl ill" in [line["event"] for line in log])
    await stop(task)


async def test_the_watch_can_be_cancelled_at_every_step() -> None:
    for turns in range(25):
        world = World(ZEN, COP)
        task = await cancelled_after(turns, world.dnsbl.watch())
        assert task.cancelled()
        assert await alone()


async def test_it_is_told_how_long_each_list_took_that_was_asked_indeed() -> None:
    told: dict[str, float] = {}
    world = World(ZEN, COP)
    await world.dnsbl.ask(CLIENT, at(30.0), told)
    assert set(told) == {"zen", "cop"}
    assert all(seconds >= 0 for seconds in told.values())
    told.clear()
    await world.dnsbl.ask(ClientAddress.parse("192.168.1.1"), at(30.0), told)
    await world.dnsbl.ask(ClientAddress.parse("2001:db8::1"), at(30.0), told)
    assert told == {}
