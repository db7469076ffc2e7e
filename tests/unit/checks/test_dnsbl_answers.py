"""What a list's answer means: a table, and the two properties that keep good mail safe."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.checks.dnsbl_answers import BLOCKED, LISTING, Outcome, read
from mailguard.dns.answers import Absence, Failed, Failure, Found, NotFound
from mailguard.facts import Known, Unknown
from mailguard.metrics import METRICS

_LIST_CODES = st.ip_addresses(v=4, network=LISTING).filter(lambda code: code not in BLOCKED)
_OTHERS = st.ip_addresses(v=4).filter(lambda code: code not in LISTING) | st.ip_addresses(v=4, network=BLOCKED)


def found(*codes: str) -> Found[IPv4Address]:
    return Found(tuple(map(IPv4Address, codes)), 60)


@pytest.mark.parametrize(
    ("answer", "outcome", "expected"),
    [
        (found("127.0.0.2"), Outcome.LISTED, {"127.0.0.2"}),
        (found("127.0.0.4", "127.0.0.2", "127.0.0.10"), Outcome.LISTED, {"127.0.0.2", "127.0.0.4", "127.0.0.10"}),
        (found("127.0.10.3"), Outcome.LISTED, {"127.0.10.3"}),
        (found("127.255.254.255"), Outcome.LISTED, {"127.255.254.255"}),
        (NotFound(Absence.NXDOMAIN, 60), Outcome.NOT_LISTED, set()),
        (NotFound(Absence.NODATA, 0), Outcome.NOT_LISTED, set()),
        (found("127.255.255.254"), Outcome.BLOCKED, "blocked: the list answered 127.255.255.254"),
        (found("127.0.0.2", "127.255.255.252"), Outcome.BLOCKED, "blocked: the list answered 127.255.255.252"),
        (found("127.255.255.0"), Outcome.BLOCKED, "blocked: the list answered 127.255.255.0"),
        (found("198.18.0.53"), Outcome.BAD_ANSWER, "bad answer: 198.18.0.53 is outside 127.0.0.0/8"),
        (
            found("127.0.0.2", "126.255.255.255"),
            Outcome.BAD_ANSWER,
            "bad answer: 126.255.255.255 is outside 127.0.0.0/8",
        ),
        (found("128.0.0.0"), Outcome.BAD_ANSWER, "bad answer: 128.0.0.0 is outside 127.0.0.0/8"),
        (Failed(Failure.TIMEOUT, "late"), Outcome.TIMEOUT, "timeout: late"),
        (Failed(Failure.SERVFAIL, "no"), Outcome.SERVFAIL, "servfail: no"),
        (Failed(Failure.REFUSED, "no"), Outcome.REFUSED, "refused: no"),
        (Failed(Failure.ERROR, "odd"), Outcome.ERROR, "error: odd"),
    ],
)
def test_table(answer: Found[IPv4Address] | NotFound | Failed, outcome: Outcome, expected: set[str] | str) -> None:
    meaning = Unknown(expected) if isinstance(expected, str) else Known(frozenset(map(IPv4Address, expected)))
    assert read(answer) == (outcome, meaning)


@given(st.lists(_LIST_CODES, min_size=1, max_size=5))
def test_codes_of_a_list_come_through(codes: list[IPv4Address]) -> None:
    assert read(Found(tuple(codes), 60)) == (Outcome.LISTED, Known(frozenset(codes)))


@given(st.lists(_LIST_CODES, max_size=4), _OTHERS, st.data())
def test_one_address_that_is_no_code_voids_the_answer(
    codes: list[IPv4Address], other: IPv4Address, data: st.DataObject
) -> None:
    codes.insert(data.draw(st.integers(0, len(codes))), other)
    assert isinstance(read(Found(tuple(codes), 60))[1], Unknown)


def test_the_metric_declares_every_outcome() -> None:
    declared = next(spec.labels["outcome"] for spec in METRICS if spec.name == "mailguard_dnsbl_queries_total")
    assert set(declared.split(", ")) == set(Outcome)
