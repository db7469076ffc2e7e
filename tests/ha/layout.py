"""Who is where: the names and addresses of ``deploy/pacemaker``, which the tests use as they are shipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DEPLOYED: Final = ROOT / "deploy" / "pacemaker"

LINKS: Final = ("mail", "ring")
"""Interfaces of a node: the network of the mail, and the one that joins the cluster alone."""
ROUTER: Final = {"mail": "192.0.2.1", "ring": "198.51.100.1"}
"""Us."""
VIP: Final = "192.0.2.25"
PORT: Final = 25


@dataclass(frozen=True)
class Place:
    """A node's name, and its address on each of :data:`LINKS`."""

    name: str
    addresses: dict[str, str]


def _place(name: str, number: int) -> Place:
    return Place(name, {"mail": f"192.0.2.{number}", "ring": f"198.51.100.{number}"})


SERVING: Final = (_place("mx1", 11), _place("mx2", 12))
TIE: Final = _place("tie", 13)
PLACES: Final = (*SERVING, TIE)
