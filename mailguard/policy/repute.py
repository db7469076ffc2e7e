"""What the rules of one stage make of a client by its own facts alone: worked out once, for all decisions about it.

Who is refused comes again, and asks for one recipient after the other: of all that a decision rests on only the
envelope is new then. A decision leaves here what it has found out of the client (``policy.engine``), for those to come.
It is kept of the clients last seen, each an object of its own (``clients``); where a record hides facts, by that too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mailguard.facts import FACTS, Client, Provenance
from mailguard.policy.answers import Reckoned
from mailguard.policy.expression import Condition, FactRef, HasTag, ProfileRef, nodes
from mailguard.policy.truth import Truth
from mailguard.replies import Reply

if TYPE_CHECKING:
    from mailguard.policy.reading import Scales
    from mailguard.policy.rules import RuleSet

_KEPT: Final = 16_384
"""Outcomes of rules that are kept for one stage: of so many fewer clients, the more rules it has."""
_CONNECTION: Final = frozenset(name for name, spec in FACTS.items() if spec.provenance is Provenance.CONNECTION)


class Repute:
    """What has been made of one client so far.

    Attributes:
        reckoned: what the lists' answers come to.
        told: facts as a trace keeps them, in the order of the rules' facts; those of others than the client are stale.
        truths: of conditions, by the rule's name.
        replies: of rules that block, by name, their texts filled in.
    """

    __slots__ = ("reckoned", "replies", "told", "truths")

    def __init__(self, reckoned: Reckoned) -> None:
        self.reckoned = reckoned
        self.told: Mapping[str, str | None] = {}
        self.truths: dict[str, Truth] = {}
        self.replies: dict[str, Reply] = {}


class Reputes:
    """The repute of each client under ``rules``.

    Attributes:
        facts: those that the rules name, in order.
        others: of those the ones that are not of a client alone.
        rules: the names of those whose condition rests on a client alone.
        texts: the names of those whose text shows nothing else.
        of: the repute of a client, where so much of what is known is hidden (:class:`mailguard.facts.Envelope`).
    """

    def __init__(self, rules: RuleSet, scales: Scales) -> None:
        alone = _CONNECTION | {"client.score"} if scales.weights.keys() <= _CONNECTION else _CONNECTION
        self.facts = rules.facts
        self.others = tuple([name for name in rules.facts if name not in alone])
        self.rules = frozenset(rule.name for rule in rules.rules if _rests_on(rule.condition, alone))
        self.texts = frozenset(rule.name for rule in rules.rules if rule.text and rule.text.names <= alone)
        self._scales = scales
        self.of: Callable[[Client, frozenset[str]], Repute] = lru_cache(_KEPT // (1 + len(rules.rules)))(self._unknown)

    def _unknown(self, client: Client, _hidden: frozenset[str]) -> Repute:
        return Repute(self._scales.reckoned(client.dnsbl))


def _rests_on(condition: Condition, facts: frozenset[str]) -> bool:
    """Whether ``condition`` needs no more than ``facts``: no other, and nothing of the recipient or of rules above."""
    return all(
        node.name in facts if isinstance(node, FactRef) else not isinstance(node, HasTag | ProfileRef)
        for node in nodes(condition)
    )
