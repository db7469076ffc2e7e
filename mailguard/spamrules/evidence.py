"""What a SpamAssassin rule may look at, as far as it matters for refusing mail.

Received evidence may acquit, never convict (architecture.md, invariants): a rule's positive points count towards
``spam.content_score`` only where the rule cannot have looked at Received evidence. Three further kinds of evidence are
no Received evidence, provided that something holds which only the scan itself shows; each is granted message by message
(``mailguard.scanners.spamassassin``).
"""

from __future__ import annotations

from enum import STRICT, IntFlag


class Evidence(IntFlag, boundary=STRICT):
    """What a rule may look at besides the content itself; the union of all that its definitions can reach."""

    CONTENT = 0
    """Nothing but the message's content and those header fields that no relay writes."""
    ENVELOPE = 1
    """The envelope sender (``EnvelopeFrom``): sound where SpamAssassin takes it from our Return-Path alone."""
    CLIENT = 2
    """The last external relay: sound where that is the connecting client."""
    WHOLE = 4
    """The message to its very end, or what its body does not have: sound where the body was not cut at
    ``spamassassin.max_size``. Its header section never is."""
    RECEIVED = 8
    """Received lines and what is derived from them, or what nobody has reviewed: never sound."""

    @property
    def words(self) -> str:
        """The kinds in lower case, for people: ``client, envelope``; ``content`` where there is none."""
        return ", ".join(sorted((kind.name or "").lower() for kind in self)) or "content"
