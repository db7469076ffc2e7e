"""A condition after it was checked: a tree that is evaluated over the facts of one decision, to true, false or None.

The tree is all that there is: no name is looked up but those of facts, profile constants, lists and tags, and nothing
of Python is reachable. ``span`` is where a node stands in the condition's text: character offsets, the end excluded.

How doubt counts is the reader's choice (:class:`Doubt`), by the rule's action; see ``policy.engine``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Protocol, TypeAlias

from mailguard.caseless import lowered
from mailguard.facts import FACTS, FactType
from mailguard.policy.lists import AddressList, Kind
from mailguard.policy.truth import Members, Range, Truth, Value, disjunction, negation, settled
from mailguard.value import value

Span: TypeAlias = tuple[int, int]
Constant: TypeAlias = bool | float | str
TAGS: Final = "tags"


class Doubt(Enum):
    """What it counts as that a score, a list's answer or a tag is in doubt."""

    KEPT = auto()
    """As itself: what cannot be told is None."""
    NOTHING = auto()
    """As nothing: an unknown answer weighs 0."""
    FAVOURABLE = auto()
    """As what makes the condition true."""


class Facts(Protocol):
    """Where the values come from."""

    def __getitem__(self, name: str, /) -> Value | None:
        """The value of the fact ``name`` or of ``tags``, None where there was no answer."""


@value(frozen=True, slots=True)
class _Settled:
    """Facts whose doubt weighs nothing."""

    facts: Facts

    def __getitem__(self, name: str, /) -> Value | None:
        return settled(self.facts[name])


class View:
    """What a condition sees.

    Attributes:
        facts: their doubt settled where it counts as nothing.
        profile: the constants of the recipient's.
    """

    __slots__ = ("_doubt", "facts", "profile")

    def __init__(self, facts: Facts, profile: Mapping[str, Constant], doubt: Doubt = Doubt.KEPT) -> None:
        """``doubt``: how it counts."""
        self.facts = facts if doubt is not Doubt.NOTHING else _Settled(facts)
        self.profile = profile
        self._doubt = doubt

    def doubtful(self, wanted: bool, *values: Value | None) -> Truth:
        """A comparison of ``values`` that cannot be told: ``wanted`` where doubt favours and is about amounts alone."""
        return wanted if self._doubt is Doubt.FAVOURABLE and None not in values else None


@dataclass(frozen=True, slots=True)
class FactRef:
    """A fact by name."""

    name: str
    span: Span

    @property
    def type(self) -> FactType:
        """Its declared type."""
        return FACTS[self.name].type

    def read(self, view: View) -> Value | None:
        """Its value, None where there was no answer."""
        return view.facts[self.name]


@dataclass(frozen=True, slots=True)
class ProfileRef:
    """A constant of the recipient's profile."""

    name: str
    type: FactType
    span: Span

    def read(self, view: View) -> Value:
        """Its value."""
        return as_value(view.profile[self.name])


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true or false."""

    constant: Constant
    type: FactType
    span: Span
    _value: Value = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_value", as_value(self.constant))

    def read(self, view: View) -> Value:
        """Its value."""
        return self._value


@dataclass(frozen=True, slots=True)
class Call:
    """A function of an operand: ``apply`` has the ``constants`` that stand behind it, ``kind`` is of its result."""

    function: str
    operand: Operand
    constants: tuple[str, ...]
    type: FactType
    kind: Kind | None
    apply: Callable[[Value], Value] = field(compare=False, repr=False)
    span: Span

    def read(self, view: View) -> Value | None:
        """Its value, None where there was no answer."""
        value = self.operand.read(view)
        return None if value is None else self.apply(value)

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return (self.operand,)


Operand: TypeAlias = FactRef | ProfileRef | Literal | Call


def as_value(constant: Constant) -> Value:
    """A constant of the policy as a value."""
    return constant if isinstance(constant, bool | str) else Range.exactly(float(constant))


def _folded(value: Value | None, fold: bool) -> Value | None:
    return lowered(value) if fold and isinstance(value, str) else value


def _same(left: Value | None, right: Value | None) -> Truth:
    if left is None or right is None:
        return None
    if isinstance(left, Range) and isinstance(right, Range):
        return left.same(right)
    return left == right


def _less(left: Value | None, right: Value | None) -> Truth:
    return left.less(right) if isinstance(left, Range) and isinstance(right, Range) else None


def _at_least(left: Value | None, right: Value | None) -> Truth:
    return left.at_least(right) if isinstance(left, Range) and isinstance(right, Range) else None


OPERATORS: Final[Mapping[str, Callable[[Value | None, Value | None], Truth]]] = {
    "==": _same,
    "!=": lambda left, right: negation(_same(left, right)),
    "<": _less,
    ">": lambda left, right: _less(right, left),
    "<=": lambda left, right: _at_least(right, left),
    ">=": _at_least,
}
"""The comparisons of the language."""


class Condition(Protocol):
    """A node that is true, false or None."""

    @property
    def span(self) -> Span:
        """Where it stands in the condition's text."""

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """Its truth; ``wanted`` is which outcome favours the whole condition (``not`` turns it)."""

    def parts(self) -> tuple[Condition | Operand, ...]:
        """The nodes within."""


