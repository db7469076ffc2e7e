"""Which recipients may share a transaction: those for whom every content gets the same decision.

There is one reply to a message however many recipients it has. What the content's rules may see of a recipient is its
profile's constants, its tags, its own address, and whether it is a postmaster; what the envelope filed stays filed.
Where all that comes to the same, so does the decision. Comparisons of the recipient with something fixed are evaluated
now, so that ``recipient.domain in lists.partners`` parts recipients by its outcome and not by their domains.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from mailguard.facts import Mailbox
from mailguard.policy.expression import (
    Comparison,
    Condition,
    Constant,
    FactRef,
    HasTag,
    InList,
    InTexts,
    OneOf,
    ProfileRef,
    View,
    facts_of,
    nodes,
)
from mailguard.policy.rules import Rule, always_reachable
from mailguard.policy.truth import Value
from mailguard.verdict import Action, Verdict


@dataclass(frozen=True, slots=True)
class _Recipient:
    """The facts of a recipient alone, for conditions that need no others."""

    mailbox: Mailbox

    def value(self, name: str) -> Value | None:
        return {
            "recipient.address": self.mailbox.unquoted,
            "recipient.local": self.mailbox.local,
            "recipient.domain": self.mailbox.domain,
        }.get(name)


@dataclass(frozen=True, slots=True)
class Treatments:
    """What the content's rules see of a recipient: constants, tags, comparisons made now, facts as they are."""

    constants: tuple[str, ...]
    tags: tuple[str, ...]
    comparisons: tuple[Condition, ...]
    facts: tuple[str, ...]

    @classmethod
    def of(cls, rules: tuple[Rule, ...]) -> Treatments:
        """Of the content's ``rules``."""
        everything = [node for rule in rules for node in nodes(rule.condition)]
        mentions = [
            node
            for node in everything
            if isinstance(node, Comparison | OneOf | InList | InTexts) and any(_is_recipient(f) for f in facts_of(node))
        ]
        alone = [node for node in mentions if all(_is_recipient(f) for f in facts_of(node))]
        mixed = {f.name for node in mentions if node not in alone for f in facts_of(node) if _is_recipient(f)}
        return cls(
            tuple(sorted({node.name for node in everything if isinstance(node, ProfileRef)})),
            tuple(sorted({node.symbol for node in everything if isinstance(node, HasTag)})),
            tuple(alone),
            tuple(sorted(mixed)),
        )

    def key(self, recipient: Mailbox, before: Verdict, profile: Mapping[str, Constant]) -> Hashable:
        """What stands for all of that of one recipient."""
        if always_reachable(recipient):
            return True
        facts = _Recipient(recipient)
        view = View(facts, profile)
        return (
            (before.action is Action.FILE, before.folder),
            tuple(profile[name] for name in self.constants),
            tuple((tag in before.tags, tag in before.doubtful_tags) for tag in self.tags),
            tuple(node.evaluate(view) for node in self.comparisons),
            tuple(facts.value(name) for name in self.facts),
        )


def _is_recipient(fact: FactRef) -> bool:
    return fact.name.startswith("recipient.")
