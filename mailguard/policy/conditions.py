"""The text of a condition to a checked :mod:`policy.expression` tree.

Parsed by the standard ``ast`` module and rebuilt node by node against a whitelist: ``and or not``, comparisons,
``in``, numbers, texts, lists of these, and names of facts, profile constants, lists and tags. Everything else is
refused in plain words: no call, no attribute of an object, no arithmetic. Types, stage, and values that a fact can
never have are checked here; where evidence comes from is checked by ``policy.provenance``. All faults of one condition
are found at once.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mailguard.facts import FACTS, FactSpec, FactType, Stage
from mailguard.policy.expression import (
    TAGS,
    And,
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
from mailguard.policy.lists import AddressList, BadEntry, Kind, from_entries
from mailguard.positions import did_you_mean

MAX_LENGTH: Final = 1000
"""Characters of a condition: one that needs more is several rules."""
MAX_DEPTH: Final = 30
"""Nodes within nodes; it bounds the recursion over a tree."""

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
    ast.Call: ("this version has no functions in conditions", "compare facts with `==`, `>=`, `in`"),
    ast.BinOp: ("nothing is computed here", "compare a fact with a number; `weights` adds evidence up"),
    ast.IfExp: ("`if ... else` has no place here", "write two rules"),
    ast.Subscript: ("`[...]` after a name has no place here", "compare the whole fact"),
    ast.JoinedStr: ("a text is written without `f`", "write 'text'"),
    ast.Lambda: ("`lambda` has no place here", "compare facts with `==`, `>=`, `in`"),
    ast.NamedExpr: ("`:=` has no place here", "comparing is `==`"),
    ast.Dict: ("`{...}` has no place here", "a list is written ['a', 'b']"),
    ast.Set: ("`{...}` has no place here", "a list is written ['a', 'b']"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a condition: where in its text, what, and what would be right."""

    span: Span
    message: str
    hint: str = ""


