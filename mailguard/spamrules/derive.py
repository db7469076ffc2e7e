"""Derives from rule files what each rule may look at: directly, through a DNS list's set, a capture or a meta.

A rule that depends on another has the other's evidence too, transitively. A name that no file defines is taken for one
that looks at Received lines: it may be defined elsewhere.

A message whose body was cut lacks what stood in the rest. A rule that a cut can only make miss is content all the same.
One that a cut can make hit needs the whole: an eval that measures or counts, a pattern that wants something to be
missing or to end, a meta that negates a rule about the body.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from mailguard.spamrules.definitions import Definition, RuleFile, definitions
from mailguard.spamrules.evals import HEADER_ALONE, Call, Review, parse_call, review
from mailguard.spamrules.evidence import Evidence
from mailguard.spamrules.reads import header_evidence, header_read, template_evidence

_EVAL: Final = re.compile(r"(?:rbl)?eval:(.*)$")
_RULE_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_MATCHING: Final = re.compile(r"(?<!_)\brules_matching\(\s*([\w*?]+)\s*\)")
_NOT_RULES: Final = frozenset({"local_tests_only", "rules_matching"})
_CAPTURES: Final = re.compile(r"\(\?P?[<']([A-Z][A-Z0-9_]*)[>']")
_TEMPLATES: Final = re.compile(r"%\{([A-Z][A-Z0-9_]*)")
_BODY: Final = frozenset({"body", "rawbody", "uri", "uri_detail"})
_NEGATED: Final = re.compile(r"!\s*([A-Za-z_]\w*)")
_FALLING: Final = re.compile(r"[!<?^%/-]|==|>=?\s*(?![\s=]|[\d.]+\s*(?:[)&|]|$))")
"""Operators by which a meta may come true as one of its rules becomes false; a mere number to the right of > does no
harm.
"""
_TO_THE_END: Final = re.compile(r"!~|\(\?!|\\[zZ]|(?<!\\)\$(?![\]\w\\])")
"""Parts of a pattern that ask what does not follow, or what is not there."""


@dataclass(slots=True)
class _Rule:
    """One rule while it is derived: what it reads itself, and the names that it depends on."""

    evidence: Evidence = Evidence.CONTENT
    reason: str = ""
    needs: set[str] = field(default_factory=set)
    against: set[str] = field(default_factory=set)
    """Those of ``needs`` whose absence may make it hit."""
    body: bool = False
    """Whether it looks into the body, so that a cut may take it away."""

    def add(self, found: Review) -> None:
        new = found.evidence & ~self.evidence
        if new and not self.evidence & Evidence.RECEIVED:
            self.reason = found.reason if new & Evidence.RECEIVED or not self.reason else self.reason
        self.evidence |= found.evidence


class _Book:
    """All definitions, by name, with the lookups that dependencies need."""

    def __init__(self, files: Iterable[RuleFile]) -> None:
        everything = [definition for file in files for definition in definitions(file)]
        self.names = {d.name for d in everything if d.kind != "unknown"}
        self.all = [d for d in everything if d.name in self.names]
        self.sets: dict[str, set[str]] = defaultdict(set)
        self.captures: dict[str, set[str]] = defaultdict(set)
        for definition in self.all:
            self._index(definition)

    def _index(self, definition: Definition) -> None:
        call = _call(definition)
        if call is not None and call.function.startswith("check_rbl") and call.function != "check_rbl_sub":
            self.sets[call.first].add(definition.name)
        for capture in _CAPTURES.findall(definition.argument):
            self.captures[capture].add(definition.name)


def _call(definition: Definition) -> Call | None:
    found = _EVAL.match(definition.argument)
    return parse_call(found[1]) if found else None


def _look(rule: _Rule, definition: Definition, book: _Book) -> None:
    """Add to ``rule`` what ``definition`` reads and depends on."""
    if definition.kind == "meta":
        _look_meta(rule, definition, book)
    elif _EVAL.match(definition.argument):
        _look_eval(rule, definition, book)
    else:
        rule.add(_pattern(definition))
        rule.body = rule.body or definition.kind not in ("header", "askdns")
        for capture in _TEMPLATES.findall(definition.argument):
            _depend(rule, book.captures.get(capture, set()), f"%{{{capture}}}, which no rule captures")


def _look_meta(rule: _Rule, definition: Definition, book: _Book) -> None:
    text = definition.argument
    for pattern in _MATCHING.findall(text):
        rule.needs |= {name for name in book.names if fnmatchcase(name, pattern)} - {definition.name}
    plain = _MATCHING.sub(" 1 ", text)
    rule.needs |= set(_RULE_NAME.findall(plain)) - _NOT_RULES
    rule.against |= rule.needs if _FALLING.search(_NEGATED.sub(" 1 ", plain)) else set(_NEGATED.findall(plain))
    if not text.strip("() \t"):
        rule.add(Review(Evidence.RECEIVED, "an empty meta, hit by a plugin"))


def _look_eval(rule: _Rule, definition: Definition, book: _Book) -> None:
    call = _call(definition)
    if call is None:
        rule.add(Review(Evidence.RECEIVED, "an eval that is not understood"))
    elif call.function == "check_rbl_sub":
        _depend(rule, book.sets.get(call.first, set()), f"the set {call.first}, which no rule asks")
    else:
        found = review(call)
        rule.body = rule.body or call.function not in HEADER_ALONE
        rule.add(Review(found.evidence, f"{call.function}: {found.reason}"))


def _depend(rule: _Rule, names: set[str], otherwise: str) -> None:
    rule.needs |= names
    if not names:
        rule.add(Review(Evidence.RECEIVED, otherwise))


def _pattern(definition: Definition) -> Review:
    """What a rule with a pattern reads, by its kind."""
    kind = definition.kind
    if kind in ("header", "mimeheader"):
        name = header_read(definition.argument)
        if name is None:
            return Review(Evidence.RECEIVED, f"a {kind} rule that is not understood")
        found = header_evidence(name)
        if kind == "mimeheader" and _TO_THE_END.search(definition.argument):
            found |= Evidence.WHOLE
        return Review(found, f"reads {name}")
    if kind == "askdns":
        template = definition.argument.split(None, 1)[0] if definition.argument else ""
        return Review(template_evidence(template), f"asks the DNS about {template}")
    if kind in _BODY or kind.startswith("uri"):
        if _TO_THE_END.search(definition.argument):
            return Review(Evidence.WHOLE, f"a {kind} rule that asks what does not follow")
        return Review(Evidence.CONTENT, f"a {kind} rule")
    if kind == "full":
        return Review(Evidence.RECEIVED, "a pattern over the whole message, header included")
    return Review(Evidence.RECEIVED, f"named by a setting that is not understood: {definition.where}")


def derive_rules(files: Iterable[RuleFile]) -> dict[str, Review]:
    """What every rule that ``files`` define may look at, and why; the reason of a meta is the path to the taint."""
    book = _Book(files)
    rules = {name: _Rule() for name in book.names}
    for definition in book.all:
        _look(rules[definition.name], definition, book)
    for rule in rules.values():
        for missing in sorted(rule.needs - rules.keys()):
            rule.add(Review(Evidence.RECEIVED, f"{missing}, which no file defines"))
    _add_absences(rules)
    _spread(rules)
    return {name: Review(rule.evidence, rule.reason) for name, rule in sorted(rules.items())}


def _add_absences(rules: Mapping[str, _Rule]) -> None:
    """Mark each meta that may hit because a rule about the body does not."""
    body = _all_about_the_body(rules)
    for rule in rules.values():
        for name in sorted(rule.against & body)[:1]:
            rule.add(Review(Evidence.WHOLE, f"not {name}, which a cut may take away"))


def _all_about_the_body(rules: Mapping[str, _Rule]) -> set[str]:
    """The rules that look into the body, and all that depend on one."""
    users = _users(rules)
    found: set[str] = set()
    waiting = [name for name, rule in rules.items() if rule.body]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += users[name]
    return found


def _users(rules: Mapping[str, _Rule]) -> dict[str, list[str]]:
    """By rule, those that need it."""
    users: dict[str, list[str]] = defaultdict(list)
    for name, rule in rules.items():
        for needed in rule.needs & rules.keys():
            users[needed].append(name)
    return users


def _spread(rules: Mapping[str, _Rule]) -> None:
    """Give each rule the evidence of those that it needs, breadth first from each kind, so that paths are short."""
    users = _users(rules)
    for kind in (Evidence.RECEIVED, Evidence.CLIENT, Evidence.ENVELOPE, Evidence.WHOLE):
        queue = deque(sorted(name for name, rule in rules.items() if kind in rule.evidence))
        while queue:
            name = queue.popleft()
            for user in sorted(users[name]):
                if kind not in rules[user].evidence:
                    rules[user].add(Review(kind, f"{name} <- {rules[name].reason}"))
                    queue.append(user)
