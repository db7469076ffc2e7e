"""The cluster: three nodes with the files of ``deploy/pacemaker``, mailguard on two of them, Exim behind them.

What is not as shipped, because a test has it otherwise: the fence agent (``fence_namespace``), mailguard's ``log``
parameter (there is no journal), and the delay of the very first election.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from xml.etree import ElementTree

import yaml

from mailguard.lab import Lab, world
from mailguard.lab.folders import make_folder
from mailguard.lab.process import LabError, Process, find_program, wait_until
from tests.bench.subjects import small_policy
from tests.ha.fencing import Switch
from tests.ha.layout import DEPLOYED, PLACES, PORT, ROUTER, SERVING, TIE, VIP
from tests.ha.node import Node, no_switches, switches
from tests.soak.account import Maildirs

UP_WITHIN: Final = 90.0
"""Seconds for whatever the cluster does by itself."""
BACKEND_PORT, DNS_PORT = 10025, 53
_AGENT = "usr/lib/ocf/resource.d/mailguard/mailguard"
_LOG = "/var/log/mailguard.log"
_FIRST_CIB = """\
<cib validate-with="pacemaker-3.8" epoch="1" num_updates="0" admin_epoch="0"><configuration><crm_config>
<cluster_property_set id="cib-bootstrap-options"><nvpair id="first-election" name="dc-deadtime" value="2s"/>
</cluster_property_set></crm_config><nodes/><resources/><constraints/></configuration><status/></cib>
"""
_FENCING = """\
primitive fence stonith:fence_namespace params socket="{socket}" pcmk_host_list="mx1 mx2 tie" \\
  pcmk_host_check=static-list op monitor interval=60s timeout=20s
