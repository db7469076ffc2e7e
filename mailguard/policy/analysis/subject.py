"""What is analysed: a policy in which nothing is wrong, as the compiler has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Final

from mailguard.facts import Stage
from mailguard.policy.analysis.clauses import Clause, TooMany, clauses
from mailguard.policy.analysis.effort import Effort
from mailguard.policy.expression import Constant, ProfileRef, Span, nodes
from mailguard.policy.finding import Finding, Kind
from mailguard.policy.lists import AddressList
from mailguard.policy.reading import Scales
from mailguard.policy.rules import Profiles, Rule
from mailguard.policy.schema import PolicyFile
from mailguard.positions import Document, Path

MAX_ALTERNATIVES: Final = 20_000
"""Alternatives of all conditions, over all profiles, that are analysed."""


@dataclass(frozen=True)
class Subject:
    """A policy and its document.

    Attributes:
        document, schema: as written.
        stages: the rules, each with its direction.
        scales: lists and weights, those included that are only observed.
        profiles: constants and who has them.
        lists: the address lists by name.
    """

    document: Document
    schema: PolicyFile
    stages: Mapping[Stage, Sequence[Rule]]
    scales: Scales
    profiles: Profiles
    lists: Mapping[str, AddressList]
    _alternatives: dict[str, list[list[Clause]] | None] = field(default_factory=dict)
    _effort: Effort = field(default_factory=lambda: Effort(MAX_ALTERNATIVES))

    @property
    def rules(self) -> Iterator[Rule]:
        """Every rule, in order."""
        return chain.from_iterable(self.stages.values())

    @cached_property
    def constants(self) -> tuple[Mapping[str, Constant], ...]:
        """What rules ask of each profile that recipients have; of two that give the same, that of one."""
        asked = {node.name for node in mentions(self) if isinstance(node, ProfileRef)}
        profiles = (self.profiles.constants[match.profile] for match in self.profiles.recipients)
        given = ({name: value for name, value in profile.items() if name in asked} for profile in profiles)
        return tuple({tuple(sorted(constants.items())): constants for constants in given}.values())

    def alternatives(self, rule: Rule) -> list[list[Clause]] | None:
        """The alternatives of the condition of ``rule`` for each of ``constants``; None where they are too many."""
        if rule.name not in self._alternatives:
            self._alternatives[rule.name] = self._found(rule)
        return self._alternatives[rule.name]

    def _found(self, rule: Rule) -> list[list[Clause]] | None:
        try:
            found = [clauses(rule.condition, constants) for constants in self.constants]
        except TooMany:
            return None
        return found if self._effort.allows(sum(map(len, found))) else None

    def condition(self, rule: Rule) -> str:
        """The condition of ``rule`` as written."""
        return str(self.document.value((*rule.path, "if")))

    def quoted(self, rule: Rule, span: Span) -> str:
        """A part of the condition of ``rule``, as a message shows it."""
        return f"`{self.condition(rule)[slice(*span)]}`"

    def told(self, rule: Rule) -> str:
        """Where ``rule`` stands and what it says, for a sentence."""
        where = self.document.told((*rule.path, "if"))
        return f"{where}: rule '{rule.name}' says {rule.action} if {self.condition(rule)}"

    def of_condition(self, kind: Kind, rule: Rule, span: Span, message: str, hint: str = "", *steps: str) -> Finding:
        """A warning about a part of the condition of ``rule``."""
        problem = self.document.span_problem((*rule.path, "if"), span, message, hint, steps=steps)
        return Finding(kind, problem, rule.name)

    def of_value(self, kind: Kind, path: Path, message: str, hint: str = "") -> Finding:
        """A warning about the value at ``path``."""
        return Finding(kind, self.document.problem(path, message, hint), self._about(path))

    def of_key(self, kind: Kind, path: Path, message: str, hint: str = "") -> Finding:
        """A warning about the key at ``path``."""
        return Finding(kind, self.document.key_problem(path, message, hint), self._about(path))

    def _about(self, path: Path) -> str:
        """The name of what stands at ``path``: of a rule its own, of all else its key."""
        if path[0] == "rules":
            return str(self.document.value((*path[:3], "name")))
        return str(path[1] if path[0] == "dnsbl" else path[-1])


def mentions(subject: Subject) -> Iterator[object]:
    """Every node of every condition."""
    return chain.from_iterable(nodes(rule.condition) for rule in subject.rules)