@dataclass(frozen=True, slots=True)
class Holds:
    """A true-or-false operand that stands alone."""

    operand: Operand
    span: Span

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        value = self.operand.read(view)
        return value if isinstance(value, bool) else None

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands of one type; ``fold``: texts in which case does not matter (domains, local parts)."""

    left: Operand
    operator: str
    right: Operand
    fold: bool
    span: Span
    _compared: Callable[[Value | None, Value | None], Truth] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compared", OPERATORS[self.operator])

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        left, right = self.left.read(view), self.right.read(view)
        if self.fold:
            left, right = _folded(left, fold=True), _folded(right, fold=True)
        truth = self._compared(left, right)
        return truth if truth is not None else view.doubtful(wanted, left, right)

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class OneOf:
    """An operand that equals one of several literals."""

    operand: Operand
    items: tuple[Literal, ...]
    fold: bool
    span: Span
    _values: frozenset[Value] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        constants = [item.constant for item in self.items]
        values = [lowered(c) if self.fold and isinstance(c, str) else as_value(c) for c in constants]
        object.__setattr__(self, "_values", frozenset(values))

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        value = _folded(self.operand.read(view), self.fold)
        if isinstance(value, str):  # nothing of a text is in doubt: the same and equal are one
            return value in self._values
        truth = disjunction(_same(value, item) for item in self._values)
        return truth if truth is not None else view.doubtful(wanted, value)

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class InTexts:
    """A text that is in a fact of several texts."""

    operand: Operand
    texts: FactRef
    fold: bool
    span: Span

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        text, texts = _folded(self.operand.read(view), self.fold), self.texts.read(view)
        truth = texts.holds(text) if isinstance(text, str) and isinstance(texts, Members) else None
        return truth if truth is not None else view.doubtful(wanted, text, texts)

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return (self.operand, self.texts)


@dataclass(frozen=True, slots=True)
class HasTag:
    """A symbol that an earlier rule may have given."""

    symbol: str
    tags_span: Span
    span: Span

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        tags = view.facts[TAGS]
        truth = tags.holds(self.symbol) if isinstance(tags, Members) else None
        return truth if truth is not None else view.doubtful(wanted, tags)

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return ()


@dataclass(frozen=True, slots=True)
class InList:
    """An address that an address list holds: of the policy, or written in the condition."""

    operand: Operand
    kind: Kind
    entries: AddressList
    span: Span

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        value = self.operand.read(view)
        if isinstance(value, IPv4Address | IPv6Address):
            return self.entries.has_address(value)
        if not isinstance(value, str):
            return None
        return self.entries.has_mailbox(value) if self.kind is Kind.MAILBOX else self.entries.has_domain(value)

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Not:
    """``not``."""

    inner: Condition
    span: Span

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        return negation(self.inner.evaluate(view, not wanted))

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return (self.inner,)


@dataclass(frozen=True, slots=True)
class And:
    """``and`` of two or more."""

    inner: tuple[Condition, ...]
    span: Span

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        truth: Truth = True
        for part in self.inner:
            one = part.evaluate(view, wanted)
            if one is False:
                return False
            if one is None:
                truth = None
        return truth

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return self.inner


@dataclass(frozen=True, slots=True)
class Or:
    """``or`` of two or more."""

    inner: tuple[Condition, ...]
    span: Span

    def evaluate(self, view: View, wanted: bool = True) -> Truth:
        """See :class:`Condition`."""
        truth: Truth = False
        for part in self.inner:
            one = part.evaluate(view, wanted)
            if one:
                return True
            if one is None:
                truth = None
        return truth

    def parts(self) -> tuple[Condition | Operand, ...]:
        """See :class:`Condition`."""
        return self.inner


def nodes(condition: Condition | Operand) -> Iterator[Condition | Operand]:
    """The node and all within it."""
    yield condition
    if not isinstance(condition, FactRef | ProfileRef | Literal):
        for part in condition.parts():
            yield from nodes(part)


def leaves(condition: Condition) -> Iterator[Condition]:
    """The conditions within that hold no others, in order."""
    if isinstance(condition, And | Or):
        for inner in condition.inner:
            yield from leaves(inner)
    elif isinstance(condition, Not):
        yield from leaves(condition.inner)
    else:
        yield condition


def facts_of(condition: Condition) -> Iterator[FactRef]:
    """Every fact that the condition names, as often as it does."""
    return (node for node in nodes(condition) if isinstance(node, FactRef))


def tags_of(condition: Condition) -> Iterator[HasTag]:
    """Every tag that the condition asks for."""
    return (node for node in nodes(condition) if isinstance(node, HasTag))
