"""How long a client is waited for, by a clock of our own."""

from __future__ import annotations

import pytest

from mailguard.config import Limits
from mailguard.smtp.patience import Patience

LIMITS = Limits(command_timeout=300, session_timeout=1800, data_timeout=180, min_data_rate=500, min_data_rate_grace=30)


def test_a_command_is_waited_for_as_a_whole() -> None:
    patience = Patience(LIMITS, 1000.0)
    assert patience.command_deadline(0, 1000.0) == 1300.0
    assert patience.command_deadline(0, 1200.0) == 1300.0  # a part of it came
    assert patience.command_deadline(1, 1250.0) == 1550.0  # it came


def test_noop_does_not_keep_a_session_for_ever() -> None:
    patience = Patience(LIMITS, 0.0)
    assert [patience.command_deadline(n, n * 250.0) for n in range(8)][-2:] == [1800.0, 1800.0]


def test_content_does_not_count_against_the_session() -> None:
    patience = Patience(LIMITS, 0.0)
    patience.content_deadline(1, 100.0)
    patience.content_deadline(1, 900.0)
    assert patience.command_deadline(5, 1700.0) == 2000.0
    assert patience.command_deadline(99, 3200.0) == 1800.0 + 1600.0


def test_content_has_a_bound_between_chunks() -> None:
    patience = Patience(LIMITS, 0.0)
    patience.content_deadline(1, 0.0)
    patience.content_came(10_000_000, 1.0)
    assert patience.content_deadline(1, 50.0) == 50.0 + 180.0


@pytest.mark.parametrize(
    ("octets", "waited", "left"),
    [
        (0, 0.0, 30.0),  # the grace
        (1000, 10.0, 20.0),  # the grace still lasts
        (20_000, 35.0, 5.0),  # 20,000 octets earn 40 s
        (20_000, 41.0, 0.0),  # too slow: no more time
        (1_000_000, 41.0, 180.0),
    ],
)
def test_content_has_a_least_rate_after_a_grace(octets: int, waited: float, left: float) -> None:
    patience = Patience(LIMITS, 0.0)
    patience.content_deadline(1, 0.0)
    patience.content_came(octets, waited)
    assert patience.content_deadline(1, 7.0) == 7.0 + left


def test_each_message_begins_anew() -> None:
    patience = Patience(LIMITS, 0.0)
    patience.content_deadline(1, 0.0)
    patience.content_came(0, 29.0)
    patience.command_deadline(1, 29.0)
    assert patience.content_deadline(2, 40.0) == 70.0


def test_a_message_in_many_chunks_is_one() -> None:
    patience = Patience(LIMITS, 0.0)
    patience.content_deadline(1, 0.0)
    patience.content_came(1000, 29.0)
    assert patience.command_deadline(1, 29.0) == 329.0
    assert patience.content_deadline(1, 40.0) == 41.0


def test_no_least_rate() -> None:
    patience = Patience(LIMITS.model_copy(update={"min_data_rate": 0}), 0.0)
    patience.content_deadline(1, 0.0)
    patience.content_came(1, 10_000.0)
    assert patience.content_deadline(1, 0.0) == 180.0
