"""Sets of numbers and values against what they are meant to hold, one number after the other."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.policy.analysis.sets import Numbers, Set, Values, between, compared, meet, points, values, within
from mailguard.policy.expression import OPERATORS
from mailguard.policy.truth import Range

NUMBERS = [n / 2 for n in range(-6, 7)]
OPERATOR = st.sampled_from(sorted(OPERATORS))


def holds(found: Numbers, number: float) -> bool:
    return not found.meet(points([number])).empty


@pytest.mark.parametrize(("operator", "limit"), list(product(OPERATORS, [-1.0, 0.0, 1.5])))
def test_a_comparison_holds_the_numbers_that_it_is_true_for(operator: str, limit: float) -> None:
    truth = OPERATORS[operator]
    for number in NUMBERS:
        wanted = truth(Range.exactly(number), Range.exactly(limit))
        assert holds(compared(operator, limit), number) is wanted


SETS = st.recursive(
    st.builds(compared, OPERATOR, st.sampled_from(NUMBERS)) | st.builds(points, st.lists(st.sampled_from(NUMBERS))),
    lambda inner: st.builds(Numbers.meet, inner, inner) | st.builds(lambda s: s.others, inner),
    max_leaves=5,
)


@given(one=SETS, other=SETS)
def test_numbers_are_met_turned_and_compared(one: Numbers, other: Numbers) -> None:
    both, rest = one.meet(other), one.others
    for number in (*NUMBERS, -100.0, 100.0, 0.25):
        assert holds(both, number) is (holds(one, number) and holds(other, number))
        assert holds(rest, number) is not holds(one, number)
        assert not (within(one, other) and holds(one, number)) or holds(other, number)
    assert within(both, one)
    assert one.meet(rest).empty
    assert rest.others == one


def test_between_holds_its_ends() -> None:
    found = between(-1.0, 2.0)
    assert [number for number in NUMBERS if holds(found, number)] == [n for n in NUMBERS if -1 <= n <= 2]


SOME = st.builds(Values, st.frozensets(st.sampled_from("abc")), st.booleans())


@given(one=SOME, other=SOME)
def test_values_are_met_turned_and_compared(one: Values, other: Values) -> None:
    def has(found: Values, value: str) -> bool:
        return (value in found.members) is not found.rest

    for value in "abcd":
        assert has(one.meet(other), value) is (has(one, value) and has(other, value))
        assert has(one.others, value) is not has(one, value)
        assert not (within(one, other) and has(one, value)) or has(other, value)
    assert one.meet(one.others).empty
    assert within(one.meet(other), one)


@pytest.mark.parametrize("pair", [(values("a"), points([1])), (points([1]), values("a"))])
def test_numbers_and_values_are_not_mixed_up(pair: tuple[Set, Set]) -> None:
    with pytest.raises(TypeError, match="nothing to do with one another"):
        meet(*pair)
