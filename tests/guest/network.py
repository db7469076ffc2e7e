"""Bridges, and a tap device for each card of a machine: in the namespace that the run has for itself."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence

from tests.guest.layout import OURS
from tests.support.bridge import make_bridge


def ip(*words: str) -> None:
    """One command of iproute2, which must succeed."""
    subprocess.run(["ip", *words], check=True, timeout=20)


def build() -> None:
    """The bridges, with our addresses on them."""
    for number, (bridge, addresses) in enumerate(OURS.items()):
        make_bridge(bridge, number)
        ip("link", "set", bridge, "up")
        for address in addresses:
            ip("address", "add", address, "dev", bridge, *(["nodad"] if ":" in address else []))


def cards(machine: str, wanted: Mapping[str, str]) -> Sequence[str]:
    """QEMU's arguments for a card on each of these bridges, by their MAC addresses; the taps are made once."""
    arguments: list[str] = []
    for number, (bridge, mac) in enumerate(wanted.items()):
        tap = f"{machine[:8]}{number}"
        if tap not in {name for _, name in socket.if_nameindex()}:
            ip("tuntap", "add", tap, "mode", "tap")
            ip("link", "set", tap, "master", bridge, "up")
        arguments += ["-netdev", f"tap,id=net{number},ifname={tap},script=no,downscript=no"]
        arguments += ["-device", f"virtio-net-pci,netdev=net{number},mac={mac},romfile="]
    return arguments
