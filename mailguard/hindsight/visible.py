"""What a policy can see of the facts: two records that look the same to it are judged once.

Of an address, a size or a score a policy sees no more than how the conditions that name it come out. So a key is made
of every answer and every true-or-false fact as it is, and of the outcome of each condition over other facts alone; a
condition that compares such a fact with an answer puts the fact's value into the key. Millions of records come to some
thousand keys as a rule, and a decision costs ten times what a key does.

Failure: a policy that tells everything apart (one that compares addresses with one another, say) gets no help, and the
memory stays within :data:`MOST`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import chain
from typing import Final, Generic, TypeVar

from mailguard.facts import Answer, Client, Known, Message, SpamResult, Unknown, VirusResult
from mailguard.hindsight.recorded import Facts
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.expression import (
    Comparison,
    Condition,
    Holds,
    InList,
    InTexts,
    OneOf,
    View,
    facts_of,
    nodes,
)
from mailguard.policy.reading import Reading
from mailguard.policy.rules import always_reachable
from mailguard.policy.truth import Members

T = TypeVar("T")

MOST: Final = 100_000
"""Keys that are remembered at once; beyond that all are forgotten."""

_WIDE: Final = frozenset(
    {
        "client.ip",
        "reverse_dns.name",
        "helo.name",
        "sender.address",
        "sender.local",
        "sender.domain",
        "recipient.address",
        "recipient.local",
        "recipient.domain",
        "message.size",
        "virus.name",
        "spam.score",
        "spam.content_score",
        "spam.received_score",
        "spam.rules",
    }
)
"""Facts that have many values: seen by the conditions that name them. All others are in a key as they are."""


class Seen(Generic[T]):
    """What ``judge`` makes of facts, asked once for all that look the same to ``policy``."""

    def __init__(self, policy: CompiledPolicy, judge: Callable[[Facts], T]) -> None:
        self._policy = policy
        self._judge = judge
        self._scales = (policy.trial or policy.force).scales
        conditions = list(_conditions(policy))
        self._alone = tuple(node for node in conditions if _names(node) <= _WIDE)
        mixed = chain.from_iterable(_names(node) & _WIDE for node in conditions if not _names(node) <= _WIDE)
        self._mixed = tuple(sorted(set(mixed)))
        self._known: dict[Hashable, T] = {}

    def of(self, facts: Facts) -> T:
        """What is made of ``facts``."""
        key = self.key(facts)
        if key not in self._known:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = self._judge(facts)
        return self._known[key]

    def key(self, facts: Facts) -> Hashable:
        """What the policy sees of ``facts``: equal only where every decision is."""
        envelope, policy = facts.envelope, self._policy
        reading = Reading(self._scales, facts.client, envelope, facts.message, Members())
        profile = policy.profile(envelope.recipient)
        view = View(reading, policy.profiles.constants[profile])
        return (
            profile,
            always_reachable(envelope.recipient),
            envelope.hidden,
            _of_client(facts.client),
            envelope.helo.is_address,
            _plain(envelope.helo.resolves),
            envelope.sender.is_null,
            _plain(envelope.sender_resolves),
            facts.message and _of_message(facts.message, policy),
            tuple([node.evaluate(view) for node in self._alone]),
            tuple([reading.value(name) for name in self._mixed]),
        )


def _conditions(policy: CompiledPolicy) -> Iterator[Condition]:
    """The conditions that compare facts, in both worlds of ``policy``, each once."""
    worlds = [policy.force, *([policy.trial] if policy.trial else [])]
    rules = chain.from_iterable(stage.rules for world in worlds for stage in world.stages.values())
    found = {
        id(node): node
        for rule in rules
        for node in nodes(rule.condition)
        if isinstance(node, Holds | Comparison | OneOf | InList | InTexts) and _names(node) & _WIDE
    }
    return iter(found.values())


def _names(condition: Condition) -> frozenset[str]:
    return frozenset(fact.name for fact in facts_of(condition))


def _plain(answer: Answer[T]) -> Hashable:
    """An answer, or why there is none as far as that matters."""
    return answer.value if isinstance(answer, Known) else _missing(answer)


def _missing(answer: Unknown) -> tuple[object, ...]:
    return (answer.cause, answer.why == "not asked")


def _of_client(client: Client) -> Hashable:
    reverse, early = client.reverse_dns, client.early_talker
    name = (not reverse.value.name, reverse.value.confirmed) if isinstance(reverse, Known) else _missing(reverse)
    return (_plain(early), name, tuple([_plain(answer) for answer in client.dnsbl.values()]))


def _of_message(message: Message, policy: CompiledPolicy) -> Hashable:
    virus: Answer[VirusResult] = message.virus
    spam: Answer[SpamResult] = message.spam
    return (
        policy.virus_kind(virus.value) if isinstance(virus, Known) else _missing(virus),
        True if isinstance(spam, Known) else _missing(spam),
    )
