"""Switches between the machines or namespaces of a test."""

from __future__ import annotations

import subprocess

from mailguard.lab.process import LabError


def make_bridge(name: str, number: int) -> None:
    """A bridge that forwards at once, with the Ethernet address ``number``, 255 at the most.

    One without an address of its own takes the lowest of its ports': an IP address on it would stand for another as
    machines come and go, and what they know of it would be wrong for half a minute.

    Raises:
        LabError: it is not permitted (it wants root, and a network namespace of one's own).
    """
    own = f"02:00:00:00:00:{number:02x}"
    command = ["ip", "link", "add", name, "address", own, "type", "bridge", "forward_delay", "0", "stp_state", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
