"""The sample: a share of the clients that would be refused at the envelope is let in, and filed, to be looked at.

What is refused is never seen, so nobody knows how much of it was wanted. With ``sample`` in the policy, mail of some of
the clients that a rule of the envelope rejects goes on to the scanners, is filed whatever they find short of a refusal,
and its record says that it would have been refused: `mailguard lists` counts how much of it is clean.

Which clients these are is a keyed hash of the address (an IPv6 customer's /64 as one), under the policy's digest: the
same client fares the same on every node and however often it comes back, and with another policy others are let in.
Deferrals are not sampled, nor is what the content's rules refuse. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from mailguard.facts import ClientAddress
from mailguard.verdict import Action, Verdict

_OCTETS: Final = 8
"""Of the hash."""
_KEY: Final = 64
"""Octets of a key, at the most (RFC 7693 2.5): a digest in hexadecimal is as long."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``share`` of clients, 0 to 1, and the ``folder`` where their mail is filed."""

    share: float = 0.0
    folder: str = "Junk"

    def holds(self, client: ClientAddress, key: str) -> bool:
        """Whether ``client`` is one of them; ``key``: the policy's digest."""
        number = client.client_key.to_bytes(_OCTETS + 1, "big")
        digest = blake2b(number, digest_size=_OCTETS, key=key.encode("ascii")[:_KEY]).digest()
        return int.from_bytes(digest, "big") < self.share * (1 << 8 * _OCTETS)

    def spared(self, verdict: Verdict, client: ClientAddress, key: str) -> Verdict:
        """What is done in place of ``verdict``, the envelope's: filed where that refuses and ``client`` is let in."""
        if verdict.action is not Action.REJECT or not self.share or not self.holds(client, key):
            return verdict
        return Verdict(
            Action.FILE,
            verdict.rule,
            folder=self.folder,
            tags=verdict.tags,
            doubtful_tags=verdict.doubtful_tags,
            trace=verdict.trace,
            observed=verdict,
            sampled=True,
        )


NO_SAMPLE: Final = Sample()
"""Nobody is let in."""
