"""Which recipients may share a transaction, and for which of them one evaluation of the content's rules is enough.

There is one reply to a message however many recipients it has, and one header that says where it is filed, by *label*:
what a mail store can tell of a recipient alone, its profile, or that it is a postmaster. So recipients share a
transaction where, whatever the content, all of them are

* blocked or none, which only the rules down to the last that blocks can part, and what ``unavailable`` defers;
* given the same tags, which stand in a header that all of them get;
* filed in one folder, as far as they have one label.

What the content's rules may see of a recipient is its profile's constants, its tags, its own address, and whether it is
a postmaster; what the envelope filed stays filed. Where all that comes to the same, so does the decision. Comparisons
of the recipient with something fixed are evaluated now, so that ``recipient.domain in lists.partners`` parts recipients
by its outcome and not by their domains. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final

from mailguard.caseless import lowered
from mailguard.facts import Mailbox, Stage
from mailguard.policy.expression import (
    Comparison,
    Condition,
    Constant,
    FactRef,
    HasTag,
    ProfileRef,
    View,
    facts_of,
    leaves,
    nodes,
)
from mailguard.policy.rules import POSTMASTER_LABEL, Rule, World, always_reachable
from mailguard.policy.truth import Value
from mailguard.value import value
from mailguard.verdict import Action, Verdict

_RECIPIENT: Final = "recipient."


class Difference(StrEnum):
    """Why two recipients do not share a transaction."""

    BLOCK = "block"
    TAGS = "tags"
    FOLDER = "folder"

    @property
    def words(self) -> str:
        """For the log."""
        return _WORDS[self]


_WORDS: Final[Mapping[Difference, str]] = {
    Difference.BLOCK: "the content's rules may refuse or defer for one and not for the other",
    Difference.TAGS: "the one may be given other tags than the other",
    Difference.FOLDER: "both have one profile, and may be filed in different folders",
}


@value(frozen=True, slots=True)
class Treatment:
    """How one recipient will be treated, whatever the content; where all of it is equal, so is every verdict.

    Attributes:
        label: what the header calls recipients like this one.
        blocked: equal only where every content is blocked for both or for none.
        tagged: equal only where every content gets the same tags.
        filed: equal only where every content is filed alike.
        told: equal only where log and metrics say the same of both, of what is only observed too.
    """

    label: str
    blocked: Hashable
    tagged: Hashable
    filed: Hashable
    told: Hashable

    def apart(self, other: Treatment) -> Difference | None:
        """Why recipients treated so do not share a transaction; None where they may."""
        if self.blocked != other.blocked:
            return Difference.BLOCK
        if self.tagged != other.tagged:
            return Difference.TAGS
        return Difference.FOLDER if self.label == other.label and self.filed != other.filed else None


@value(frozen=True, slots=True)
class _Recipient:
    """The facts of a recipient alone, for conditions that need no others."""

    mailbox: Mailbox

    def __getitem__(self, name: str, /) -> Value | None:
        return self.text(name) if name.startswith(_RECIPIENT) else None

    def text(self, name: str) -> str:
        return {
            "recipient.address": self.mailbox.unquoted,
            "recipient.local": self.mailbox.local,
            "recipient.domain": self.mailbox.domain,
        }[name]


@dataclass(frozen=True, slots=True)
class Sight:
    """What rules see of a recipient: constants, tags given before them, comparisons made now, facts as they are.

    ``facts`` are names, and whether case makes no difference to any rule.
    """

    constants: tuple[str, ...]
    tags: tuple[str, ...]
    comparisons: tuple[Condition, ...]
    facts: tuple[tuple[str, bool], ...]

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Sight:
        """Of ``rules``."""
        found = [leaf for rule in rules for leaf in leaves(rule.condition)]
        within = [node for leaf in found for node in nodes(leaf)]
        mentions = [leaf for leaf in found if any(map(_is_recipient, facts_of(leaf)))]
        alone = [leaf for leaf in mentions if all(map(_is_recipient, facts_of(leaf)))]
        mixed = [(f.name, leaf) for leaf in mentions if leaf not in alone for f in facts_of(leaf) if _is_recipient(f)]
        exact = {name for name, leaf in mixed if not (isinstance(leaf, Comparison) and leaf.fold)}
        return cls(
            tuple(sorted({node.name for node in within if isinstance(node, ProfileRef)})),
            tuple(sorted({node.symbol for node in within if isinstance(node, HasTag)})),
            tuple(alone),
            tuple(sorted({(name, name not in exact) for name, _ in mixed})),
        )

    def key(self, recipient: Mailbox, before: Verdict | None, profile: Mapping[str, Constant]) -> Hashable:
        """What stands for all of that of one recipient; ``before``: who gave the tags, None where the rules did."""
        facts = _Recipient(recipient)
        view = View(facts, profile)
        return (
            tuple(map(profile.__getitem__, self.constants)),
            tuple([(tag in before.tags, tag in before.doubtful_tags) for tag in self.tags]) if before else (),
            tuple([node.evaluate(view) for node in self.comparisons]),
            tuple([lowered(facts.text(name)) if folded else facts.text(name) for name, folded in self.facts]),
        )


def _is_recipient(fact: FactRef) -> bool:
    return fact.name.startswith(_RECIPIENT)


@dataclass(frozen=True, slots=True)
class Treatments:
    """What the content's rules see of a recipient, by what it can make a difference to.

    Attributes:
        blocking: what those see that have a say in whether a message is blocked; None where none can be.
        tagging: what those see that have a say in the tags; None where no rule of the content gives any.
        filing: what all of them see.
        observed: what all rules of both stages see, with those that are only observed; None where none is.
    """

    blocking: Sight | None
    tagging: Sight | None
    filing: Sight
    observed: Sight | None

    @classmethod
    def of(cls, force: World, trial: World | None) -> Treatments:
        """Of a policy's worlds."""
        blocking, tagging = blocking_rules(force), _tagging_rules(force)
        return cls(
            None if blocking is None else Sight.of(blocking),
            Sight.of(tagging) if tagging else None,
            Sight.of(force.stages[Stage.CONTENT].rules),
            Sight.of(rule for stage in trial.stages.values() for rule in stage.rules) if trial else None,
        )

    def treatment(
        self, recipient: Mailbox, before: Verdict, profile: str, constants: Mapping[str, Constant]
    ) -> Treatment:
        """That of ``recipient``, of whom the envelope's rules said ``before``, not to block."""
        spared = always_reachable(recipient)
        folder = (before.folder, before.rule) if before.action is Action.FILE else None
        filing = self.filing.key(recipient, before, constants)
        return Treatment(
            label=POSTMASTER_LABEL if spared else profile,
            blocked=self.blocking and (spared or self.blocking.key(recipient, before, constants)),
            tagged=(before.tags, self.tagging and self.tagging.key(recipient, before, constants)),
            filed=None if spared else (folder and folder[0], filing),
            told=(folder, filing, self.observed and self.observed.key(recipient, None, constants)),
        )


