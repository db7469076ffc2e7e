"""relay/turns.py: priorities and weights."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.relay.turns import Turns
from tests.support.sink import Sink
from tests.unit.relay.conftest import Setup


def everybody(_member: str) -> bool:
    return True


def test_a_lower_priority_goes_first_whatever_the_weight() -> None:
    turns = Turns([("c", 20, 9), ("a", 5, 1), ("b", 10, 5)])
    assert [turns.order(everybody) for _ in range(3)] == [["a", "b", "c"]] * 3


def test_one_priority_shares_smoothly() -> None:
    turns = Turns([("a", 0, 3), ("b", 0, 1), ("z", 1, 1)])
    assert "".join(turns.order(everybody)[0] for _ in range(8)) == "aabaaaba"
    assert all(turns.order(everybody)[2] == "z" for _ in range(4))


def test_who_takes_no_part_comes_last_and_does_not_load_a_neighbour() -> None:
    turns = Turns([(name, 0, 1) for name in "abc"] + [("z", 1, 1)])
    orders = [turns.order(lambda member: member != "a") for _ in range(6)]
    assert [order[0] for order in orders] == ["b", "c"] * 3
    assert all(order[2:] == ["z", "a"] for order in orders)
    back = Counter(turns.order(everybody)[0] for _ in range(30))
    assert set(back.values()) == {10}


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(1, 200))
def test_nobody_is_more_than_a_turn_from_its_share(weights: list[int], rounds: int) -> None:
    turns = Turns([(str(place), 0, weight) for place, weight in enumerate(weights)])
    seen = Counter(turns.order(everybody)[0] for _ in range(rounds))
    for place, weight in enumerate(weights):
        assert abs(seen[str(place)] - rounds * weight / sum(weights)) <= len(weights) - 1


@pytest.mark.parametrize("identity", ["proxy", "none"])
async def test_equal_backends_get_equal_shares_and_a_dead_one_is_passed_over(identity: str) -> None:
    proxy = identity == "proxy"
    async with Sink(proxy=proxy) as one, Sink(proxy=proxy) as two:
        setup = Setup(one, two, settings={"priority": 3, "client_identity": identity}, backend_failures=1)
        for _ in range(6):
            assert (await setup.deliver(await setup.to())).startswith("250")
        assert (len(one.messages), len(two.messages)) == (3, 3)
        await two.stop()
        for _ in range(4):
            assert (await setup.deliver(await setup.to())).startswith("250")
        assert len(one.messages) == 7
        await setup.relay.finish()
