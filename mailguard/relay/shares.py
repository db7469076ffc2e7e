"""How many backend connections each client holds: a bounded part, so that a few clients cannot take all there are.

A backend serves far fewer connections than mailguard (Exim: ``smtp_accept_max``), and every transaction holds one from
its first recipient on.
"""

from __future__ import annotations

from mailguard.facts import ClientAddress


class Shares:
    """Counts connections by client (IPv4 address, IPv6 /64); ``most`` for each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[int, int] = {}

    def take(self, client: ClientAddress) -> bool:
        """Take one for ``client``; False where it holds all that it may."""
        key = client.client_key
        held = self._held.get(key, 0)
        if held >= self._most:
            return False
        self._held[key] = held + 1
        return True

    def give_back(self, client: ClientAddress) -> None:
        """Give one of ``client`` back."""
        key = client.client_key
        held = self._held.pop(key) - 1
        if held:
            self._held[key] = held
