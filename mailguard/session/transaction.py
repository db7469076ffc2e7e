"""One mail transaction (RFC 5321 3.3): what the client has said of it so far, and how it is going at the backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mailguard import relay
from mailguard.commands import MailFrom
from mailguard.facts import Client, Envelope, Mailbox
from mailguard.policy.treatment import Difference, Treatment
from mailguard.rfc3339 import milliseconds
from mailguard.spool import Spool, SpoolError
from mailguard.value import value
from mailguard.verdict import Verdict


@value(frozen=True, slots=True)
class Accepted:
    """A recipient that policy and backend took, with the facts and the verdict that it was taken on."""

    recipient: Mailbox
    client: Client
    envelope: Envelope
    verdict: Verdict
    treatment: Treatment


@dataclass(slots=True)
class Transaction:
    """From MAIL to the final reply; its recipients differ in filing alone (policy.md, "Several recipients").

    Attributes:
        reference: the connection's reference and a running number.
        onward: the transaction at the backend, from the first recipient that passed on.
        accepted: the recipients, in their order.
        parties: the same, those together for whom every verdict is the same; in order of the first of each.
        spool: the content, from DATA on.
        lost: why the content could not be kept.
        arrived: when the message was here whole, by the event loop's clock.
        took: seconds that each part took so far.
        now: the event loop's clock.
    """

    reference: str
    mail: MailFrom
    onward: relay.Transaction | None = None
    accepted: list[Accepted] = field(default_factory=list)
    parties: dict[Treatment, list[Accepted]] = field(default_factory=dict)
    spool: Spool | None = None
    lost: SpoolError | None = None
    arrived: float | None = None
    took: dict[str, float] = field(default_factory=dict)
    now: Callable[[], float] = field(default_factory=lambda: asyncio.get_running_loop().time)

    @property
    def smtputf8(self) -> bool:
        """Whether the client asked for SMTPUTF8 (RFC 6531)."""
        return self.mail.parameter("SMTPUTF8") is not None

    @property
    def declared_size(self) -> int:
        """Octets that the client says the message has (RFC 1870 4); 0 where it says nothing."""
        declared = self.mail.parameter("SIZE")
        return int(declared.value) if declared is not None and declared.value else 0

    def apart(self, treatment: Treatment) -> Difference | None:
        """Why a recipient to be treated so cannot come along; None where it can."""
        return next((why for each in self.parties if (why := treatment.apart(each)) is not None), None)

    def take(self, accepted: Accepted) -> None:
        """One recipient more."""
        self.accepted.append(accepted)
        self.parties.setdefault(accepted.treatment, []).append(accepted)

    def spent(self, part: str, began: float) -> None:
        """``part`` took from ``began`` until now."""
        self.took[part] = self.took.get(part, 0.0) + self.now() - began

    def durations(self) -> dict[str, float]:
        """Seconds of each part, and since the message was here whole (``message``), to the millisecond."""
        took = {part: milliseconds(seconds) for part, seconds in self.took.items()}
        if self.arrived is not None:
            took["message"] = milliseconds(self.now() - self.arrived)
        return took

    async def end(self) -> None:
        """Let the backend's transaction and the octets go; after a final reply there is nothing left to abort."""
        if self.spool is not None:
            self.spool.close()
            self.spool = None
        if self.onward is not None:
            await self.onward.abort()
            self.onward = None