class Faults(Exception):
    """Everything wrong with a condition."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


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
    if len(text) > MAX_LENGTH:
        raise Faults([Fault((MAX_LENGTH, len(text)), f"longer than {MAX_LENGTH} characters", "make it several rules")])
    body = text.strip()
    if not body:
        raise Faults([Fault((0, len(text)), "the condition is empty", "a rule for everything says `if: true`")])
    return _Parser(text, scope).parse(_syntax(text, body), text.index(body))


def _syntax(text: str, body: str) -> ast.expr:
    start = text.index(body)
    odd = next((i for i, c in enumerate(text) if not c.isprintable() or c == "\\"), None)
    if odd is not None:
        raise Faults([Fault((odd, odd + 1), "this character has no place in a condition", "write plain text")])
    try:
        with warnings.catch_warnings():  # such as `1or 2`, which Python itself will refuse one day
            warnings.simplefilter("error")
            tree = ast.parse(body, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as error:
        raise Faults([_syntax_fault(text, start, error)]) from error
    if _depth(tree) > MAX_DEPTH:
        raise Faults([Fault((0, len(text)), "too many things within one another", "make it several rules")])
    return tree


def _depth(tree: ast.AST) -> int:
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


_SYMBOLS: Final = (("&&", "`and`"), ("||", "`or`"), ("!", "`not`"), ("=", "`==`"))


def _syntax_fault(text: str, start: int, error: BaseException) -> Fault:
    offset = getattr(error, "offset", None) or 1
    at = min(start + max(0, offset - 1), max(0, len(text) - 1))
    bare = text.replace("==", "  ").replace("!=", "  ").replace("<=", "  ").replace(">=", "  ")
    for symbol, meant in _SYMBOLS:
        if (found := bare.find(symbol)) >= 0 and text.count("'", 0, found) % 2 == 0:
            return Fault((found, found + len(symbol)), f"`{symbol}` is no operator here", f"write {meant}")
    for word in ("AND", "OR", "NOT", "IN"):
        if f" {word} " in f" {text} ":
            found = f" {text} ".index(f" {word} ")
            return Fault((found, found + len(word)), f"`{word}` is no operator here", f"write `{word.lower()}`")
    said = str(getattr(error, "msg", "") or "")
    if "unterminated string" in said:
        return Fault((at, at + 1), "the quotation opened here is never closed", "close it with the same quote")
    if "was never closed" in said or "unmatched" in said or "does not match" in said:
        return Fault((at, at + 1), said, "every bracket that opens must close")
    return Fault((at, at + 1), "this can't be read as a condition", "such as: spam.score >= 5 and not sender.is_null")


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
        return self._comparison(self._operand(left), _COMPARISONS[type(operator)], self._operand(right), span)

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
            entry = str(item.constant)
            try:
                if not any(c in entry for c in ".:"):
                    raise BadEntry(f"`{entry}` is no IP address or network", "write 198.18.1.10 or 198.18.0.0/15")
                entries = from_entries([entry])
            except BadEntry as error:
                raise Faults([Fault(item.span, str(error), error.hint)]) from error
            if not entries.networks:
                raise Faults([Fault(item.span, f"`{entry}` is no IP address or network", "write 198.18.0.0/15")])
            for key, prefixes in entries.networks.items():
                result.networks.setdefault(key, set()).update(prefixes)
        return result

    def _check_values(self, fact: Operand, literal: Operand) -> None:
        """A comparison with a text that the fact never is can only be a slip."""
        if not (isinstance(fact, FactRef) and isinstance(literal, Literal)):
            return
        values = FACTS[fact.name].values
        if values and literal.constant not in values:
            hint = did_you_mean(str(literal.constant), [v for v in values if v], otherwise="it may be")
            raise Faults([Fault(literal.span, f"`{fact.name}` is never '{literal.constant}'", hint)])

    def _membership(self, left: ast.expr, right: ast.expr, span: Span) -> Condition:
        if isinstance(right, ast.List | ast.Tuple):
            return self._one_of(self._operand(left), right, span)
        dotted = _dotted(right)
        if dotted == TAGS:
            return self._tag(left, right, span)
        if dotted is not None and dotted.startswith("lists."):
            return self._in_list(left, dotted.removeprefix("lists."), right, span)
        texts = self._operand(right)
        if isinstance(texts, FactRef) and texts.type is FactType.TEXTS:
            return self._in_texts(self._operand(left), texts, span)
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

    def _one_of(self, operand: Operand, items: ast.List | ast.Tuple, span: Span) -> Condition:
        if not items.elts:
            raise self._fault(items, "the list is empty", "write ['a', 'b']")
        literals = tuple(self._literal_item(item) for item in items.elts)
        if isinstance(operand, FactRef) and operand.type is FactType.ADDRESS:
            return InList(operand, Kind.ADDRESS, self._networks(literals), span)
        for literal in literals:
            if literal.type is not operand.type:
                raise self._mismatch(operand, literal, literal.span)
            self._check_values(operand, literal)
        return OneOf(operand, literals, _folds(operand), span)

    def _literal_item(self, node: ast.expr) -> Literal:
        item = self._operand(node)
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
        if not isinstance(operand, FactRef) or operand.name not in LISTABLE:
            hint = f"these can be: {', '.join(f'`{n}`' for n in LISTABLE)}"
            raise self._fault(left, f"`{self._source(left)}` can't be looked up in an address list", hint)
        return InList(operand, LISTABLE[operand.name], entries, span)

    def _operand(self, node: ast.expr) -> Operand:
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd)
        if negative and isinstance(node.operand, ast.Constant) and not isinstance(node.operand.value, bool | str):  # type: ignore[attr-defined]
            value = self._constant(node, node.operand.value)  # type: ignore[attr-defined]
            sign = -1.0 if isinstance(node.op, ast.USub) else 1.0  # type: ignore[attr-defined]
            return Literal(sign * float(value.constant), value.type, value.span)
        if isinstance(node, ast.Constant):
            return self._constant(node, node.value)
        name = _dotted(node)
        if name is not None:
            return self._name(node, name)
        message, hint = _REFUSED.get(type(node), ("this has no place in a condition", "compare facts with `==`, `in`"))
        raise self._fault(node, message, hint)

    def _constant(self, node: ast.expr, value: object) -> Literal:
        span = self._span(node)
        if isinstance(value, bool):
            return Literal(value, FactType.BOOLEAN, span)
        if isinstance(value, str):
            return Literal(value, FactType.TEXT, span)
        if isinstance(value, int | float) and abs(value) < 1e15 and math.isfinite(value):
            return Literal(float(value), FactType.NUMBER, span)
        raise self._fault(node, f"`{self._source(node)[:40]}` is no value here", "numbers, 'texts', true and false are")

    def _name(self, node: ast.expr, name: str) -> Operand:
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
            raise self._fault(node, f"there is no fact `{name}`", self._unknown_hint(name))
        if spec.stage > self._scope.stage:
            raise self._fault(node, _too_early(spec), "move the rule to `rules: content:`")
        return FactRef(name, span)

    def _unknown_hint(self, name: str) -> str:
        known = [*FACTS, *(f"profile.{p}" for p in self._scope.profile), *(f"lists.{n}" for n in self._scope.lists)]
        near = did_you_mean(name, known)
        if near.startswith("did you mean"):
            return near
        return f"a text stands in quotes: '{name}'" if "." not in name else "see the reference of facts"

    def _profile(self, node: ast.expr, name: str) -> ProfileRef:
        type_ = self._scope.profile.get(name)
        if type_ is None:
            hint = did_you_mean(name, self._scope.profile, otherwise="profiles have")
            raise self._fault(node, f"no profile has a constant `{name}`", hint)
        return ProfileRef(name, type_, self._span(node))


def _too_early(spec: FactSpec) -> str:
    return f"`{spec.name}` is known only when the content has come, and this rule is of the envelope"


def _folds(operand: Operand) -> bool:
    return isinstance(operand, FactRef) and operand.name in FOLDED


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
