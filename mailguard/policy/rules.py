"""The parts of a compiled policy, as data: rules, what an unknown answer means, recipients and their profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Final

from mailguard.caseless import lowered
from mailguard.facts import FACTS, Cause, Direction, Mailbox, Source, Stage
from mailguard.policy.expression import Condition, Constant, ProfileRef, facts_of, nodes
from mailguard.policy.reading import Scales
from mailguard.policy.repute import Reputes
from mailguard.policy.texts import Template
from mailguard.policy.truth import Truth
from mailguard.positions import Path
from mailguard.replies import Origin, Reply, reply
from mailguard.verdict import Action, RuleOutcome

ALWAYS_REACHABLE: Final = frozenset({"postmaster", "abuse"})
"""Local parts that policy never refuses nor files (RFC 5321 4.5.1, RFC 2142 4): reports carry samples."""

POSTMASTER_LABEL: Final = "postmaster"
"""What X-Mailguard-Folder calls those addresses, in place of their profile: no profile may be called so."""


def always_reachable(recipient: Mailbox) -> bool:
    """Whether ``recipient``, which is inside our domains, is a postmaster or abuse address."""
    return lowered(recipient.local) in ALWAYS_REACHABLE


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: unique in the policy.
        action: what it does when its condition is true.
        condition: when.
        enforced: False where it is only observed.
        reply: for reject and defer: codes, and a text for where ``text`` is None.
        text: for reject and defer: what the sender is told.
        folder: for file.
        symbol: for tag.
        direction: where Received evidence may move its condition (``policy.direction``).
        path: where it stands in its document.
        insists: whether it says itself that it is enforced, so that it is where all else is only observed.
        decides: whether it ends its stage when it fires.
        blocks: whether the sender keeps the mail when it does.
        free: whether no Received evidence can tell whether it fires.
        facts: those that its condition names.
        said: for reject and defer: the reply as the policy's, with ``text`` still to come where there is one.
        outcomes: that it was tried, and came out so.

    The last six follow from the others, and are worked out once: each is asked for in every decision.
    """

    name: str
    action: Action
    condition: Condition
    enforced: bool = True
    reply: Reply | None = None
    text: Template | None = None
    folder: str | None = None
    symbol: str | None = None
    direction: Direction = Direction.FREE
    path: Path = ()
    insists: bool = False
    decides: bool = field(init=False, repr=False, compare=False)
    blocks: bool = field(init=False, repr=False, compare=False)
    free: bool = field(init=False, repr=False, compare=False)
    facts: frozenset[str] = field(init=False, repr=False, compare=False)
    said: Reply | None = field(init=False, repr=False, compare=False)
    outcomes: Mapping[Truth, RuleOutcome] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decides", self.action is not Action.TAG)
        object.__setattr__(self, "blocks", self.action.blocks)
        object.__setattr__(self, "free", not self.direction)
        object.__setattr__(self, "facts", frozenset(fact.name for fact in facts_of(self.condition)))
        object.__setattr__(self, "said", self._reply().said_by(Origin.POLICY) if self.blocks else None)
        object.__setattr__(self, "outcomes", {fired: RuleOutcome(self.name, fired) for fired in (True, False, None)})

    def _reply(self) -> Reply:
        return self.reply or reply("policy_reject" if self.action is Action.REJECT else "policy_defer")


@dataclass(frozen=True, slots=True)
class Fallback:
    """What an unknown answer of one source means where no rule decided: defer, file or (ignore, deliver) accept."""

    down: Action = Action.ACCEPT
    unscannable: Action = Action.ACCEPT
    folder: str = ""

    def action(self, cause: Cause) -> Action:
        """For an answer that is unknown because of ``cause``."""
        return self.down if cause is Cause.DOWN else self.unscannable


