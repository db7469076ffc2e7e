"""Steps that scenarios on two hosts have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.guest.guest import Guest
from tests.guest.run import Run
from tests.guest.storage import Hosts


def replicated(run: Run, hosts: Hosts) -> None:
    """Both are on, DRBD is connected, neither is primary."""
    with run.step("two hosts, DRBD's own data made, both disks declared the same") as seen:
        for name in hosts.machines:
            hosts.start(name)
            hosts.volume(name)
            hosts.drbd(name, "create-md", "--force", "guest")
            hosts.drbd(name, "up", "guest")
        hosts.wait_state("mx1", "Connected Secondary/Secondary")
        hosts.drbd("mx1", "--", "--clear-bitmap", "new-current-uuid", "guest")
        hosts.wait_state("mx1", "Connected Secondary/Secondary UpToDate/UpToDate")
        seen.append(hosts.machines["mx1"].shell("uname -r; head -1 /proc/drbd").replace("\n", ", DRBD "))


def boots_from(run: Run, hosts: Hosts, guest: Guest, name: str, what: str) -> None:
    """The guest boots from its disk on that host.

    Args:
        run: to tell.
        hosts: the one is promoted.
        guest: it is off.
        name: of the host.
        what: the step's name.
    """
    with run.step(what) as seen:
        began = time.monotonic()
        hosts.promote(name)
        seen.append(f"primary after {time.monotonic() - began:.1f} s")
        guest.machine.drives = [hosts.drive(name)]
        seconds, line = guest.boot()
        seen.append(f"greeting {seconds:.0f} s later: `{line}`")


@contextmanager
def small(run: Run, name: str) -> Iterator[Hosts]:
    """Two hosts with a small disk that no guest uses, the same on both."""
    folder = run.folder / name
    folder.mkdir()
    disk = folder / "disk"
    disk.write_bytes(bytes(64 * 2**20))
    hosts = Hosts(folder, disk, run.accelerator)
    try:
        replicated(run, hosts)
        yield hosts
    finally:
        hosts.close()
