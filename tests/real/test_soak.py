"""A sample of each part of ``make soak``: real processes under load, every message counted in Exim's Maildirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.soak.crowd import crowd
from tests.soak.ending import ending
from tests.soak.killing import killing
from tests.soak.place import Place
from tests.soak.reloading import reloading

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]  # a quarter of a minute each, where the cores are free

SENDERS = 8


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Place() as place:
        yield place


async def test_policies_and_generations_are_replaced_and_a_broken_policy_changes_nothing(place: Place) -> None:
    await reloading(place, reloads=5, generations=1, senders=SENDERS)


async def test_sigterm_loses_and_doubles_nothing_and_a_second_one_ends_it_at_once(place: Place) -> None:
    await ending(place, drains=1, senders=SENDERS)


async def test_kill_of_each_kind_of_process(place: Place) -> None:
    await killing(place, workers=2, admins=1, supervisors=1, senders=SENDERS)


async def test_idle_and_slow_clients_keep_nobody_from_being_served(place: Place) -> None:
    await crowd(place, idle=200, slow=20, messages=20, grace=2.0)
