"""What is done to the cluster, while mail goes through it; each leaves it whole, mail served.

Every scenario is given the cluster with all nodes in it and mail served by one of them. It returns when the cluster has
done what it does about it, or raises LabError when it has not within its bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from mailguard.lab.process import LabError, wait_until
from tests.ha.cluster import Cluster
from tests.ha.layout import SERVING, TIE

FENCED_WITHIN = 60.0
RESTARTED_WITHIN = 60.0
APART: Final = 15.0
"""Seconds without a quorum."""
HALTED: Final = 5.0
"""Seconds for which mail is stopped on purpose."""
_PID_FILE = "/run/resource-agents/mailguard-mailguard.pid"


def crash(cluster: Cluster) -> None:
    """The node that serves loses its power."""
    owner = cluster.owner()
    cluster.nodes[owner].crash()
    cluster.wait_served(cluster.others(owner).name)


def rejoin(cluster: Cluster) -> None:
    """A node comes back: mail stays where it is."""
    owner = cluster.owner()
    for node in cluster.nodes.values():
        if not node.running:
            node.start()
    cluster.wait_online(*cluster.nodes)
    cluster.wait_idle()
    cluster.wait_served(owner)


def move(cluster: Cluster) -> None:
    """Mail is moved on purpose, and the order to do so is taken back."""
    owner = cluster.owner()
    other = cluster.others(owner)
    other.run("crm", "resource", "move", "mail", other.name)
    cluster.wait_served(other.name)
    other.run("crm", "resource", "clear", "mail")
    cluster.wait_idle()


def halt(cluster: Cluster) -> None:
    """Mail is stopped (drained), and started again after five seconds."""
    node = cluster.nodes[cluster.owner()]
    node.run("crm", "resource", "stop", "mail")
    cluster.wait_idle()
    wait_until(lambda: not cluster.owner(), "mail is stopped", RESTARTED_WITHIN)
    time.sleep(HALTED)
    node.run("crm", "resource", "start", "mail")
    cluster.wait_served()


def cut(cluster: Cluster) -> None:
    """All cables of the node that serves are pulled: it is fenced before mail starts elsewhere."""
    owner = cluster.owner()
    cluster.nodes[owner].cut()
    cluster.nodes[owner].wait_gone(FENCED_WITHIN)
    cluster.wait_served(cluster.others(owner).name)


def cut_from_mail(cluster: Cluster) -> None:
    """The node that serves loses the network of the mail alone: it cannot reach the router, and mail moves."""
    owner = cluster.owner()
    cluster.nodes[owner].cut("mail")
    cluster.wait_served(cluster.others(owner).name)
    cluster.nodes[owner].heal("mail")
    cluster.wait_idle()


def kill_supervisor(cluster: Cluster) -> None:
    """kill -9 to mailguard's supervisor: its workers drain, the cluster starts it again where it was."""
    node = cluster.nodes[cluster.owner()]
    before = node.run("cat", _PID_FILE)
    node.run("kill", "-KILL", before.split()[0])

    def started_again() -> bool:
        status, now = node.status_of("cat", _PID_FILE)
        return not status and now != before

    wait_until(started_again, "mailguard is started again", RESTARTED_WITHIN)
    cluster.wait_served(node.name)
    node.run("crm_resource", "--cleanup", "--resource", "mailguard")
    cluster.wait_idle()


def kill_worker(cluster: Cluster) -> None:
    """kill -9 to one of two workers: mailguard replaces it, the cluster notices nothing."""
    node = cluster.nodes[cluster.owner()]
    before = _workers(node.status_of("pgrep", "-f", "mailguard.children worker")[1])
    node.run("kill", "-KILL", str(min(before)))

    def replaced() -> bool:
        now = _workers(node.status_of("pgrep", "-f", "mailguard.children worker")[1])
        return len(now) == len(before) and now != before

    wait_until(replaced, "the worker is replaced", RESTARTED_WITHIN)
    cluster.wait_served(node.name)


def _workers(said: str) -> set[int]:
    return {int(word) for word in said.split()}


def lose_quorum(cluster: Cluster) -> None:
    """The other two nodes lose their power: the one that is left stops mail, until one comes back."""
    owner = cluster.owner()
    others = [node for node in cluster.nodes.values() if node.name != owner]
    for node in others:
        node.crash()
    time.sleep(APART)
    if cluster.owner():
        raise LabError(f"{owner} goes on without a quorum")
    others[0].start()
    cluster.wait_served()
    others[1].start()
    cluster.wait_online(*cluster.nodes)
    cluster.wait_idle()


def lose_tie(cluster: Cluster) -> None:
    """The tie-breaker loses its power, and comes back: mail goes on."""
    owner = cluster.owner()
    tie = cluster.nodes[TIE.name]
    tie.crash()
    cluster.wait_online(*(place.name for place in SERVING))
    cluster.wait_idle()
    cluster.wait_served(owner)
    tie.start()
    cluster.wait_online(*cluster.nodes)
    cluster.wait_idle()


def cut_without_fencing(cluster: Cluster) -> None:
    """The same cut where fencing is off: mail starts on the other node while the first one finds out and stops."""
    owner = cluster.owner()
    other = cluster.others(owner)
    other.run("crm", "configure", "property", "stonith-enabled=false")
    cluster.nodes[owner].cut()
    cluster.wait_served(other.name)
    cluster.nodes[owner].heal()
    cluster.wait_online(*cluster.nodes)
    other.run("crm", "configure", "property", "stonith-enabled=true")
    cluster.wait_idle()


SCENARIOS: Final[Mapping[str, Callable[[Cluster], None]]] = {
    "planned move": move,
    "stopped, 5 s later started": halt,
    "a worker killed (kill -9)": kill_worker,
    "the supervisor killed (kill -9)": kill_supervisor,
    "tie-breaker lost and back": lose_tie,
    "serving node loses the mail network": cut_from_mail,
    "serving node killed": crash,
    "killed node back": rejoin,
    "all cables of the serving node cut": cut,
    "fenced node back": rejoin,
    "the same cut, fencing off": cut_without_fencing,
    "quorum lost for 15 s (the other two killed)": lose_quorum,
}
"""In this order: some need what the one before has done."""
