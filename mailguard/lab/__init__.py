"""Real servers on loopback, for ``mailguard demo`` and the tests: Exim, clamd, spamd, rbldnsd and unbound.

For the tests alone: Dovecot behind Exim, and Exim and Postfix as clients.
"""

from mailguard.lab.lab import Lab
from mailguard.lab.process import LabError

__all__ = ["Lab", "LabError"]
