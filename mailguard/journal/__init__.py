"""The journal: one record for each message and each refusal, by the reference that the client was told.

``recorder`` is told what happens; ``journal`` is one process's journal, of ``writer`` (a thread that appends to a
``segment``) and ``keeper`` (another that seals segments and lets them expire); ``form`` is a record, ``line`` the line
of the log that it makes, ``pseudonyms`` what may stand in place of addresses. ``reader`` finds records, by the
``index`` that ``sealing`` made, and ``telling`` tells of one in words. Nothing here ever keeps mail waiting: what
cannot be written is lost and counted.
"""
