"""Functions in conditions: their declarations, regular expressions whose time is bounded, and case as mail knows it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.facts import FactType, Stage
from mailguard.policy.conditions import LISTABLE, Scope, parse_condition
from mailguard.policy.expression import Call, Holds, nodes
from mailguard.policy.functions import FUNCTIONS, Function
from mailguard.policy.lists import Kind
from mailguard.policy.patterns import BadPattern, finder
from mailguard.policy.syntax import MAX_LENGTH


def found(pattern: str, text: str, fold: bool = False) -> bool:
    return finder(pattern, fold)(text)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_each_is_declared_as_it_is(function: Function) -> None:
    condition = parse_condition(function.example, Scope(Stage.CONTENT))
    calls = [node for node in nodes(condition) if isinstance(node, Call)]
    assert [call.function for call in calls] == [function.name]
    assert (calls[0].type, calls[0].kind) == (function.gives, function.kind)
    assert isinstance(condition, Holds) is (function.gives is FactType.BOOLEAN)
    assert isinstance(function.takes, FactType) or function.takes in LISTABLE.values()


def test_what_a_function_takes_is_said_as_it_is_written() -> None:
    assert FUNCTIONS["in_network"].signature == "in_network(IP address, 'network', ...)"
    assert FUNCTIONS["domain_of"].kind is Kind.DOMAIN


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 5000 + "b"),
        ("(a|aa)+$", "a" * 5000 + "b"),
        ("([a-z]+)*[.]$", "a" * 5000),
        ("(.*)(.*)(.*)(.*)(.*)x", "a" * 5000),
    ],
)
def test_patterns_that_other_engines_never_end_with(pattern: str, text: str) -> None:
    """Python's own would not come back before the test's timeout."""
    assert not found(pattern, text)


@pytest.mark.parametrize("pattern", [r"(\pL{100}){9}", "(.?){900}", "([a-z]+[.]?[0-9]){999}"])
def test_a_pattern_that_grows_is_refused(pattern: str) -> None:
    assert len(pattern) < MAX_LENGTH
    with pytest.raises(BadPattern, match="this pattern grows too large"):
        finder(pattern, False)
    finder("a" * 999, False)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("kiosk", "KIOSK.example", True),
        ("kiosk", "\u212aios\u212a.example", False),
        ("postmaster", "po\u017ftmaster", False),
        ("bücher", "bücher.example", True),
        ("bücher", "BÜCHER.example", False),
        (r"^\S\D\W", "ab-", True),
        (r"^\pL+\PL$", "abc1", True),
        (r"\x41", "a", False),
        (r"(?P<Name>a)[[:alpha:]]", "AB", True),
        ("", "", None),
        ("[A-Z]", "a", None),
        ("(?i)a", "a", None),
        ("(?si)a", "a", None),
    ],
)
def test_case_is_that_of_a_to_z(pattern: str, text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(BadPattern):
            finder(pattern, True)
    else:
        assert found(pattern, text, fold=True) is expected


def test_where_a_bad_pattern_is_bad() -> None:
    with pytest.raises(BadPattern) as error:
        finder("mail[.]Example", True)
    assert (error.value.span, error.value.hint) == ((7, 8), "write 'mail[.]example'")
    with pytest.raises(BadPattern) as error:
        finder("mail(", False)
    assert (str(error.value), error.value.span) == ("this is no regular expression: missing ) `mail(`", (0, 5))


@given(
    st.text(st.sampled_from(string.ascii_letters + r"\^$.|?*+()[]{}0123456789:<>=!,-é" + "\u212a"), max_size=30),
    st.booleans(),
    st.text(max_size=50),
)
def test_any_pattern_is_read_or_told_of(pattern: str, fold: bool, text: str) -> None:
    try:
        find = finder(pattern, fold)
    except BadPattern as error:
        assert str(error)
        assert error.hint
        assert 0 <= error.span[0] <= error.span[1] <= len(pattern)
    else:
        assert find(text) is find(text)


def test_half_a_surrogate_is_no_matter() -> None:
    assert not found("x", "\ud800")
