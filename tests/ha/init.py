"""Process 1 of a node: makes its file system and network, starts Corosync and Pacemaker, and buries orphans.

Run by ``node.Node`` in fresh namespaces, with one argument: JSON with ``name``, ``addresses`` (by interface), ``disk``
(the folder that outlives the node) and ``visible`` (folders that it sees as they are). Everything else that it writes
goes to a tmpfs over the machine's own root and is gone with it. It imports nothing of ours: it runs before there is a
file system that it could import from.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BOUND = 30.0
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "PCMK_logfile": "/var/log/pacemaker/pacemaker.log",
    "PCMK_logpriority": "notice",
    # abstract sockets are the network namespace's, shared memory is /dev/shm, of which each node has its own
    "PCMK_ipc_type": "shared-mem",
}
_KEPT = ("var/lib/pacemaker", "var/lib/corosync", "var/log/corosync", "var/log/pacemaker")
"""What outlives a crash: the cluster's configuration, its membership, and logs."""


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, timeout=_BOUND)


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """Wait, within a bound."""
    deadline = time.monotonic() + _BOUND
    while not ready():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {_BOUND:g} s")
        time.sleep(0.02)


def make_root(disk: Path, visible: list[str]) -> Path:
    """A root of our own: the machine's, and a tmpfs for what is written."""
    memory = disk / "memory"
    memory.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "size=512m,mode=755", "node", str(memory))
    upper, work, root = (memory / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(root))
    run("mount", "-t", "proc", "proc", f"{root}/proc")
    for name in ("sys", "dev"):
        run("mount", "--rbind", f"/{name}", f"{root}/{name}")
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "shm", f"{root}/dev/shm")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "run", f"{root}/run")
    for path in visible:
        inside = root / path.lstrip("/")
        inside.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", path, str(inside))
    return root


def keep(root: Path, disk: Path) -> None:
    """Lay the node's disk over the folders that outlive it."""
    for name in _KEPT:
        kept = disk / name.replace("/", "-")
        new = not kept.exists()
        kept.mkdir(exist_ok=True)
        (root / name).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(kept), str(root / name))
        if new and "pacemaker" in name:
            shutil.chown(kept, "hacluster", "haclient")
    for folder in ("cib", "pengine", "cores", "blackbox"):
        made = root / "var/lib/pacemaker" / folder
        made.mkdir(mode=0o750, exist_ok=True)
        shutil.chown(made, "hacluster", "haclient")
    for folder in ("run/lock", "run/crm", "run/resource-agents"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.chown(root / "run/crm", "hacluster", "haclient")


def configure(root: Path, disk: Path) -> None:
    """Lay ``disk/files``, which the cluster has prepared, over the root; the first CIB where there is none yet."""
    prepared = disk / "files"
    shutil.copytree(prepared, root, dirs_exist_ok=True, symlinks=True)
    cib = root / "var/lib/pacemaker/cib/cib.xml"
    if not cib.exists():
        shutil.copy(disk / "cib.xml", cib)
        cib.chmod(0o600)
        shutil.chown(cib, "hacluster", "haclient")


def connect(addresses: dict[str, str], router: str) -> None:
    """Wait for both cables, and give the interfaces their addresses."""
    run("ip", "link", "set", "lo", "up")
    for link, address in addresses.items():
        wait_until(functools.partial(has_link, link), f"cable {link}")
        run("ip", "addr", "add", f"{address}/24", "dev", link)
        run("ip", "link", "set", link, "up")
    run("ip", "route", "add", "default", "via", router)


def has_link(name: str) -> bool:
    """Whether there is such an interface (the /sys that we see may be another namespace's)."""
    return name in {found for _, found in socket.if_nameindex()}


def start_cluster() -> None:
    """Start Corosync, wait until it counts votes, start Pacemaker."""
    quiet: dict[str, Any] = {"env": _ENVIRONMENT, "stdin": subprocess.DEVNULL}
    subprocess.Popen(["corosync", "-f"], **quiet)
    asked = ["corosync-cmapctl", "-g", "runtime.votequorum.this_node_id"]
    wait_until(lambda: subprocess.run(asked, capture_output=True, env=_ENVIRONMENT).returncode == 0, "corosync")
    subprocess.Popen(["pacemakerd", "-f"], **quiet)


def main() -> None:
    """Be the node until it is switched off."""
    given = json.loads(sys.argv[1])
    socket.sethostname(given["name"])
    disk = Path(given["disk"])
    root = make_root(disk, given["visible"])
    keep(root, disk)
    configure(root, disk)
    connect(given["addresses"], given["router"])
    os.chroot(root)
    os.chdir("/")
    start_cluster()
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.2)


if __name__ == "__main__":
    main()
