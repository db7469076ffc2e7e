"""content_score: tables, and the properties that make it safe to refuse by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.spamrules.points import Hit, content_score, explained


@pytest.mark.parametrize(
    ("total", "hits", "tainted", "expected"),
    [
        (0.0, (), (), 0.0),
        (5.0, (Hit("A", 5.0),), (), 5.0),
        (5.0, (Hit("A", 4.96),), (), 4.96),
        (4.9, (Hit("A", 4.999),), (), 4.9),
        (7.0, (Hit("A", 3.0), Hit("R", 4.0)), ("R",), 3.0),
        (1.0, (Hit("A", 5.0), Hit("R", -4.0)), ("R",), 1.0),
        (6.0, (Hit("R", 3.0), Hit("R", 3.0)), ("R",), 0.0),
        # rounded: half a unit for the sender
        (7.0, (Hit("A", 3.0, 0.05), Hit("R", 4.0, 0.05)), ("R",), 2.9),
        (15.0, (Hit("A", 3.0, 0.05), Hit("R", 12.0, 0.5)), ("R",), 2.45),
        (0.0, (Hit("R", 0.0, 0.05),), ("R",), -0.1),
        # totals that the hits do not explain
        (9.0, (Hit("A", 5.0),), (), 0.0),
        (9.0, (Hit("A", 5.0), Hit("B", -1.0)), (), -1.0),
        (3.0, (Hit("A", 5.0),), (), -2.0),
        (7.0, (), (), 0.0),
    ],
)
def test_content_score(total: float, hits: tuple[Hit, ...], tainted: tuple[str, ...], expected: float) -> None:
    assert content_score(total, hits, set(tainted)) == pytest.approx(expected, abs=1e-9)


POINTS = st.integers(-20_000, 20_000).map(lambda thousandth: thousandth / 1000)
RULES = st.dictionaries(st.sampled_from("ABCDEFGH"), st.tuples(POINTS, st.booleans()), max_size=8)


def truth(rules: dict[str, tuple[float, bool]]) -> tuple[float, float, set[str]]:
    """The true total, the true points without positive tainted ones, and the tainted names."""
    tainted = {name for name, (_, is_tainted) in rules.items() if is_tainted}
    total = sum(points for points, _ in rules.values())
    return total, total - sum(p for n, (p, _) in rules.items() if n in tainted and p > 0), tainted


@given(RULES)
def test_exact_points_never_convict_more_than_the_truth(rules: dict[str, tuple[float, bool]]) -> None:
    total, certain, tainted = truth(rules)
    hits = tuple(Hit(name, points) for name, (points, _) in rules.items())
    score = content_score(round(total, 1), hits, tainted)
    assert score <= certain + 1e-6
    assert score >= certain - 0.051
    assert score <= round(total, 1)


def reported(points: float) -> tuple[float, float]:
    """Points as a report rounds them (PerMsgStatus::check_cleanup), and by how much they may be wrong."""
    return (float(f"{points:.0f}"), 0.5) if abs(points) >= 10 else (float(f"{points:.1f}"), 0.05)


@given(RULES)
def test_rounded_points_never_convict_more_than_the_truth(rules: dict[str, tuple[float, bool]]) -> None:
    total, certain, tainted = truth(rules)
    hits = tuple(Hit(name, *reported(points)) for name, (points, _) in rules.items())
    assert explained(round(total, 1), hits)
    assert content_score(round(total, 1), hits, tainted) <= certain + 1e-6


@given(RULES, st.integers(1, 500))
def test_a_total_that_is_not_explained_convicts_nobody(rules: dict[str, tuple[float, bool]], more: int) -> None:
    total, _, tainted = truth(rules)
    hits = tuple(Hit(name, points) for name, (points, _) in rules.items())
    assert content_score(round(total, 1) + more, hits, tainted) <= 0
