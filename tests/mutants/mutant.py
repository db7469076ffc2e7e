"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass

CLIENT_ONLY = "DNSBL only on the connecting IP"
RECEIVED = "Received evidence never blocks"
RELAY = "Never an open relay"
DOUBT = "Doubt is for the sender"
NO_LOSS = "No mail is lost and none is invented"
BUG = "A bug defers, never bounces"
BAD_POLICY = "A bad policy never goes live"
EXPLAINED = "What blocked is always explained"
EXACT = "Commands and end of data are exact"
PRIVATE = "What must go in TLS goes nowhere else"
SHARED = "A few cannot take what all need"
SECRET = "A key is shown nowhere"
SEEN = "What is wrong is seen, and nothing else"
CLUSTER = "A cluster moves what must move, and a guest is reached by whom it should"
COST = "A message costs what it did"
INVARIANTS = (CLIENT_ONLY, RECEIVED, RELAY, DOUBT, NO_LOSS, BUG, BAD_POLICY, EXPLAINED, EXACT)
"""The invariants of the architecture, and one of smtp.md: each has at least one mutant."""


@dataclass(frozen=True)
class Mutant:
    """One small change of the code: ``old``, found once in ``file``, becomes ``new``; one of ``tests`` must fail."""

    invariant: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
