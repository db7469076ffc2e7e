"""The resolver against tables of faults: deadline, coalescing, cancellation, cache, order of servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import dns.message
import pytest

from mailguard import metrics
from mailguard.dns.answers import Absence, Failed, Failure, Found, MailExchange, NotFound, StartOfAuthority
from mailguard.dns.question import about
from mailguard.dns.resolver import Resolver
from mailguard.dns.servers import Server
from mailguard.dns.transport import Asker, Line
from tests.support.loops import at, cancelled_after
from tests.unit.dns.fakes import (
    HANGING,
    NODATA,
    NXDOMAIN,
    ONE,
    REFUSED,
    SERVFAIL,
    SILENT,
    Answerer,
    Clock,
    FakeTransport,
    Say,
    resolver,
    until,
)

TWO, THREE = "127.0.0.1:5302", "[::1]:5303"
A = Say(answer=("host.example. 60 A 198.18.1.10",))


async def ask(resolver: Resolver, name: str = "host.example", rdtype: str = "A", **more: bool) -> object:
    return await resolver.resolve(name, rdtype, at(), **more)  # type: ignore[call-overload]


def counted(result: str) -> float:
    return metrics.REGISTRY.get_sample_value("mailguard_dns_cache_total", {"result": result}) or 0.0


@pytest.mark.parametrize(
    ("rdtype", "records", "expected"),
    [
        (
            "A",
            ["x.example. 60 A 198.18.1.1", "x.example. 60 A 198.18.1.2"],
            (IPv4Address("198.18.1.1"), IPv4Address("198.18.1.2")),
        ),
        ("AAAA", ["x.example. 60 AAAA 2001:2::1"], (IPv6Address("2001:2::1"),)),
        ("PTR", ["x.example. 60 PTR Mail.Example.ORG."], ("mail.example.org",)),
        (
            "MX",
            ["x.example. 60 MX 10 MX.example.", "x.example. 60 MX 0 ."],
            (MailExchange(10, "mx.example"), MailExchange(0, ".")),
        ),
        ("TXT", ['x.example. 60 TXT "Blocked, " "see \\255"'], (b"Blocked, see \xff",)),
        (
            "SOA",
            ["x.example. 60 SOA ns.x.example. h.x.example. 7 1 2 3 4"],
            (StartOfAuthority("ns.x.example", "h.x.example", 7, 4),),
        ),
    ],
)
async def test_records_of_each_type(rdtype: str, records: list[str], expected: tuple[object, ...]) -> None:
    _, ttl, _, _ = records[0].split(" ", 3)
    found = await ask(
        resolver(FakeTransport({("x.example", rdtype): Say(answer=tuple(records))})), "X.example.", rdtype
    )
    assert isinstance(found, Found)
    assert (set(found.records), found.ttl) == (set(expected), int(ttl))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (NXDOMAIN, NotFound(Absence.NXDOMAIN, 300)),
        (NODATA, NotFound(Absence.NODATA, 300)),
        (Say(rcode="NXDOMAIN"), NotFound(Absence.NXDOMAIN, 0)),
        (Say(), NotFound(Absence.NODATA, 0)),
        (Say(authority=("other. 900 SOA a. b. 1 2 3 4 300",)), NotFound(Absence.NODATA, 0)),
        (Say(authority=("example. 20 SOA a. b. 1 2 3 4 300",), rcode="NXDOMAIN"), NotFound(Absence.NXDOMAIN, 20)),
        (
            Say(("host.example. 50 CNAME a.example.", "a.example. 40 A 198.18.0.9")),
            Found((IPv4Address("198.18.0.9"),), 40),
        ),
        (
            Say(("host.example. 50 CNAME gone.example.",), ("example. 900 SOA a. b. 1 2 3 4 300",), "NXDOMAIN"),
            NotFound(Absence.NXDOMAIN, 50),
        ),
        (
            Say(authority=("example. 900 NS ns.example.",)),
            Failed(Failure.ERROR, f"{ONE} a referral instead of an answer: the server does not recurse"),
        ),
        (SERVFAIL, Failed(Failure.SERVFAIL, f"{ONE} SERVFAIL")),
        (REFUSED, Failed(Failure.REFUSED, f"{ONE} REFUSED")),
        (Say(rcode="NOTIMP"), Failed(Failure.ERROR, f"{ONE} NOTIMP")),
        (SILENT, Failed(Failure.TIMEOUT, f"{ONE} silent for 20 s")),
        (ConnectionRefusedError("nobody there"), Failed(Failure.ERROR, f"{ONE} nobody there")),
        (
            Say(("host.example. 60 A 198.18.0.9",), rcode="NXDOMAIN"),
            Failed(
                Failure.ERROR,
                f"{ONE} the reply cannot be read: AnswerForNXDOMAIN The rcode is NXDOMAIN but an answer was found.",
            ),
        ),
        (
            Say(("host.example. 60 CNAME host.example.",)),
            Failed(Failure.ERROR, f"{ONE} the reply cannot be read: ChainTooLong The CNAME chain is too long."),
        ),
    ],
)
async def test_what_a_reply_comes_to(said: Answerer, expected: object) -> None:
    assert await ask(resolver(FakeTransport({("host.example", "A"): said}))) == expected


async def test_strange_datagrams_are_passed_over_until_the_real_one_comes() -> None:
    def strange(query: bytes) -> list[bytes]:
        real = A.to(query)
        other_id = bytes((real[0] ^ 1,)) + real[1:]
        other_question = A.to(dns.message.make_query("other.example", "A", id=int.from_bytes(query[:2])).to_wire())
        other_type = A.to(dns.message.make_query("host.example", "AAAA", id=int.from_bytes(query[:2])).to_wire())
        return [b"", b"\0", query, other_id, other_question, other_type, real]

    found = await ask(resolver(FakeTransport({("host.example", "A"): strange})))
    assert found == Found((IPv4Address("198.18.1.10"),), 60)


async def test_an_error_without_the_question_is_heard_but_an_answer_without_it_is_not() -> None:
    def bare(rcode: int) -> Callable[[bytes], list[bytes]]:
        return lambda query: [query[:2] + bytes((0x81, 0x80 | rcode)) + bytes(8)]

    table: dict[tuple[str, str], Answerer] = {("a.example", "A"): bare(5), ("b.example", "A"): bare(3)}
    transport = FakeTransport(table)
    assert await ask(resolver(transport), "a.example") == Failed(Failure.REFUSED, f"{ONE} REFUSED")
    unheard = await ask(resolver(transport, timeout=0.01), "b.example")
    assert unheard == Failed(Failure.TIMEOUT, f"{ONE} silent for 0.01 s")


async def test_a_server_that_is_silent_is_left_after_its_time() -> None:
    key = ("host.example", "A")
    transport = FakeTransport(servers={ONE: {key: HANGING}, TWO: {key: A}})
    assert isinstance(await ask(resolver(transport, servers=[ONE, TWO], timeout=0.01)), Found)
    assert transport.under_way == 0


async def test_each_query_has_an_id_of_its_own() -> None:
    ids = set()

    def note(query: bytes) -> list[bytes]:
        ids.add(query[:2])
        return [A.to(query)]

    asking = resolver(FakeTransport({("host.example", "A"): note}), cache_size=0)
    for _ in range(20):
        await ask(asking)
    assert len(ids) > 15


async def test_a_cut_reply_is_asked_for_again_by_tcp() -> None:
    transport = FakeTransport({("host.example", "A"): Say(truncated=True)})
    transport.tcp_table["host.example", "A"] = A
    assert await ask(resolver(transport)) == Found((IPv4Address("198.18.1.10"),), 60)
    assert [way for way, _, _ in transport.asked] == [ONE, "tcp"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Say(truncated=True), "the reply by TCP does not fit the question"),
        (lambda query: [b"\0" + A.to(query)], "the reply by TCP does not fit the question"),
        (ConnectionRefusedError("no TCP"), "no TCP"),
        (EOFError("cut"), "cut"),
    ],
)
async def test_a_bad_reply_by_tcp_is_a_failure(said: Answerer, why: str) -> None:
    transport = FakeTransport({("host.example", "A"): Say(truncated=True)})
    transport.tcp_table["host.example", "A"] = said
    assert await ask(resolver(transport)) == Failed(Failure.ERROR, f"{ONE} {why}")


@pytest.mark.parametrize("name", ["", ".", "a..b", "a." + "x" * 64, "x." * 127 + "xx", "mül.example", ".a"])
async def test_what_is_no_name_is_never_sent(name: str) -> None:
    transport = FakeTransport()
    answer = await ask(resolver(transport), name)
    assert isinstance(answer, Failed)
    assert answer.kind is Failure.ERROR
    assert not transport.asked


async def test_an_undeclared_type_is_never_sent() -> None:
    transport = FakeTransport()
    assert isinstance(await ask(resolver(transport), rdtype="ANY"), Failed)
    assert not transport.asked


async def test_many_askers_are_one_question() -> None:
    transport = FakeTransport({("host.example", "A"): A})
    transport.gate = asyncio.Event()
    before = counted("joined"), counted("miss")
    asking = resolver(transport)
    tasks = [asyncio.create_task(ask(asking, name)) for name in ["host.example", "HOST.example."] * 10]
    await until(lambda: transport.asked)
    transport.gate.set()
    assert await asyncio.gather(*tasks) == [Found((IPv4Address("198.18.1.10"),), 60)] * 20
    assert len(transport.asked) == 1
    assert (counted("joined"), counted("miss")) == (before[0] + 19, before[1] + 1)


async def test_many_questions_of_one_asker() -> None:
    """In their order: found, from the cache, refused at once, the same twice, and one too late."""
    table: dict[tuple[str, str], Answerer] = {
        ("host.example", "A"): A,
        ("bad.example", "A"): REFUSED,
        ("slow.example", "A"): HANGING,
    }
    transport = FakeTransport(table)
    asking = resolver(transport)
    await ask(asking)
    names = ["host.example", "none.example", "bad.example", "none.example", "slow.example"]
    answers = [answer for answer, _ in await asking.resolve_all([about(name, "A") for name in names], at(0.05))]
    assert [type(answer) for answer in answers] == [Found, NotFound, Failed, NotFound, Failed]
    assert answers[4] == Failed(Failure.TIMEOUT, "no answer by the deadline")
    assert transport.names == ["host.example", "none.example", "bad.example", "slow.example"]
    await until(lambda: transport.under_way == 0)


class Refusing(FakeTransport):
    """The network says no before it has sent anything, to one name."""

    def ask(self, server: Server, asker: Asker) -> Line:
        if b"bad" in asker.query:
            raise OSError("no route")
        return super().ask(server, asker)


async def test_a_question_that_fails_at_once_does_not_cut_those_beside_it_short() -> None:
    asking = resolver(Refusing({("host.example", "A"): A}))
    names = ["bad.example", "host.example", "bad.example"]
    answers = await asking.resolve_all([about(name, "A") for name in names], at())
    assert [type(answer) for answer, _ in answers] == [Failed, Found, Failed]


@pytest.mark.parametrize("goes", [True, False])
async def test_who_goes_waits_for_none_that_has_its_turn_then_and_fails_at_once(goes: bool) -> None:
    transport = Refusing({("slow.example", "A"): HANGING})
    asking = resolver(transport, max_questions=1)
    names = ["slow.example", "bad.example", "bad.example"]
    gone = asking.resolve_all([about(name, "A") for name in names], at(1000.0 if goes else 0.02))
    if goes:
        gone.call_off()
    await gone.settled()
    assert gone.done
    assert goes or {answer for answer, _ in gone.result()} == {Failed(Failure.TIMEOUT, "no answer by the deadline")}
    assert isinstance(await ask(asking, "none.example"), NotFound), "its turns are free again"


async def test_a_turn_that_nobody_waits_for_any_more_is_not_taken() -> None:
    transport = FakeTransport()
    transport.gate = asyncio.Event()
    asking = resolver(transport, max_questions=1)
    first = asyncio.create_task(ask(asking, "a.example"))
    await until(lambda: transport.asked)
    gone = await cancelled_after(3, ask(asking, "b.example"))
    last = asyncio.create_task(ask(asking, "c.example"))
    transport.gate.set()
    assert isinstance(await first, NotFound)
    assert isinstance(await last, NotFound)
    assert gone.cancelled()
    assert transport.names == ["a.example", "c.example"]


@pytest.mark.parametrize("going", [0, 1])
async def test_an_asker_that_goes_does_not_touch_the_others(going: int) -> None:
    transport = FakeTransport({("host.example", "A"): A})
    transport.gate = asyncio.Event()
    asking = resolver(transport)
    tasks = [asyncio.create_task(ask(asking)) for _ in range(2)]
    await until(lambda: transport.asked)
    tasks[going].cancel()
    await asyncio.wait({tasks[going]})
    assert tasks[going].cancelled()
    transport.gate.set()
    assert await tasks[1 - going] == Found((IPv4Address("198.18.1.10"),), 60)
    assert len(transport.asked) == 1


async def test_a_question_that_nobody_waits_for_is_called_off_and_can_be_asked_again() -> None:
    transport = FakeTransport({("host.example", "A"): A})
    transport.gate = asyncio.Event()
    asking = resolver(transport)
    task = asyncio.create_task(ask(asking))
    await until(lambda: transport.asked)
    task.cancel()
    again = asyncio.create_task(ask(asking))  # in the very tick in which the first is called off
    await until(lambda: len(transport.asked) == 2)
    assert transport.under_way == 1
    transport.gate.set()
    assert await again == Found((IPv4Address("198.18.1.10"),), 60)
    assert not [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]


async def test_cancelled_at_every_step_nothing_stays_behind() -> None:
    """An asker cancelled after each number of turns of the loop, through UDP, the next server, and TCP."""
    for turns in range(40):
        transport = FakeTransport(
            {("host.example", "A"): Say(truncated=True)}, {ONE: {("host.example", "A"): OSError()}}
        )
        transport.tcp_table["host.example", "A"] = A
        asking = resolver(transport, servers=[ONE, TWO])
        task = await cancelled_after(turns, ask(asking))
        if task.cancelled():
            await until(lambda: len(asyncio.all_tasks()) == 1)
        else:
            assert task.result() == Found((IPv4Address("198.18.1.10"),), 60)
        assert transport.under_way == 0
        assert await ask(asking) == Found((IPv4Address("198.18.1.10"),), 60)  # no slot and no flight was lost
    assert not task.cancelled()


async def test_the_deadline_is_hard_and_each_askers_own() -> None:
    transport = FakeTransport({("host.example", "A"): A})
    transport.gate = asyncio.Event()
    asking = resolver(transport)
    patient = asyncio.create_task(ask(asking))
    assert await asking.resolve("host.example", "A", at(0.01)) == Failed(Failure.TIMEOUT, "no answer by the deadline")
    transport.gate.set()
    assert await patient == Found((IPv4Address("198.18.1.10"),), 60)


async def test_after_the_deadline_the_cache_answers_and_nothing_is_sent() -> None:
    transport = FakeTransport({("host.example", "A"): A})
    asking = resolver(transport)
    assert await asking.resolve("host.example", "A", at(-1)) == Failed(Failure.TIMEOUT, "no answer by the deadline")
    assert not transport.asked
    await ask(asking)
    assert isinstance(await asking.resolve("host.example", "A", at(-1)), Found)


async def test_a_deadline_passed_is_not_held_against_the_name() -> None:
    transport = FakeTransport({("host.example", "A"): HANGING})
    asking = resolver(transport)
    assert isinstance(await asking.resolve("host.example", "A", at(0.01)), Failed)
    transport.table["host.example", "A"] = A
    assert isinstance(await ask(asking), Found)


@pytest.mark.parametrize(
    ("said", "ttl"),
    [(A, 60), (NXDOMAIN, 300), (NODATA, 300), (SERVFAIL, 1), (SILENT, 1), (OSError("gone"), 1)],
    ids=["found", "nxdomain", "nodata", "servfail", "silent", "error"],
)
async def test_an_answer_is_kept_for_its_time_and_no_longer(said: Answerer, ttl: float) -> None:
    transport, clock = FakeTransport({("host.example", "A"): said}), Clock()
    asking = resolver(transport, clock)
    first = await ask(asking)
    clock.now += ttl - 0.001
    assert await ask(asking) == first
    assert len(transport.asked) == 1
    clock.now += 0.001
    await ask(asking)
    assert len(transport.asked) == 2


async def test_max_ttl_bounds_positive_and_negative_answers() -> None:
    table: dict[tuple[str, str], Answerer] = {("host.example", "A"): A, ("none.example", "A"): NXDOMAIN}
    transport, clock = FakeTransport(table), Clock()
    asking = resolver(transport, clock, max_ttl=10)
    for name in ("host.example", "none.example"):
        await ask(asking, name)
    clock.now += 10
    for name in ("host.example", "none.example"):
        await ask(asking, name)
    assert len(transport.asked) == 4


async def test_a_fresh_question_neither_takes_nor_gives_nor_joins() -> None:
    transport = FakeTransport({("host.example", "A"): NXDOMAIN})
    asking = resolver(transport)
    await ask(asking)
    transport.table["host.example", "A"] = A
    assert isinstance(await ask(asking, fresh=True), Found)
    assert isinstance(await ask(asking), NotFound)
    transport.gate = asyncio.Event()
    tasks = [asyncio.create_task(ask(asking, "b.example", fresh=fresh)) for fresh in (False, True, True)]
    await until(lambda: transport.names.count("b.example") == 3)
    transport.gate.set()
    await asyncio.gather(*tasks)


async def test_the_next_server_is_asked_where_one_fails() -> None:
    key = ("host.example", "A")
    transport = FakeTransport(servers={ONE: {key: SERVFAIL}, TWO: {key: SILENT}, THREE: {key: A}})
    assert isinstance(await ask(resolver(transport, servers=[ONE, TWO, THREE])), Found)
    assert [way for way, _, _ in transport.asked] == [ONE, TWO, THREE]


async def test_only_silent_servers_are_asked_again_and_every_failure_is_told() -> None:
    key = ("host.example", "A")
    transport = FakeTransport(servers={ONE: {key: SILENT}, TWO: {key: REFUSED}})
    answer = await ask(resolver(transport, servers=[ONE, TWO], attempts=3))
    assert [way for way, _, _ in transport.asked] == [ONE, TWO, ONE, ONE]
    assert answer == Failed(Failure.TIMEOUT, f"{ONE} silent for 20 s; {TWO} REFUSED")


async def test_a_server_out_of_reach_is_tried_last_until_it_answers_or_its_time_is_over() -> None:
    key = ("host.example", "A")
    transport, clock = FakeTransport(servers={ONE: {key: OSError("unreachable")}, TWO: {key: A}}), Clock()
    asking = resolver(transport, clock, servers=[ONE, TWO], cache_size=0, server_retry=30)
    await ask(asking)
    await ask(asking)
    assert [way for way, _, _ in transport.asked] == [ONE, TWO, TWO]
    clock.now += 30
    await ask(asking)
    assert [way for way, _, _ in transport.asked][3:] == [ONE, TWO]


async def test_a_server_is_tried_last_after_several_silences_in_a_row() -> None:
    key = ("host.example", "A")
    transport = FakeTransport(servers={ONE: {key: SILENT}, TWO: {key: A}})
    asking = resolver(transport, servers=[ONE, TWO], cache_size=0)
    for _ in range(4):
        await ask(asking)
    assert [way for way, _, _ in transport.asked] == [ONE, TWO] * 3 + [TWO]


async def test_no_more_questions_under_way_than_the_setting_says() -> None:
    transport = FakeTransport()
    transport.gate = asyncio.Event()
    asking = resolver(transport, max_questions=3)
    tasks = [asyncio.create_task(ask(asking, f"h{i}.example")) for i in range(10)]
    await until(lambda: transport.under_way == 3)
    await asyncio.sleep(0)
    assert transport.most_under_way == 3
    transport.gate.set()
    assert {type(answer) for answer in await asyncio.gather(*tasks)} == {NotFound}
    assert transport.most_under_way == 3


async def test_a_bug_reaches_every_asker_and_is_not_kept() -> None:
    transport = FakeTransport({("host.example", "A"): RuntimeError("bug")})
    transport.gate = asyncio.Event()
    asking = resolver(transport)
    tasks = [asyncio.create_task(ask(asking)) for _ in range(3)]
    await until(lambda: transport.asked)
    transport.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["bug"] * 3
    transport.table["host.example", "A"] = A
    assert isinstance(await ask(asking), Found)


@pytest.mark.parametrize("server", ["localhost:53", "unix:/run/dns", "127.0.0.1:66000", "[::g]:53", "256.0.0.1:53"])
def test_a_server_is_an_address_and_a_port(server: str) -> None:
    with pytest.raises(ValueError, match=r"servers|resolver"):
        resolver(FakeTransport(), servers=[server])
