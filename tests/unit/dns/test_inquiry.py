"""Inquiries: their steps, their deadline, and how long a conclusion is given again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.dns.answers import AnyAnswer, Found
from mailguard.dns.inquiry import TOO_LATE, Steps
from mailguard.dns.question import about
from mailguard.dns.resolver import Resolver
from tests.support.loops import alone, at
from tests.unit.dns.fakes import HANGING, NXDOMAIN, SILENT, Answerer, Clock, FakeTransport, Say, dns_settings

HOST, OTHER = "host.example", "other.example"


def a(name: str, ttl: int) -> Say:
    return Say((f"{name}. {ttl} A 198.18.1.10",))


def both(*names: str) -> Callable[[], Steps[tuple[AnyAnswer, ...]]]:
    """Steps that ask for each of ``names`` when the one before is known."""

    def steps() -> Steps[tuple[AnyAnswer, ...]]:
        found = []
        for name in names:
            [(answer, _)] = yield [about(name, "A")]
            found.append(answer)
        return tuple(found)

    return steps


class World:
    def __init__(self, table: dict[str, Answerer], **settings: object) -> None:
        self.clock = Clock()
        self.transport = FakeTransport({(name, "A"): said for name, said in table.items()})
        self.resolver = Resolver(dns_settings(**settings), self.clock, self.transport)
        self.again: list[object] = []

    async def ask(self, *names: str, within: float = 30.0) -> tuple[AnyAnswer, ...]:
        return await self.resolver.inquire(names, both(*names), at(within), self.again.append)


async def test_what_is_known_is_there_at_once_and_makes_no_step() -> None:
    world = World({HOST: a(HOST, 60), OTHER: a(OTHER, 60)})
    found = await world.ask(HOST, OTHER)
    assert [isinstance(answer, Found) for answer in found] == [True, True]
    again = world.resolver.inquire((HOST, OTHER), lambda: pytest.fail("nothing is to be found out"), at())
    assert (again.done, again.result()) == (True, found)
    assert await world.ask(HOST, OTHER) == found
    assert world.again == [found]
    assert world.transport.names == [HOST, OTHER]


async def test_where_all_answers_are_there_it_is_done_when_it_begins() -> None:
    world = World({HOST: a(HOST, 60)})
    await world.ask(HOST)
    assert world.resolver.inquire("another", both(HOST), at()).done


async def test_a_conclusion_is_kept_as_long_as_all_that_it_rests_on() -> None:
    world = World({HOST: a(HOST, 60), OTHER: a(OTHER, 20)})
    await world.ask(HOST)
    world.clock.now += 50
    found = await world.ask(HOST, OTHER)  # the first answer is old already
    world.clock.now += 9
    assert (await world.ask(HOST, OTHER), world.again) == (found, [found])
    world.clock.now += 1
    await world.ask(HOST, OTHER)
    assert world.again == [found]
    assert world.transport.names == [HOST, OTHER, HOST]


@pytest.mark.parametrize("said", [a(OTHER, 0), Say(rcode="NXDOMAIN")], ids=["ttl 0", "no SOA"])
async def test_what_rests_on_an_answer_for_this_once_is_not_kept(said: Say) -> None:
    world = World({HOST: a(HOST, 60), OTHER: said})
    await world.ask(HOST, OTHER)
    await world.ask(HOST, OTHER)
    assert world.again == []


async def test_what_the_deadline_cut_off_is_not_kept() -> None:
    world = World({HOST: HANGING})
    assert await world.ask(HOST, OTHER, within=0.01) == (TOO_LATE, TOO_LATE)
    assert world.transport.under_way == 0
    world.transport.table[(HOST, "A")] = a(HOST, 60)
    found, _ = await world.ask(HOST, OTHER)
    assert isinstance(found, Found)


async def test_a_failure_is_kept_as_long_as_its_answer() -> None:
    world = World({HOST: SILENT}, failure_ttl=2)
    await world.ask(HOST)
    world.clock.now += 1.9
    await world.ask(HOST)
    assert len(world.again) == 1
    world.clock.now += 0.1
    await world.ask(HOST)
    assert len(world.again) == 1


async def test_who_is_cancelled_has_called_it_off_and_who_only_waits_has_not() -> None:
    world = World({HOST: HANGING})
    inquiry = world.resolver.inquire("x", both(HOST), at())
    waiting = asyncio.create_task(inquiry.settled())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert (inquiry.done, world.transport.under_way) == (False, 1)
    inquiry.call_off()
    assert (inquiry.done, world.transport.under_way) == (True, 0)
    assert await alone()


async def test_a_bug_in_a_step_is_given_to_who_asks() -> None:
    def steps() -> Steps[None]:
        yield [about(HOST, "A")]
        raise RuntimeError("a bug")

    world = World({HOST: NXDOMAIN})
    inquiry = world.resolver.inquire("x", steps, at())
    await inquiry.settled()
    with pytest.raises(RuntimeError, match="a bug"):
        inquiry.result()
    assert not world.resolver.inquire("x", both(OTHER), at()).done  # that is not known now


_MOVES = st.lists(st.tuples(st.sampled_from(["ask", "both", "wait", "change"]), st.integers(0, 30)), max_size=25)


@given(_MOVES, st.integers(1, 40), st.integers(0, 40))
def test_what_is_given_again_is_what_would_be_found_out_now(
    moves: Sequence[tuple[str, int]], ttl: int, other: int
) -> None:
    """Against a resolver that keeps answers, but no conclusions."""

    async def play() -> None:
        said = {HOST: a(HOST, ttl), OTHER: a(OTHER, other)}
        world, plain = World(dict(said)), World(dict(said))
        plain.resolver = Resolver(dns_settings(), world.clock, plain.transport)
        for move, amount in moves:
            if move == "wait":
                world.clock.now += amount
            elif move == "change":
                changed = Say((f"{HOST}. {ttl} A 198.18.1.{amount}",))
                world.transport.table[(HOST, "A")] = plain.transport.table[(HOST, "A")] = changed
            else:
                names = (HOST,) if move == "ask" else (HOST, OTHER)
                found = await world.ask(*names)
                assert found == tuple([await plain.resolver.resolve(name, "A", at()) for name in names])

    asyncio.run(play())
