"""The mail servers behind mailguard: the dialogue with one, several in order, one client's transaction.

mailguard has no queue, so a message is the sender's until a backend has said 250 to its final dot (architecture.md,
"The way of one message", 9). :class:`Relay` knows the backends, :class:`Transaction` carries one envelope and
message.
"""

from mailguard.relay.identity import Identity
from mailguard.relay.open_relay import OpenRelay
from mailguard.relay.relay import Relay
from mailguard.relay.transaction import ClientGone, Transaction

__all__ = ["ClientGone", "Identity", "OpenRelay", "Relay", "Transaction"]
