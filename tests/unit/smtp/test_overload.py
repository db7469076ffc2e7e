"""When a loop that lags counts as overloaded, and when no more: in a time that is made up."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from mailguard import metrics
from mailguard.config import Limits
from mailguard.smtp.overload import Overload

LIMITS = Limits(max_loop_lag=1.0, overload_after=2.0, overload_recovery=5.0)


def states(lags: list[tuple[float, float]], limits: Limits = LIMITS) -> list[bool]:
    """Whether it was overloaded behind each lag that was measured at a time."""
    overload, found = Overload(limits), []
    for now, lag in lags:
        overload.measured(lag, now)
        found.append(overload())
    return found


def test_it_lags_all_the_time() -> None:
    assert states([(0, 1.0), (1, 1.5), (1.9, 1.0), (2, 1.0)]) == [False, False, False, True]


@pytest.mark.parametrize("single", [10.0, 60.0])
def test_one_long_hang_is_no_overload(single: float) -> None:
    assert not any(states([(0, 0.0), (single, single), (single + 0.25, 0.0), (single + 3, 1.0), (single + 3.3, 0.1)]))


def test_it_is_over_when_it_is_well_for_a_while() -> None:
    lags = [(0, 1.0), (2, 1.0), (3, 0.4), (7.9, 0.4), (8, 0.4), (9, 0.4)]
    assert states(lags) == [False, True, True, True, False, False]


def test_between_well_and_ill_nothing_changes() -> None:
    """Neither does a lag just under the bound let strangers in again, nor does one just over half of it."""
    lags = [(0, 1.0), (2, 1.0), *((3.0 + step, 0.9) for step in range(60)), (63, 0.1), (67, 0.5), (68, 0.1), (73, 0.1)]
    assert states(lags) == [False, *[True] * 64, False]


def test_at_the_limit_it_does_not_flap() -> None:
    found = states([(0.25 * step, 1.2 if step // 2 % 2 else 0.3) for step in range(4000)])
    assert not any(found), "it was never late for long enough"
    found = states([(0.25 * step, 1.2 if step // 10 % 2 else 0.3) for step in range(4000)])
    assert sum(one != other for one, other in pairwise(found)) == 1, "once in, and never well for long enough"


def test_it_may_lag_as_it_likes() -> None:
    assert not any(states([(float(now), 100.0) for now in range(100)], Limits(max_loop_lag=0)))


def test_log_and_metrics_tell() -> None:
    overload = Overload(LIMITS)
    with capture_logs() as lines:
        for now in (0.0, 2.0):
            overload.measured(1.2, now)
        assert metrics.OVERLOADED._value.get() == 1
        for now in (3.0, 8.0):
            overload.measured(0.1, now)
        assert metrics.OVERLOADED._value.get() == 0
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "overloaded"),
        ("info", "overload over"),
    ]


async def test_the_lag_of_a_loop_is_measured() -> None:
    overload, measured = Overload(Limits(lag_interval=0.01)), []
    overload.measured = lambda lag, now: measured.append(lag)  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    watching = asyncio.create_task(overload.watch())
    await asyncio.sleep(0)
    blocked = loop.time() + 0.3
    while loop.time() < blocked:
        pass
    async with asyncio.timeout(20):
        while len(measured) < 3:  # noqa: ASYNC110  it measures by itself
            await asyncio.sleep(0.01)
    watching.cancel()
    assert measured[0] >= 0.25
    assert min(measured) >= 0
