"""The clients seen last: one of whom nothing else is known than before is the same object again. Pure.

What is made of a client, by the rules of a policy or for a record, is kept by that object and not by all that is known
of it: to find it costs no more for a client that many lists were asked about.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from mailguard.facts import Answer, Client, ClientAddress, Codes, ReverseDns

SEEN: Final = 4096
"""How many are remembered: a client and what is made of it take some kilobytes."""


class Clients:
    """At the most ``most`` clients, by their addresses; the one not seen for longest is forgotten first."""

    def __init__(self, most: int = SEEN) -> None:
        self._most = most
        self._seen: OrderedDict[str, Client] = OrderedDict()

    def known(
        self,
        address: ClientAddress,
        early_talker: Answer[bool],
        reverse_dns: Answer[ReverseDns],
        dnsbl: Mapping[str, Answer[Codes]],
    ) -> Client:
        """The client of whom all that is known."""
        seen, text = self._seen, address.text
        client = seen.get(text)
        now = early_talker, reverse_dns, dnsbl  # as a rule the very same objects, compared by identity first
        if client is None or (client.early_talker, client.reverse_dns, client.dnsbl) != now:
            client = seen[text] = Client(address, *now)
            if len(seen) > self._most:
                seen.popitem(last=False)
        seen.move_to_end(text)
        return client
