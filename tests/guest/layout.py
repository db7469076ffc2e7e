"""Who is where: addresses of ``deploy/guest/seed`` and ``deploy/pacemaker``, used as they are shipped."""

from __future__ import annotations

from typing import Final

from tests.ha.layout import ROOT

GUEST: Final = ROOT / "deploy/guest"
IMAGE: Final = ROOT / "dist/mailguard-guest.img"
WITHOUT_SCANNERS: Final = ROOT / "dist/mailguard-guest-neighbours.img"
GROWN: Final = "5G"
"""The size that a disk is given, more than the image's."""

MAIL, MANAGEMENT, SCANNERS = "br-mail", "br-management", "br-scanners"
"""Bridges, as ``domain.xml`` names them; DRBD's network is the second one here, as ``guest.res`` has its addresses."""
OURS: Final = {
    MAIL: ("192.0.2.1/24", "2001:db8::1/64", "192.0.2.40/32", "203.0.113.7/32"),
    MANAGEMENT: ("198.51.100.1/24",),
    SCANNERS: ("10.25.0.66/24",),
}
"""Our addresses on each: router, backend, a client from elsewhere; time server, monitoring, and who fences; somebody
who has no business with scanners."""

ADDRESS, ADDRESS6, ADMIN = "192.0.2.25", "2001:db8::25", "198.51.100.25"
"""The guest's."""
CLIENT, MONITOR, BACKEND = "203.0.113.7", "198.51.100.1", ("192.0.2.40", 10026)
NEIGHBOUR, STRANGER, CLAMD, SPAMD = "10.25.0.41", "10.25.0.66", 3310, 783
"""The scanners' host as ``deploy/guest/neighbour`` has it, and who must not reach it."""
CARDS: Final = {MAIL: "52:54:00:00:02:25", MANAGEMENT: "52:54:00:00:01:25"}
THIRD_CARD: Final = {SCANNERS: "52:54:00:00:03:25"}

BOOTED_WITHIN: Final = 2400.0
"""Seconds from power to the greeting: emulated, on a machine that is busy with other work, it takes minutes."""
ANSWERS_WITHIN: Final = 240.0
"""Seconds for a command in a machine."""
SETTLED_WITHIN: Final = 600.0
"""Seconds for what goes on after the greeting: the rest of the seed, a synchronisation of disks."""