@dataclass(frozen=True)
class RuleSet:
    """The rules of one stage in order, with the facts that they rest on and, by rule, who is asked for them."""

    rules: tuple[Rule, ...] = ()
    facts: tuple[str, ...] = ()
    sources: Mapping[str, frozenset[Source]] = field(default_factory=dict)

    @cached_property
    def asked(self) -> frozenset[Source]:
        """Everybody whom its rules need an answer of."""
        return frozenset(chain.from_iterable(self.sources.values()))

    @cached_property
    def profiled(self) -> bool:
        """Whether any of them looks at a constant of the recipient's profile."""
        return any(isinstance(node, ProfileRef) for rule in self.rules for node in nodes(rule.condition))

    @cached_property
    def last_block(self) -> int:
        """Where the last rule stands that blocks; -1 where none does."""
        return max((position for position, rule in enumerate(self.rules) if rule.blocks), default=-1)

    @classmethod
    def of(cls, rules: Iterable[Rule], scales: Scales) -> RuleSet:
        """The set of ``rules``; ``scales`` tell what ``client.score`` is made of."""
        rules = tuple(rules)
        used = with_parts(chain.from_iterable(rule.facts for rule in rules), scales)
        facts = tuple(name for name in FACTS if name in used)
        return cls(rules, facts, {rule.name: sources_of(rule.facts, scales) for rule in rules})


def with_parts(facts: Iterable[str], scales: Scales) -> frozenset[str]:
    """``facts`` and what they are made of: ``client.score`` of the lists and of everything that has a weight."""
    names = set(facts)
    if "client.score" in names:
        names |= set(scales.weights)
        names |= {"dnsbl.score"} if scales.lists else set()
    return frozenset(names)


def sources_of(facts: Iterable[str], scales: Scales) -> frozenset[Source]:
    """Who is asked for ``facts`` and their parts."""
    return frozenset(s for name in with_parts(facts, scales) if (s := FACTS[name].source) is not None)


@dataclass(frozen=True, slots=True)
class World:
    """One reading of a policy: what is in force, or what would be were all that is only observed in force too.

    Attributes:
        needed: of the fallbacks, by stage, those for answers that its rules need.
        reputes: by stage, what its rules make of a client alone.
    """

    scales: Scales
    stages: Mapping[Stage, RuleSet]
    fallbacks: Mapping[Source, Fallback]
    needed: Mapping[Stage, tuple[tuple[Source, Fallback], ...]] = field(init=False, repr=False, compare=False)
    reputes: Mapping[Stage, Reputes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        needed = {
            stage: tuple([each for each in self.fallbacks.items() if each[0] in rules.asked])
            for stage, rules in self.stages.items()
        }
        object.__setattr__(self, "needed", needed)
        reputes = {stage: Reputes(rules, self.scales) for stage, rules in self.stages.items()}
        object.__setattr__(self, "reputes", reputes)

    @property
    def sources(self) -> frozenset[Source]:
        """Everybody whom its rules need an answer of."""
        return frozenset(chain.from_iterable(stage.asked for stage in self.stages.values()))

    def insisted(self) -> World:
        """What of it stays in force under ``mode: observe`` at the top of the policy."""
        scales = replace(self.scales, lists=tuple(table for table in self.scales.lists if not table.observed))
        kept = {stage: [rule for rule in found.rules if rule.insists] for stage, found in self.stages.items()}
        return World(scales, {stage: RuleSet.of(rules, scales) for stage, rules in kept.items()}, {})


@dataclass(frozen=True, slots=True)
class RecipientMatch:
    """Recipients that share a profile: ``@example.com``, ``user@example.com``, all in lower case, or ``*`` for all."""

    patterns: frozenset[str]
    profile: str

    def matches(self, recipient: Mailbox) -> bool:
        """Whether ``recipient`` is one of them."""
        if "*" in self.patterns:
            return True
        domain = f"@{lowered(recipient.domain)}"
        return domain in self.patterns or f"{lowered(recipient.local)}{domain}" in self.patterns


@dataclass(frozen=True, slots=True)
class Profiles:
    """Constants by profile, and which recipient has which."""

    constants: Mapping[str, Mapping[str, Constant]]
    recipients: tuple[RecipientMatch, ...]

    def name(self, recipient: Mailbox) -> str:
        """The profile of ``recipient``: the first match; the compiler has seen to it that the last is for everybody."""
        for match in self.recipients:
            if match.matches(recipient):
                return match.profile
        raise LookupError(f"no profile for {recipient}")

    def of(self, recipient: Mailbox) -> Mapping[str, Constant]:
        """The constants of the profile of ``recipient``."""
        return self.constants[self.name(recipient)]
