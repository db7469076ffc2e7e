"""What a policy decided and why, as data: the engine makes it, the session carries it out, log and journal keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Final, NamedTuple

from mailguard.facts import Provenance
from mailguard.replies import Reply
from mailguard.value import value


class Action(StrEnum):
    """What a rule may say (policy.md, "Actions"). There is no discard: mail that is taken is delivered."""

    ACCEPT = "accept"
    REJECT = "reject"
    DEFER = "defer"
    GREYLIST = "greylist"
    FILE = "file"
    TAG = "tag"

    @property
    def blocks(self) -> bool:
        """Whether the sender keeps the mail: such a rule may not rest on Received evidence."""
        return self in (Action.REJECT, Action.DEFER, Action.GREYLIST)


MAX_TEXT: Final = 1000
"""Characters that are kept of a text somebody else chose: a fact's value, a Message-ID, why an answer is missing."""


class Evidence(NamedTuple):
    """One fact as a decision saw it: ``value`` ready to print, ``unknown`` where there was no answer."""

    name: str
    value: str
    provenance: Provenance
    unknown: bool = False


class Weight(NamedTuple):
    """One weight that counted: of a list's answer (``zen/XBL``) or of a boolean fact (``reverse_dns.missing``)."""

    name: str
    weight: float


class RuleOutcome(NamedTuple):
    """One rule that was tried; ``fired`` is None where its condition was unknown."""

    rule: str
    fired: bool | None


class Trace(NamedTuple):
    """Why a decision came out as it did: facts, weights, and rules in the order tried.

    ``facts`` are as they are printed, by name; None where there was no answer.
    """

    facts: Mapping[str, str | None] = {}
    weights: tuple[Weight, ...] = ()
    rules: tuple[RuleOutcome, ...] = ()


@value(frozen=True, slots=True)
class Verdict:
    """The decision of one stage for one recipient.

    Attributes:
        action: ACCEPT, REJECT, DEFER, GREYLIST or FILE; never TAG.
        rule: name of the rule that decided, ``unavailable: clamav`` and the like, or empty at the end of the rules.
        reply: what the client is told where ``action`` blocks; without the reference id.
        folder: where ``action`` is FILE.
        tags: symbols given so far, those of earlier stages included.
        doubtful_tags: symbols that an unknown answer may have given or withheld: nobody is blocked for one.
        trace: why.
        observed: what would have been done, where ``mode: observe`` or the sample kept it from being done.
        sampled: it was the sample (``policy.sample``).
    """

    action: Action
    rule: str = ""
    reply: Reply | None = None
    folder: str | None = None
    tags: tuple[str, ...] = ()
    doubtful_tags: tuple[str, ...] = ()
    trace: Trace = field(default_factory=Trace)
    observed: Verdict | None = None
    sampled: bool = False