"""


def service_crm() -> str:
    """``service.crm`` as shipped, but for the log."""
    shipped = (DEPLOYED / "service.crm").read_text()
    plain, logged = 'config="/etc/mailguard/mailguard.yaml"', f'config="/etc/mailguard/mailguard.yaml" log="{_LOG}"'
    assert shipped.count(plain) == 1
    return shipped.replace(plain, logged)


class Cluster:
    """All of it, while this is entered.

    Attributes:
        nodes: by name.
        switch: who fences.
        exim: the backend.
    """

    def __init__(self) -> None:
        for program, package in (("corosync", "corosync"), ("crm", "crmsh"), ("socat", "socat")):
            find_program(program, package)
        self._lab = Lab()
        self._share = make_folder(self._lab.scratch / "cluster")
        self.nodes = {place.name: Node(place, self._share) for place in PLACES}
        self.switch = Switch(self._share / "power", self.nodes)
        self._relays: list[Process] = []

    def __enter__(self) -> Self:
        """Start everything, and wait until mail is served.

        Raises:
            LabError: it does not come up.
        """
        try:
            return self._enter()
        except BaseException:
            self.close()
            raise

    def _enter(self) -> Self:
        dns = self._lab.dns()
        self.exim = self._lab.exim(macros=["MAILGUARD_CONNECTIONS = 1000"])
        self.maildirs = Maildirs(self.exim)
        switches()
        self._relay("TCP", BACKEND_PORT, self.exim.address)
        self._relay("UDP", DNS_PORT, dns.address)
        self._relay("TCP", DNS_PORT, dns.address)
        self._prepare()
        self.switch.__enter__()
        for node in self.nodes.values():
            node.start()
        self.wait_online(*self.nodes)
        self._load()
        self.wait_served()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything, and remove it."""
        self.close()

    def close(self) -> None:
        """End everything, and remove it; harmless where it was not all started."""
        for node in self.nodes.values():
            node.crash()
        if self.switch.path.exists():
            self.switch.__exit__(None, None, None)
        for relay in self._relays:
            relay.kill()
        no_switches()
        self._lab.close()

    # --- making it ------------------------------------------------------------------------------------------------

    def _relay(self, protocol: str, port: int, target: str) -> None:
        """What the nodes reach at our address is a server of the laboratory, which listens on loopback alone."""
        listening = f"{protocol}4-LISTEN:{port},bind={ROUTER['mail']},fork,reuseaddr"
        command = ["socat", "-T30", listening, f"{protocol}4:{target}"]
        self._relays.append(Process(command, self._share / f"relay-{protocol}-{port}.log"))

    def _settings(self) -> dict[str, Any]:
        return {
            "hostname": world.MAILGUARD_NAME,
            "relay_domains": list(world.DOMAINS),
            "listen": [{"address": f"{VIP}:{PORT}"}],
            "backends": [{"address": f"{ROUTER['mail']}:{BACKEND_PORT}"}],
            "policy": "policy.yaml",
            "dns": {"servers": [f"{ROUTER['mail']}:{DNS_PORT}"]},
            "limits": {"greeting_wait": 0},
            "log": {"format": "json"},
            "workers": 2,
        }

    def _prepare(self) -> None:
        """What each node finds on its root file system."""
        key = os.urandom(256)
        for node in self.nodes.values():
            (node.disk / "cib.xml").write_text(_FIRST_CIB)
            files = node.disk / "files"
            for name, content in self._files(node, key).items():
                path = files / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (files / "etc/corosync/authkey").chmod(0o400)
            (files / "usr/sbin").mkdir(parents=True)
            shutil.copy(Path(__file__).with_name("fence_namespace"), files / "usr/sbin")
            if node.place is not TIE:
                self._prepare_service(files)

    def _files(self, node: Node, key: bytes) -> dict[str, bytes]:
        hosts = "".join(f"{place.addresses['ring']} {place.name}\n" for place in PLACES)
        return {
            "etc/hostname": f"{node.name}\n".encode(),
            "etc/hosts": f"127.0.0.1 localhost\n{hosts}".encode(),
            "etc/corosync/corosync.conf": (DEPLOYED / "corosync.conf").read_bytes(),
            "etc/corosync/authkey": key,
            "etc/crm/service.crm": service_crm().encode(),
            "etc/crm/fencing.crm": _FENCING.format(socket=self.switch.path).encode(),
        }

    def _prepare_service(self, files: Path) -> None:
        """mailguard, its agent and its configuration: on the nodes that serve alone."""
        (files / _AGENT).parent.mkdir(parents=True)
        shutil.copy(DEPLOYED / "mailguard", files / _AGENT)
        make_folder(files / "usr/bin")
        (files / "usr/bin/mailguard").symlink_to(Path(sys.executable).with_name("mailguard"))
        make_folder(files / "etc/mailguard")
        (files / "etc/mailguard/mailguard.yaml").write_text(yaml.safe_dump(self._settings()))
        (files / "etc/mailguard/policy.yaml").write_text(yaml.safe_dump(small_policy(names=True), sort_keys=False))

    def _load(self) -> None:
        """Configure the cluster as the pages say, on a node that serves: crmsh asks the agents for their meta-data."""
        node = self.nodes[SERVING[0].name]
        for name in ("fencing", "service"):
            node.run("crm", "configure", "load", "update", f"/etc/crm/{name}.crm")

    # --- asking it ------------------------------------------------------------------------------------------------

    def state(self) -> ElementTree.Element | None:
        """What ``crm_mon`` shows on the first node that has a say (with a quorum); None where none has."""
        found = None
        for node in self.nodes.values():
            shown = _monitored(node)
            if shown is not None:
                found = shown
                if shown.find("summary/current_dc[@with_quorum='true']") is not None:
                    return shown
        return found

    def online(self) -> set[str]:
        """Names of the nodes that are in the cluster, Pacemaker included."""
        state = self.state()
        found = [] if state is None else state.findall("nodes/node[@online='true'][@pending='false']")
        return {node.get("name", "") for node in found}

    def owner(self) -> str:
        """Where mailguard runs; empty where it does not."""
        state = self.state()
        found = None if state is None else state.find(".//resource[@id='mailguard'][@role='Started'][@failed='false']")
        # while it is being started its role is Started already, and `pending` says so
        where = None if found is None or found.get("pending") else found.find("node")
        return "" if where is None else where.get("name", "")

    def _wait(self, holds: Callable[[], bool], what: str, within: float = UP_WITHIN) -> None:
        try:
            wait_until(holds, what, within)
        except LabError as error:
            raise LabError(f"{error}\n{self.story()}") from None

    def wait_online(self, *names: str, within: float = UP_WITHIN) -> None:
        """Wait until exactly these nodes are in the cluster.

        Raises:
            LabError: they are not, within that time; with what the cluster says.
        """
        self._wait(lambda: self.online() == set(names), f"{', '.join(names)} make up the cluster", within)

    def wait_served(self, by: str = "", within: float = UP_WITHIN) -> str:
        """Wait until mailguard runs, on the node ``by`` if one is named; where it does.

        Raises:
            LabError: it does not, within that time; with what the cluster says.
        """
        owner = ""

        def served() -> bool:
            nonlocal owner
            owner = self.owner()
            return owner == by if by else bool(owner)

        self._wait(served, "mail is served", within)
        return owner

    def wait_idle(self) -> None:
        """Wait until the cluster has nothing left to do.

        Raises:
            LabError: it has, for longer than a minute and a half.
        """
        for node in self.nodes.values():
            if node.running:
                node.run("crm_resource", "--wait", "--timeout", "60s", within=90.0)
                return

    def others(self, name: str) -> Node:
        """The other one of the nodes that serve."""
        return next(self.nodes[place.name] for place in SERVING if place.name != name)

    def story(self) -> str:
        """What the nodes say: for whoever reads why a test failed."""
        told = []
        for node in self.nodes.values():
            shown = node.status_of("crm_mon", "-1", "-r", "-f")[1] if node.running else "off\n"
            log = node.disk / "var-log-pacemaker" / "pacemaker.log"
            tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
            console = (node.disk / "console.log").read_text(errors="replace")[-800:]
            told.append(f"=== {node.name}\n{shown}--- pacemaker.log\n{tail}--- console\n{console}")
        return "\n".join(told)

    def versions(self) -> dict[str, str]:
        """Debian's versions of what a cluster is made of."""
        asked = ("corosync", "pacemaker", "resource-agents", "exim4-daemon-heavy")
        command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *asked]
        said = subprocess.run(command, capture_output=True, check=True, timeout=20).stdout.decode()
        return dict(line.split(" ", 1) for line in said.splitlines())


def _monitored(node: Node) -> ElementTree.Element | None:
    if not node.running:
        return None
    try:
        status, said = node.status_of("crm_mon", "--one-shot", "--output-as=xml", within=10.0)
        return None if status else ElementTree.fromstring(said)
    except (LabError, ElementTree.ParseError):
        return None
