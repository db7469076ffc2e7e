"""One node: namespaces of its own, two cables to two switches, and whatever ``tests/ha/init.py`` starts in it.

``crash`` is what a power cut is: every process of the node is gone at once, and so is all that it had not on its disk
(``disk``, a folder that outlives it). Times in seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from mailguard.lab.folders import make_folder
from mailguard.lab.process import LabError, Process, wait_until
from tests.ha.layout import LINKS, ROOT, ROUTER, Place
from tests.support.bridge import make_bridge

INIT: Final = Path(__file__).with_name("init.py")
_STARTED_WITHIN = 60.0
COMMAND_WITHIN: Final = 120.0
"""crmsh asks every agent for what it takes, each a process: seconds even where cores are free."""
_NAMESPACES = ("--mount", "--uts", "--ipc", "--pid", "--net")


class Node:
    """The node called ``place.name``; ``share``: a folder that it sees at the same path as we do."""

    def __init__(self, place: Place, share: Path) -> None:
        self.place = place
        self.name = place.name
        self._share = share
        self.disk = make_folder(share / place.name)
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Switch it on; it needs some seconds to be in the cluster.

        Raises:
            LabError: it does not come up.
        """
        description = {
            "name": self.name,
            "addresses": self.place.addresses,
            "router": ROUTER["mail"],
            "disk": str(self.disk),
            "visible": [str(ROOT), str(self._share)],
        }
        command = ["unshare", *_NAMESPACES, "--fork", "--kill-child=KILL", sys.executable, "-I", str(INIT)]
        self._process = Process([*command, json.dumps(description)], self.disk / "console.log")
        self._process.wait_ready(lambda: bool(self._first_processes()), _STARTED_WITHIN)
        for link in LINKS:
            self._plug(link)

    def _first_processes(self) -> list[int]:
        """The node's process 1 by our own count: the only child of unshare."""
        assert self._process is not None
        pid = self._process.pid
        try:
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def _cable(self, link: str) -> str:
        return f"{link}-{self.name}"

    def _plug(self, link: str) -> None:
        cable, pid = self._cable(link), self._first_processes()[0]
        _ip("link", "add", cable, "type", "veth", "peer", "name", link, "netns", str(pid))
        _ip("link", "set", cable, "master", f"sw-{link}", "up")

    def crash(self) -> None:
        """Take its power away; harmless where it has none."""
        if self._process is not None:
            self._process.kill()
        for link in LINKS:  # the kernel takes its time over the end of a network namespace
            subprocess.run(["ip", "link", "del", self._cable(link)], capture_output=True, timeout=10)

    def cut(self, *links: str) -> None:
        """Pull these cables; all of them where none is named."""
        for link in links or LINKS:
            _ip("link", "set", self._cable(link), "down")

    def heal(self, *links: str) -> None:
        """Plug them in again."""
        for link in links or LINKS:
            _ip("link", "set", self._cable(link), "up")

    def run(self, *command: str, within: float = COMMAND_WITHIN) -> str:
        """The output of a command in the node, as its root.

        Raises:
            LabError: its status is not 0, or it takes longer than ``within``; with what it said.
        """
        status, said = self.status_of(*command, within=within)
        if status:
            raise LabError(f"{self.name}: {' '.join(command)}: status {status}: {said}")
        return said

    def status_of(self, *command: str, within: float = COMMAND_WITHIN) -> tuple[int, str]:
        """Exit status and output of a command in the node.

        Raises:
            LabError: it takes longer than ``within``, or the node is off.
        """
        pids = self._first_processes() if self.running else []
        if not pids:
            raise LabError(f"{self.name} is off")
        # -m -u -i -p -n: its namespaces; -r -w: its root and working folder
        enter = ["nsenter", "-t", str(pids[0]), "-m", "-u", "-i", "-p", "-n", "-r", "-w"]
        try:
            done = subprocess.run(
                [*enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=within,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"},
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name}: {' '.join(command)}: not within {within:g} s") from error
        return done.returncode, done.stdout.decode(errors="replace")

    def wait_gone(self, within: float) -> None:
        """Wait until it has no power any more: until it was fenced.

        Raises:
            LabError: it still has.
        """
        wait_until(lambda: not self.running, f"{self.name} is switched off", within)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, timeout=10)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.decode().strip()}")


def switches() -> None:
    """Make a switch for each link, with an address of ours on it: we are the router, and where mail goes.

    Raises:
        LabError: it is not permitted (it wants root, and a network namespace of one's own).
    """
    if os.geteuid():
        raise LabError("a cluster in namespaces wants root")
    for number, link in enumerate(LINKS):
        make_bridge(f"sw-{link}", number)
        _ip("addr", "add", f"{ROUTER[link]}/24", "dev", f"sw-{link}")
        _ip("link", "set", f"sw-{link}", "up")


def no_switches() -> None:
    """Take them away again."""
    for link in LINKS:
        subprocess.run(["ip", "link", "del", f"sw-{link}"], capture_output=True, timeout=10)
