"""The journal: one record for each message and each refusal, by the reference that the client was told.

``recorder`` is told what happens; ``journal`` is one process's journal, of ``writer`` (a thread that appends to a
``segment``) and ``keeper`` (another that seals segments and lets them expire); ``form`` is a record, ``line`` the line
of the log that it makes, ``pseudonyms`` what may stand in place of addresses. ``reader`` finds records, by the
``index`` that ``sealing`` made. Nothing here ever keeps mail waiting: what cannot be written is lost and counted.
"""

from __future__ import annotations

from mailguard.journal.folder import why_unusable as why_no_journal
from mailguard.journal.journal import BadKey, Journal, pseudonyms_for
from mailguard.journal.recorder import Recorder

__all__ = ["BadKey", "Journal", "Recorder", "pseudonyms_for", "why_no_journal"]
