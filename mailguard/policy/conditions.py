"""The text of a condition to a checked :mod:`policy.expression` tree.

Parsed by the standard ``ast`` module (``policy.syntax``) and rebuilt node by node against a whitelist: ``and or not``,
comparisons, ``in``, numbers, texts, lists of these, the functions of ``policy.functions``, and names of facts, profile
constants, lists and tags. Everything else is refused in plain words: no other call, no attribute of an object, no
arithmetic. Types, stage, and values that a fact can never have (``policy.implausible``) are checked here; where
evidence comes from is checked by ``policy.provenance``.
All faults of one condition are found at once.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mailguard.facts import FACTS, FactSpec, FactType, Stage
from mailguard.policy import syntax
from mailguard.policy.expression import (
    TAGS,
    And,
    Call,
    Comparison,
    Condition,
    Constant,
    FactRef,
    HasTag,
    Holds,
    InList,
    InTexts,
    Literal,
    Not,
    OneOf,
    Operand,
    Or,
    ProfileRef,
    Span,
)
from mailguard.policy.functions import FUNCTIONS, BadArgument, Function, meant
from mailguard.policy.implausible import why_never
from mailguard.policy.lists import AddressList, BadEntry, Kind
from mailguard.policy.syntax import Fault, Faults
from mailguard.positions import closest, did_you_mean

FOLDED: Final = frozenset(
    name
    for name in FACTS
    if name.startswith(("helo.", "sender.", "recipient.", "reverse_dns.")) or name == "dnsbl.zones"
)
"""Facts that compare without regard to case: domains (RFC 5321 2.4) and local parts (by custom)."""

LISTABLE: Final[Mapping[str, Kind]] = {
    "client.ip": Kind.ADDRESS,
    "reverse_dns.name": Kind.DOMAIN,
    "helo.name": Kind.DOMAIN,
    "sender.domain": Kind.DOMAIN,
    "recipient.domain": Kind.DOMAIN,
    "sender.address": Kind.MAILBOX,
    "recipient.address": Kind.MAILBOX,
}
"""What is looked up for a fact in a list of addresses."""

_COMPARISONS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_ORDERED: Final = ("<", "<=", ">", ">=")
_REFUSED: Final[Mapping[type[ast.AST], tuple[str, str]]] = {
    ast.Call: ("only a function can be called", "the functions are listed in docs/reference/functions.md"),
    ast.BinOp: ("nothing is computed here", "compare a fact with a number; `weights` adds evidence up"),
    ast.IfExp: ("`if ... else` has no place here", "write two rules"),
    ast.Subscript: ("`[...]` after a name has no place here", "compare the whole fact"),
    ast.JoinedStr: ("a text is written without `f`", "write 'text'"),
    ast.Lambda: ("`lambda` has no place here", "compare facts with `==`, `>=`, `in`"),
    ast.NamedExpr: ("`:=` has no place here", "comparing is `==`"),
    ast.Dict: ("`{...}` has no place here", "a list is written ['a', 'b']"),
    ast.Set: ("`{...}` has no place here", "a list is written ['a', 'b']"),
    ast.Tuple: (
        "a comma has no place here",
        "a number has a decimal point (9.5); conditions are joined with `and` or `or`",
    ),
    ast.List: ("a list stands only behind `in`", "write recipient.local in ['a', 'b']"),
    ast.UnaryOp: ("this stands only before a number or a whole condition", "write -5, or not sender.is_null"),
    ast.BoolOp: ("conditions are not compared with one another", "join them with `and`, `or`, `not`"),
    ast.Compare: ("conditions are not compared with one another", "join them with `and`, `or`, `not`"),
}
_FACTS_PAGE: Final = "the facts are listed in docs/reference/facts.md"
_NEAR_AS_TEXT: Final = 0.75
"""How near a name beside a text must be to that of a fact, to be taken for it rather than for a text."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition may name.

    Attributes:
        stage: of the rule; facts of later stages do not exist yet.
        profile: constants of profiles, by name.
        lists: the policy's address lists.
        tags: symbols that rules above give.
        members: facts of several texts, all of whose possible texts are known (``dnsbl.labels``).
    """

    stage: Stage
    profile: Mapping[str, FactType] = field(default_factory=dict)
    lists: Mapping[str, AddressList] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)


def parse_condition(text: str, scope: Scope) -> Condition:
    """The condition that ``text`` is, within ``scope``.

    Raises:
        Faults: everything wrong with it.
    """
    tree, start = syntax.parse(text)
    return _Parser(text, scope).parse(tree, start)


class _Parser:
    """Rebuilds one syntax tree; a fault in one part of an ``and`` or ``or`` does not hide those of the others."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._text = text
        self._scope = scope
        self._start = 0

    def parse(self, tree: ast.expr, start: int) -> Condition:
        """The condition; ``start``: where in the text the tree's text begins."""
        self._start = start
        return self._condition(tree)

    def _span(self, node: ast.expr) -> Span:
        """Where ``node`` stands, in characters; ``ast`` counts octets of UTF-8."""
        octets = self._text[self._start :].encode()
        first = len(octets[: node.col_offset].decode())
        last = len(octets[: node.end_col_offset].decode())
        return self._start + first, self._start + last

    def _fault(self, node: ast.expr, message: str, hint: str = "") -> Faults:
        return Faults([Fault(self._span(node), message, hint)])

    def _source(self, node: ast.expr) -> str:
        first, last = self._span(node)
        return self._text[first:last]

    def _condition(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.BoolOp):
            parts = self._all(node.values)
            return (And if isinstance(node.op, ast.And) else Or)(parts, self._span(node))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Not(self._condition(node.operand), self._span(node))
        if isinstance(node, ast.Compare):
            return self._compare(node)
        return self._alone(node)

    def _all(self, values: list[ast.expr]) -> tuple[Condition, ...]:
        parts, faults = [], []
        for value in values:
            try:
                parts.append(self._condition(value))
            except Faults as error:
                faults += error.faults
        if faults:
            raise Faults(faults)
        return tuple(parts)

    def _alone(self, node: ast.expr) -> Condition:
        operand = self._operand(node)
        if operand.type is not FactType.BOOLEAN:
            source = self._source(node)
            example = f"{source} >= 5" if operand.type is FactType.NUMBER else f"{source} == 'text'"
            raise self._fault(node, f"`{source}` is a {operand.type}, not true or false", f"compare it: {example}")
        return Holds(operand, self._span(node))

    def _compare(self, node: ast.Compare) -> Condition:
        """A comparison, or a chain of them (``1 < a < 5``), which is the ``and`` of its links."""
        operands = [node.left, *node.comparators]
        links = [
            self._link(node, left, operator, right)
            for left, operator, right in zip(operands, node.ops, node.comparators, strict=False)
        ]
        return links[0] if len(links) == 1 else And(tuple(links), self._span(node))

    def _link(self, node: ast.Compare, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Condition:
        span = self._span(left)[0], self._span(right)[1]
        if isinstance(operator, ast.In | ast.NotIn):
            inside = self._membership(left, right, span)
            return inside if isinstance(operator, ast.In) else Not(inside, span)
        if isinstance(operator, ast.Is | ast.IsNot):
            word, meant = ("is", "==") if isinstance(operator, ast.Is) else ("is not", "!=")
            raise Faults([Fault(span, f"`{word}` is no comparison here", f"write `{meant}`")])
        one, other = self._operand(left, right), self._operand(right, left)
        return self._comparison(one, _COMPARISONS[type(operator)], other, span)

    def _comparison(self, left: Operand, operator: str, right: Operand, span: Span) -> Condition:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, FactRef) and one.type is FactType.ADDRESS:
                return self._address(one, operator, other, span)
            if one.type is FactType.TEXTS:
                hint = f"write 'text' in {self._text[slice(*one.span)]}"
                raise Faults([Fault(one.span, f"`{self._text[slice(*one.span)]}` is a list of texts", hint)])
        if left.type is not right.type:
            raise self._mismatch(left, right, span)
        if operator in _ORDERED and left.type is not FactType.NUMBER:
            raise Faults([Fault(span, f"`{operator}` compares numbers, and this is a {left.type}", "use `==` or `!=`")])
        self._check_values(left, right)
        self._check_values(right, left)
        return Comparison(left, operator, right, _folds(left) or _folds(right), span)

    def _mismatch(self, left: Operand, right: Operand, span: Span) -> Faults:
        names = [f"`{self._text[slice(*o.span)]}` is a {o.type}" for o in (left, right)]
        hint = "a number stands without quotes" if {left.type, right.type} == {FactType.NUMBER, FactType.TEXT} else ""
        return Faults([Fault(span, f"these can't be compared: {names[0]}, {names[1]}", hint)])

    def _address(self, fact: FactRef, operator: str, other: Operand, span: Span) -> Condition:
        if operator not in ("==", "!=") or not isinstance(other, Literal) or other.type is not FactType.TEXT:
            hint = f"write {fact.name} == '198.18.1.10' or {fact.name} in ['198.18.0.0/15']"
            raise Faults([Fault(span, f"`{fact.name}` is an IP address, compared with one in quotes", hint)])
        inside = InList(fact, Kind.ADDRESS, self._networks((other,)), span)
        return inside if operator == "==" else Not(inside, span)

    def _networks(self, items: tuple[Literal, ...]) -> AddressList:
        result = AddressList()
        for item in items:
            try:
                result.add_of(Kind.ADDRESS, str(item.constant))
            except BadEntry as error:
                raise Faults([Fault(item.span, str(error), error.hint)]) from error
        return result

    def _check_values(self, fact: Operand, literal: Operand) -> None:
        """A comparison with a text that the fact never is can only be a slip."""
        if isinstance(fact, FactRef | Call) and isinstance(literal, Literal) and isinstance(literal.constant, str):
            never = why_never(self._text[slice(*fact.span)], kind_of(fact), literal.constant)
            if never is not None:
                raise Faults([Fault(literal.span, *never)])

    def _membership(self, left: ast.expr, right: ast.expr, span: Span) -> Condition:
        if isinstance(right, ast.List | ast.Tuple):
            return self._one_of(left, right, span)
        dotted = _dotted(right)
        if dotted == TAGS:
            return self._tag(left, right, span)
        if dotted is not None and dotted.startswith("lists."):
            return self._in_list(left, dotted.removeprefix("lists."), right, span)
        texts = self._operand(right)
        if isinstance(texts, FactRef) and texts.type is FactType.TEXTS:
            return self._in_texts(self._operand(left, right), texts, span)
        source = self._source(right)
        hint = f"write [{source}], or `==`" if isinstance(texts, Literal) else "`in` looks into a list: ['a', 'b']"
        raise self._fault(right, f"`{source}` is no list", hint)

    def _in_texts(self, operand: Operand, texts: FactRef, span: Span) -> Condition:
        if operand.type is not FactType.TEXT:
            source = self._text[slice(*operand.span)]
            raise Faults([Fault(operand.span, f"`{texts.name}` holds texts, and `{source}` is a {operand.type}")])
        known = self._scope.members.get(texts.name)
        if known is not None and isinstance(operand, Literal) and operand.constant not in known:
            hint = did_you_mean(str(operand.constant), known, otherwise="it may hold")
            raise Faults([Fault(operand.span, f"`{texts.name}` never holds '{operand.constant}'", hint)])
        return InTexts(operand, texts, _folds(texts), span)

    def _one_of(self, left: ast.expr, items: ast.List | ast.Tuple, span: Span) -> Condition:
        if not items.elts:
            raise self._fault(items, "the list is empty", "write ['a', 'b']")
        operand = self._operand(left, items.elts[0])
        literals = tuple(self._literal_item(item, left) for item in items.elts)
        if isinstance(operand, FactRef) and operand.type is FactType.ADDRESS:
            return InList(operand, Kind.ADDRESS, self._networks(literals), span)
        for literal in literals:
            if literal.type is not operand.type:
                raise self._mismatch(operand, literal, literal.span)
            self._check_values(operand, literal)
        return OneOf(operand, literals, _folds(operand), span)

    def _literal_item(self, node: ast.expr, beside: ast.expr) -> Literal:
        item = self._operand(node, beside)
        if not isinstance(item, Literal):
            raise self._fault(node, "a list here holds numbers or texts only", "compare facts one by one, with `or`")
        return item

    def _tag(self, left: ast.expr, right: ast.expr, span: Span) -> Condition:
        if not isinstance(left, ast.Constant) or not isinstance(left.value, str):
            raise self._fault(left, "a tag is asked for by its symbol", "write 'SYMBOL' in tags")
        if left.value not in self._scope.tags:
            hint = did_you_mean(left.value, self._scope.tags, otherwise="given above")
            raise self._fault(
                left, f"no rule above gives the tag '{left.value}'", hint or "a rule with `then: tag` does"
            )
        return HasTag(left.value, self._span(right), span)

    def _in_list(self, left: ast.expr, name: str, right: ast.expr, span: Span) -> Condition:
        entries = self._scope.lists.get(name)
        if entries is None:
            raise self._fault(right, f"there is no list `{name}`", did_you_mean(name, self._scope.lists))
        operand = self._operand(left)
        kind = kind_of(operand)
        if kind is None:
            hint = f"these can be: {', '.join(f'`{n}`' for n in LISTABLE)}"
            raise self._fault(left, f"`{self._source(left)}` can't be looked up in an address list", hint)
        return InList(operand, kind, entries, span)

    def _operand(self, node: ast.expr, beside: ast.expr | None = None) -> Operand:
        """One side of a comparison; ``beside``: the other, which tells what an unknown name was meant to be."""
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd)
        if negative and isinstance(node.operand, ast.Constant) and not isinstance(node.operand.value, bool | str):  # type: ignore[attr-defined]
            value = self._constant(node, node.operand.value)  # type: ignore[attr-defined]
            sign = -1.0 if isinstance(node.op, ast.USub) else 1.0  # type: ignore[attr-defined]
            return Literal(sign * float(value.constant), value.type, value.span)
        if isinstance(node, ast.Constant):
            return self._constant(node, node.value)
        if isinstance(node, ast.Call):
            return self._call(node)
        name = _dotted(node)
        if name is not None:
            return self._name(node, name, beside)
        if isinstance(node, ast.BinOp):
            self._check_slip(node)
        message, hint = _REFUSED.get(type(node), ("this has no place in a condition", "compare facts with `==`, `in`"))
        raise self._fault(node, message, hint)

    def _call(self, node: ast.Call) -> Call:
        function = self._function(node)
        if node.keywords or not node.args or not function.takes_constants(len(node.args) - 1):
            raise self._fault(node, f"`{function.name}` takes other arguments", f"such as {function.example}")
        operand = self._operand(node.args[0])
        self._check_taken(node.args[0], function, operand)
        constants = tuple(self._argument(function, argument) for argument in node.args[1:])
        try:
            apply = function.bind(constants, _folds(operand))
        except BadArgument as error:
            span = self._within(node.args[error.index + 1], constants[error.index], error.span)
            raise Faults([Fault(span, str(error), error.hint)]) from error
        return Call(function.name, operand, constants, function.gives, function.kind, apply, self._span(node))

    def _function(self, node: ast.Call) -> Function:
        name = _dotted(node.func)
        if name is None:
            raise self._fault(node, *_REFUSED[ast.Call])
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        raise self._fault(node.func, f"there is no function `{name}`", meant(name))

    def _check_taken(self, node: ast.expr, function: Function, operand: Operand) -> None:
        """The first argument is of the type that the function takes, or the kind of address."""
        if function.takes in (operand.type, kind_of(operand)):
            return
        source, kind = self._source(node), kind_of(operand)
        if function.takes is FactType.TEXT:
            hint = f"such as {FUNCTIONS['in_network'].example}" if operand.type is FactType.ADDRESS else ""
            raise self._fault(node, f"`{source}` is no text, which `{function.name}` looks at", hint)
        hint = f"these are: {', '.join(f'`{name}`' for name, k in LISTABLE.items() if k is function.takes)}"
        if kind is Kind.MAILBOX and function.takes is Kind.DOMAIN:
            hint = f"write domain_of({source})"
        raise self._fault(node, f"`{source}` is no {function.takes}, which `{function.name}` looks at", hint)

    def _argument(self, function: Function, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        message = f"`{self._source(node)}` is no text in quotes: it is read when the policy is loaded"
        raise self._fault(node, message, f"such as {function.example}")

    def _within(self, node: ast.expr, constant: str, part: Span | None) -> Span:
        """Where ``part`` of a text in quotes stands; the whole of it where that can't be told."""
        first, last = self._span(node)
        if part is None or self._text[first + 1 : last - 1] != constant:
            return first, last
        return first + 1 + part[0], first + 1 + max(part)

    def _check_slip(self, node: ast.BinOp) -> None:
        """``spam.content-score`` is a subtraction to the parser, and ``&`` a sum of bits, but not to their authors."""
        source = self._source(node)
        meant = source.replace("-", "_")
        if meant in self._known():
            raise self._fault(node, f"there is no fact `{source}`", f"did you mean `{meant}`?")
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            symbol, word = ("&", "and") if isinstance(node.op, ast.BitAnd) else ("|", "or")
            raise self._fault(node, f"`{symbol}` is no operator here", f"write `{word}`")

    def _constant(self, node: ast.expr, value: object) -> Literal:
        span = self._span(node)
        if isinstance(value, bool):
            return Literal(value, FactType.BOOLEAN, span)
        if isinstance(value, str) and "\\" in value:
            message = "a backslash has no place in this text: it is compared as it stands"
            raise self._fault(node, message, "a regular expression stands in a function: matches(helo.name, 'regex')")
        if isinstance(value, str):
            return Literal(value, FactType.TEXT, span)
        if isinstance(value, int | float) and abs(value) < 1e15 and math.isfinite(value):
            return Literal(float(value), FactType.NUMBER, span)
        raise self._fault(node, f"`{self._source(node)[:40]}` is no value here", "numbers, 'texts', true and false are")

    def _name(self, node: ast.expr, name: str, beside: ast.expr | None) -> Operand:
        span = self._span(node)
        if name in ("true", "false"):
            return Literal(name == "true", FactType.BOOLEAN, span)
        if name.startswith("profile."):
            return self._profile(node, name.removeprefix("profile."))
        if name == TAGS or name.startswith("lists."):
            example = "'SYMBOL' in tags" if name == TAGS else f"client.ip in {name}"
            raise self._fault(node, f"`{name}` is something to look into", f"write {example}")
        spec = FACTS.get(name)
        if spec is None:
            raise self._fault(node, f"there is no fact `{name}`", self._unknown_hint(name, beside))
        if spec.stage > self._scope.stage:
            raise self._fault(node, _too_early(spec), "move the rule to `rules: content:`")
        return FactRef(name, span)

    def _known(self) -> dict[str, FactType | None]:
        """Every name that a condition may hold here, with its type where it has one."""
        profile = {f"profile.{name}": type_ for name, type_ in self._scope.profile.items()}
        return {**{n: f.type for n, f in FACTS.items()}, **profile, **{f"lists.{n}": None for n in self._scope.lists}}

    def _unknown_hint(self, name: str, beside: ast.expr | None) -> str:
        """Beside a fact that is a text a name was meant as one, unless it is very near that of a fact."""
        known = self._known()
        other = known.get(_dotted(beside) or "") if beside is not None else None
        if other in (FactType.TEXT, FactType.TEXTS, FactType.ADDRESS):
            near = closest(name, (n for n, type_ in known.items() if type_ is FactType.TEXT), _NEAR_AS_TEXT)
            return f"did you mean `{near}`?" if near else f"a text stands in quotes: '{name}'"
        near = closest(name, known)
        return f"did you mean `{near}`?" if near else _FACTS_PAGE

    def _profile(self, node: ast.expr, name: str) -> ProfileRef:
        type_ = self._scope.profile.get(name)
        if type_ is None:
            hint = did_you_mean(name, self._scope.profile, otherwise="profiles have")
            raise self._fault(node, f"no profile has a constant `{name}`", hint)
        return ProfileRef(name, type_, self._span(node))


def _too_early(spec: FactSpec) -> str:
    return f"`{spec.name}` is known only when the content has come, and this rule is of the envelope"


def kind_of(operand: Operand) -> Kind | None:
    """What kind of address ``operand`` is, if any."""
    if isinstance(operand, Call):
        return operand.kind
    return LISTABLE.get(operand.name) if isinstance(operand, FactRef) else None


def _folds(operand: Operand) -> bool:
    return kind_of(operand) is not None or (isinstance(operand, FactRef) and operand.name in FOLDED)


def _dotted(node: ast.expr) -> str | None:
    """``a.b.c`` as written, None where the node is no such name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def constant_type(constant: Constant) -> FactType:
    """The type of a profile's constant."""
    if isinstance(constant, bool):
        return FactType.BOOLEAN
    return FactType.TEXT if isinstance(constant, str) else FactType.NUMBER
