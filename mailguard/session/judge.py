"""From what is known of a message to the verdicts on it: the content rules, tried once for all recipients who are
treated alike.
"""

from __future__ import annotations

from mailguard.facts import Known, Message
from mailguard.message import filing
from mailguard.policy.engine import CompiledPolicy
from mailguard.replies import Reply
from mailguard.session.transaction import Accepted, Transaction
from mailguard.value import value
from mailguard.verdict import Verdict


@value(frozen=True, slots=True)
class Party:
    """Recipients of one message who are treated alike, and the verdict on it for all of them."""

    recipients: tuple[Accepted, ...]
    verdict: Verdict

    @property
    def label(self) -> str:
        """What the header calls them."""
        return self.recipients[0].treatment.label


@value(frozen=True, slots=True)
class Judgement:
    """The verdicts on a message, and the scanners' answers that they rest on.

    Attributes:
        virus_kind: as the policy names it.
        folder: where the message is filed: the value of our field.
    """

    parties: tuple[Party, ...]
    message: Message
    virus_kind: str = ""
    folder: str | None = None

    @property
    def refusal(self) -> Reply | None:
        """What is replied to all where the message is blocked."""
        return self.parties[0].verdict.reply

    @property
    def tags(self) -> tuple[str, ...]:
        """What rules gave to all."""
        return self.parties[0].verdict.tags


def judge(policy: CompiledPolicy, message: Message, transaction: Transaction) -> Judgement:
    """The content rules' verdicts on ``message`` for the recipients of ``transaction``.

    Raises:
        RuntimeError: some are blocked and some are not, of whom the policy said that this cannot be.
    """
    parties = tuple([_party(policy, recipients, message) for recipients in transaction.parties.values()])
    if len({party.verdict.reply is None for party in parties}) > 1:
        raise RuntimeError("recipients of one transaction of whom only some are blocked")
    kind = policy.virus_kind(message.virus.value) if isinstance(message.virus, Known) else ""
    folder = filing({party.label: party.verdict.folder for party in parties})
    return Judgement(parties, message, kind, folder)


def _party(policy: CompiledPolicy, recipients: list[Accepted], message: Message) -> Party:
    first = recipients[0]
    return Party(tuple(recipients), policy.content(first.client, first.envelope, message, first.verdict))