def blocking_rules(world: World) -> tuple[Rule, ...] | None:
    """The content's rules that have a say in whether a message is refused or deferred; None where none ever is.

    Those down to the last that blocks: whatever stands above may decide before it. Where ``unavailable`` defers for an
    answer that some rule of the content needs, every rule that no Received evidence moves: one that lets the message
    through, or finds its answer, keeps it from being deferred. The others have no say in that (``engine``).
    """
    stage = world.stages[Stage.CONTENT]
    last = max((position for position, rule in enumerate(stage.rules) if rule.action.blocks), default=-1)
    fallbacks = [world.fallbacks[source] for source in stage.asked & world.fallbacks.keys()]
    defers = any(Action.DEFER in (each.down, each.unscannable) for each in fallbacks)
    if last < 0 and not defers:
        return None
    return tuple(rule for position, rule in enumerate(stage.rules) if position <= last or (defers and rule.free))


def _tagging_rules(world: World) -> tuple[Rule, ...]:
    """The content's rules down to the last that gives a tag."""
    rules = world.stages[Stage.CONTENT].rules
    last = max((position for position, rule in enumerate(rules) if not rule.decides), default=-1)
    return rules[: last + 1]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two profiles, and what parts recipients of them whatever their addresses; ``rules``: by which names."""

    one: str
    other: str
    difference: Difference | None
    rules: tuple[str, ...]


def pairs(force: World, profiles: Mapping[str, Mapping[str, Constant]]) -> Iterator[Pair]:
    """Each two profiles, as far as their constants can tell."""
    for (one, its), (other, others) in combinations(profiles.items(), 2):
        different = {name for name in its if its[name] != others[name]}
        for difference, rules in _with_a_say(force):
            if by := tuple(rule.name for rule in rules if different & set(Sight.of([rule]).constants)):
                yield Pair(one, other, difference, by)
                break
        else:
            yield Pair(one, other, None, ())


def by_address(force: World) -> Iterator[tuple[Difference, tuple[str, ...]]]:
    """Rules that look at a recipient's address, and so may part any two: by what they have a say in."""
    for difference, rules in (*_with_a_say(force), (Difference.FOLDER, force.stages[Stage.CONTENT].rules)):
        if by := tuple(rule.name for rule in rules if _looks_at_address(Sight.of([rule]))):
            yield difference, by


def _looks_at_address(sight: Sight) -> bool:
    return bool(sight.comparisons or sight.facts)


def _with_a_say(force: World) -> tuple[tuple[Difference, tuple[Rule, ...]], ...]:
    return (Difference.BLOCK, blocking_rules(force) or ()), (Difference.TAGS, _tagging_rules(force))
