"""The rules of a policy, checked and compiled: condition, action, reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mailguard.facts import FactType, Stage
from mailguard.policy import texts
from mailguard.policy.answers import ListTable
from mailguard.policy.conditions import Scope, constant_type, parse_condition
from mailguard.policy.expression import Condition, Holds, Literal, facts_of
from mailguard.policy.lists import AddressList
from mailguard.policy.rules import Rule
from mailguard.policy.schema import PolicyFile, RuleEntry
from mailguard.policy.syntax import Faults
from mailguard.policy.tables import text_template
from mailguard.positions import Document, Path, Problem, Style
from mailguard.replies import Reply
from mailguard.verdict import Action

STAGES: Final = {Stage.ENVELOPE: "envelope", Stage.CONTENT: "content"}
_NEVER: Final = Holds(Literal(False, FactType.BOOLEAN, (0, 0)), (0, 0))
"""Stands for a condition that was refused, while the rest is checked."""


@dataclass(slots=True)
class Rulebook:
    """Compiles rules one after the other; tags given by one are known to those below."""

    document: Document
    observed: bool
    profile: Mapping[str, FactType]
    lists: Mapping[str, AddressList]
    tables: tuple[ListTable, ...]
    problems: list[Problem]
    tags: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    def stages(self, schema: PolicyFile) -> dict[Stage, list[Rule]]:
        """The rules of each stage, in order."""
        return {stage: list(self._stage(stage, getattr(schema.rules, name))) for stage, name in STAGES.items()}

    def _stage(self, stage: Stage, entries: list[RuleEntry]) -> Iterator[Rule]:
        for index, entry in enumerate(entries):
            yield self._rule(stage, entry, ("rules", STAGES[stage], index))

    def _rule(self, stage: Stage, entry: RuleEntry, path: Path) -> Rule:
        self._check_name(entry.name, path)
        condition = self._condition(stage, entry.if_, (*path, "if"))
        if entry.then is Action.GREYLIST:
            hint = "use `then: file` and `folder: Junk` instead"
            message = "greylisting needs shared state, which this version does not have"
            self.problems.append(self.document.problem((*path, "then"), message, hint))
        if entry.symbol is not None:
            self.tags.add(entry.symbol)
        text = None
        if entry.text is not None:
            text = text_template(self.document, (*path, "text"), entry.text, texts.showable(stage), self.problems)
        return Rule(
            entry.name,
            entry.then,
            condition,
            entry.mode == "enforce" if self.observed else entry.mode != "observe",
            self._reply(entry, (*path, "reply")),
            text,
            entry.folder,
            entry.symbol,
            path=path,
            insists=entry.mode == "enforce",
        )

    def _check_name(self, name: str, path: Path) -> None:
        first = self.names.get(name)
        self.names.setdefault(name, self.document.told((*path, "name")))
        if first is not None:
            message = f"a rule above is called '{name}' too"
            hint = f"the first is on {first}; log and metrics could not tell them apart"
            self.problems.append(self.document.problem((*path, "name"), message, hint))

    def _condition(self, stage: Stage, text: str, path: Path) -> Condition:
        scope = Scope(stage, self.profile, self.lists, frozenset(self.tags), self._members())
        found = condition_problems(self.document, path, text, scope)
        if isinstance(found, list):
            self.problems += found
            return _NEVER
        for fact in facts_of(found):
            if fact.name.startswith("dnsbl.") and not self.tables:
                message = f"`{fact.name}` asks lists, and the policy has none"
                self.problems.append(self.document.span_problem(path, fact.span, message, "declare them in `dnsbl`"))
        return found

    def _members(self) -> dict[str, frozenset[str]]:
        labels = {f"{t.zone.name}/{listing.label}" for t in self.tables for listing in t.listings}
        zones = {t.zone.zone for t in self.tables}
        return {"dnsbl.labels": frozenset(labels), "dnsbl.zones": frozenset(zones)} if self.tables else {}

    def _reply(self, entry: RuleEntry, path: Path) -> Reply | None:
        if entry.reply is None:
            return None
        code, _, enhanced = entry.reply.partition(" ")
        wanted = "5" if entry.then is Action.REJECT else "4"
        message = None
        if not code.startswith(wanted):
            message = f"{code} does not say {entry.then}: that is {wanted}yz (RFC 5321 4.2.1)"
        elif code in ("421", "521"):
            message = f"{code} is about the whole connection, and a rule is about one recipient or message"
        elif enhanced[0] != code[0]:
            message = f"{code} and {enhanced} are of different classes (RFC 3463 3.1)"
        if message is not None:
            example = "550 5.7.1" if wanted == "5" else "451 4.7.1"
            self.problems.append(self.document.problem(path, message, f"such as {example}"))
            return None
        said = "Refused by policy" if wanted == "5" else "Deferred by policy, try again later"
        return Reply(int(code), enhanced, (said,))


def condition_problems(document: Document, path: Path, text: str, scope: Scope) -> Condition | list[Problem]:
    """The condition at ``path``, or everything wrong with it, each with its column."""
    place = document.place(path)
    if place.style in (Style.FOLDED, Style.LITERAL):
        hint = "write it on one line, in quotes if need be: no column could be named otherwise"
        return [document.problem(path, "a condition can't be a block (`>` or `|`)", hint)]
    if not place.one_line:
        return [document.problem(path, "a condition stands on one line", "make it several rules, or join the lines")]
    try:
        return parse_condition(text, scope)
    except Faults as error:
        return [document.span_problem(path, f.span, f.message, f.hint) for f in error.faults]


def loose_problems(document: Document) -> Iterator[Problem]:
    """What is wrong with the conditions of a policy whose form is refused already, as far as that can be told."""
    profile = {
        name: constant_type(value)
        for constants in _mapping(document, "profiles").values()
        if isinstance(constants, dict)
        for name, value in constants.items()
        if isinstance(value, bool | int | float | str)
    }
    lists = dict.fromkeys(_mapping(document, "lists"), AddressList())
    rules = [(s, i, r) for s in STAGES for i, r in enumerate(_rules(document, s)) if isinstance(r, dict)]
    tags = frozenset(str(rule.get("symbol")) for _, _, rule in rules)
    for stage, index, rule in rules:
        path: Path = ("rules", STAGES[stage], index, "if")
        if isinstance(rule.get("if"), str) and path not in document.spoilt:
            found = condition_problems(document, path, rule["if"], Scope(stage, profile, lists, tags))
            yield from found if isinstance(found, list) else ()


def _mapping(document: Document, key: str) -> dict[str, Any]:
    value = document.value((key,))
    return value if isinstance(value, dict) else {}


def _rules(document: Document, stage: Stage) -> list[Any]:
    value = document.value(("rules", STAGES[stage]))
    return value if isinstance(value, list) else []
