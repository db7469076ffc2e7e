"""A flood of refusals: so many of a kind in a minute, and then how many more."""

from __future__ import annotations

from collections.abc import Callable

from mailguard.journal.throttle import PERIOD, Throttle


class Time:
    """A time that is made up."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._calls.append((self.now + seconds, call))

    def passes(self, seconds: float) -> None:
        self.now += seconds
        due = [call for when, call in self._calls if when <= self.now]
        self._calls = [(when, call) for when, call in self._calls if when > self.now]
        for call in due:
            call()


def test_so_many_of_a_kind_and_then_how_many_more() -> None:
    time, told = Time(), list[tuple[str, int]]()
    throttle = Throttle(3, time.later, lambda kind, count: told.append((kind, count)))
    for _ in range(2):
        assert [throttle.admits("421") for _ in range(10)] == [True] * 3 + [False] * 7
        assert throttle.admits("503"), "one kind does not hide another"
        time.passes(PERIOD - 1)
        assert (throttle.admits("421"), told) == (False, [])
        time.passes(1)
        assert told == [("421", 8)]
        told.clear()


def test_few_are_not_told_of() -> None:
    time, told = Time(), list[tuple[str, int]]()
    throttle = Throttle(3, time.later, lambda kind, count: told.append((kind, count)))
    assert all(throttle.admits("421") for _ in range(3))
    time.passes(PERIOD)
    assert (told, throttle._seen) == ([], {}), "and nothing is remembered"


def test_what_was_not_told_yet_is_told_at_the_end() -> None:
    time, told = Time(), list[tuple[str, int]]()
    throttle = Throttle(2, time.later, lambda kind, count: told.append((kind, count)))
    for _ in range(5):
        throttle.admits("421")
    throttle.admits("503")
    throttle.finish()
    assert told == [("421", 3)]
    throttle.finish()
    time.passes(PERIOD)
    assert told == [("421", 3)], "once, though the minute ends after it"
