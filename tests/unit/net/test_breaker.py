"""The table of net/breaker.py, row by row, with a clock of our own."""

from __future__ import annotations

import pytest

from mailguard.net.breaker import Breaker, State


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(3, 30.0, clock)
    for _ in range(3):
        breaker.failed()
    return breaker


def test_closed_admits_everybody(clock: Clock) -> None:
    breaker = Breaker(3, 30.0, clock)
    assert breaker.state is State.CLOSED
    assert all(breaker.admit() for _ in range(5))


def test_opens_after_the_threshold_in_a_row_only(clock: Clock) -> None:
    breaker = Breaker(3, 30.0, clock)
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert breaker.state is State.CLOSED
    breaker.failed()
    assert breaker.state is State.OPEN
    assert not breaker.admit()


@pytest.mark.parametrize(("passed", "state"), [(29.9, State.OPEN), (30.0, State.HALF_OPEN), (3000.0, State.HALF_OPEN)])
def test_half_opens_when_the_pause_is_over(clock: Clock, passed: float, state: State) -> None:
    breaker = opened(clock)
    clock.now += passed
    assert breaker.state is state


def test_half_open_admits_one_trial_a_pause(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    assert [breaker.admit() for _ in range(3)] == [True, False, False]
    clock.now += 30
    assert [breaker.admit() for _ in range(3)] == [True, False, False], "a trial that never reported blocks nobody"


def test_a_failed_trial_opens_it_for_another_pause(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    assert breaker.admit()
    clock.now += 10
    breaker.failed()
    clock.now += 29
    assert breaker.state is State.OPEN
    clock.now += 1
    assert breaker.state is State.HALF_OPEN


def test_a_trial_that_succeeds_closes_it(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    assert breaker.admit()
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    breaker.failed()
    assert breaker.state is State.CLOSED, "failures are counted from nothing again"


def test_success_closes_it_even_while_open(clock: Clock) -> None:
    breaker = opened(clock)
    breaker.succeeded()
    assert breaker.admit()
