"""How long to wait for the client (RFC 5321 4.5.3.2); pure: times are seconds of a clock that only grows, given in.

A command is waited for as a whole: octets of an unfinished one win no time, so a client that dribbles is cut like one
that is silent. Outside of content a session has a bound of its own, which NOOP does not extend. Content has a bound
between two packets, and after a grace a least rate over the whole message, however many BDATs it comes in; only time
spent waiting for the client counts.
"""

from __future__ import annotations

from mailguard.config import Limits


class Patience:
    """The deadlines of one connection that was accepted at ``now``.

    Attributes:
        content_began: when content was waited for first; None: it is commands that are waited for.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._session_end = now + limits.session_timeout
        self._command_end = now + limits.command_timeout
        self._commands = 0
        self.content_began: float | None = None
        self._transaction = -1
        self._octets = 0
        self._waited = 0.0

    def command_deadline(self, commands: int, now: float) -> float:
        """Until when to wait for more of a command; ``commands``: how many are complete."""
        if self.content_began is not None:
            self._session_end += now - self.content_began
            self.content_began = None
        if commands != self._commands:
            self._commands = commands
            self._command_end = now + self._limits.command_timeout
        return self._command_end if self._command_end < self._session_end else self._session_end

    def content_deadline(self, transaction: int, now: float) -> float:
        """Until when to wait for more content; ``transaction``: the number of the one whose content it is."""
        if self.content_began is None:
            self.content_began = now
        if transaction != self._transaction:
            self._transaction, self._octets, self._waited = transaction, 0, 0.0
        allowed = self._limits.data_timeout
        if self._limits.min_data_rate:
            earned = max(self._limits.min_data_rate_grace, self._octets / self._limits.min_data_rate)
            allowed = min(allowed, max(earned - self._waited, 0.0))
        return now + allowed

    def content_came(self, octets: int, waited: float) -> None:
        """``octets`` of content came after ``waited`` seconds."""
        self._octets += octets
        self._waited += waited
