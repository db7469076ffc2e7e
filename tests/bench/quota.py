"""CPU time that each process may take at the most: control groups with a quota (cgroups(7)), version 2 or 1.

What a second worker brings cannot be seen by the clock where clients, backend and workers share two cores. With a small
share of a core for each worker it can: then there is CPU time left for everything else, and twice the workers may do
twice the work, unless they wait for one another.

Units: a share of one core. Wants root, and a kernel's ``cpu`` controller that may be used.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
PERIOD: Final = 10_000
"""Microseconds in which a share is given out: short, so that nobody waits long for the next."""


class NoQuota(Exception):
    """This machine has no such control groups for us; the text says why."""


@contextmanager
def limited(pids: Iterable[int], share: float, root: Path = ROOT) -> Iterator[None]:
    """Each of the processes ``pids`` has a ``share`` of a core at the most, until it is over.

    Raises:
        NoQuota: see there.
    """
    with ExitStack() as groups:
        for pid in pids:
            groups.enter_context(_limited(pid, share, root))
        yield


@contextmanager
def _limited(pid: int, share: float, root: Path) -> Iterator[None]:
    parent, limits = _controller(root)
    before = _members_file(parent, pid)
    group = parent / f"mailguard-bench-{uuid.uuid4().hex}"
    with ExitStack() as undone:
        try:
            group.mkdir()
            undone.callback(group.rmdir)
            for name, text in limits.items():
                (group / name).write_text(text.format(quota=round(share * PERIOD), period=PERIOD))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise NoQuota(f"{group}: {error.strerror or error}") from None
        undone.callback(_back, pid, before)
        yield


def _back(pid: int, members: Path) -> None:
    if Path(f"/proc/{pid}").exists():
        members.write_text(str(pid))


def _controller(root: Path) -> tuple[Path, dict[str, str]]:
    """Where groups are made, and what is written into which of their files."""
    if (root / "cpu").is_dir():
        return root / "cpu", {"cpu.cfs_period_us": "{period}", "cpu.cfs_quota_us": "{quota}"}
    controllers = root / "cgroup.subtree_control"
    if controllers.is_file() and "cpu" in controllers.read_text().split():
        return root, {"cpu.max": "{quota} {period}"}
    raise NoQuota(f"{root}: no cpu controller")


def _members_file(parent: Path, pid: int) -> Path:
    """Where ``pid`` is a member now."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if (parent.name == "cpu" and "cpu" in controllers.split(",")) or (parent.name != "cpu" and not controllers):
            return parent / path.lstrip("/") / "cgroup.procs"
    raise NoQuota(f"process {pid} is in no group of {parent}")
