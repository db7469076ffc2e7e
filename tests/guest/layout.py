"""Who is where: addresses of ``deploy/guest/seed`` and ``deploy/pacemaker``, used as they are shipped."""

from __future__ import annotations

from typing import Final

from tests.ha.layout import ROOT

GUEST: Final = ROOT / "deploy/guest"
IMAGE: Final = ROOT / "dist/mailguard-guest.img"

MAIL, MANAGEMENT = "br-mail", "br-management"
"""Bridges, as ``domain.xml`` names them; DRBD's network is the second one here, as ``guest.res`` has its addresses."""
OURS: Final = {
    MAIL: ("192.0.2.1/24", "2001:db8::1/64", "192.0.2.40/32", "203.0.113.7/32"),
    MANAGEMENT: ("198.51.100.1/24",),
}
"""Our addresses on each: router, backend, a client from elsewhere; time server, monitoring, and who fences."""

ADDRESS, ADDRESS6, ADMIN = "192.0.2.25", "2001:db8::25", "198.51.100.25"
"""The guest's."""
CLIENT, MONITOR, BACKEND = "203.0.113.7", "198.51.100.1", ("192.0.2.40", 10026)
CARDS: Final = {MAIL: "52:54:00:00:02:25", MANAGEMENT: "52:54:00:00:01:25"}

BOOTED_WITHIN: Final = 1200.0
"""Seconds from power to the greeting: emulated, on a machine that is busy with other work, it takes minutes."""
ANSWERS_WITHIN: Final = 240.0
"""Seconds for a command in a machine."""
