"""A network namespace with cables: another machine, as far as the network goes. Files are the same for all."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mailguard.lab.process import Process, wait_until


def said(*command: str | Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Box:
    """A network namespace, with an address on each of its cables.

    Args:
        folder: for the log of the process that keeps it.
        name: of that log.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.process = Process(["unshare", "--net", "sleep", "infinity"], folder / f"{name}.log")
        ours = Path("/proc/self/ns/net").readlink()
        wait_until(lambda: Path(f"/proc/{self.process.pid}/ns/net").readlink() != ours, "a namespace")
        self.run("sysctl", "-q", "net.ipv6.conf.default.accept_dad=0")  # a cable is ready when it is plugged
        self.run("ip", "link", "set", "lo", "up")

    def inside(self, *command: str | Path) -> list[str]:
        """The command, to be run in there."""
        return ["nsenter", "--target", str(self.process.pid), "--net", *map(str, command)]

    def run(self, *command: str | Path) -> str:
        """Run it there; standard output."""
        return said(*self.inside(*command))

    def plug(self, other: Box, name: str, ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
        """A cable called ``name`` at both ends, with these addresses."""
        ends = (str(self.process.pid), str(other.process.pid))
        said("ip", "link", "add", name, "netns", ends[0], "type", "veth", "peer", "name", name, "netns", ends[1])
        for box, addresses in ((self, ours), (other, theirs)):
            box.up(name, *addresses)

    def plug_into(self, bridge: str, name: str, *addresses: str) -> None:
        """A cable to a switch of the namespace that we are in, called ``name`` at both ends, with these addresses."""
        said("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", str(self.process.pid))
        said("ip", "link", "set", name, "master", bridge, "up")
        self.up(name, *addresses)

    def up(self, name: str, *addresses: str) -> None:
        """Its end of a cable, with these addresses."""
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        self.run("ip", "link", "set", name, "up")
