"""The files of ``deploy/guest``, read by the very programs that they are for; what boots is in ``tests/guest``.

The firewall is in force in a network namespace of its own, which has two cables: to the internet, and to the management
network.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.lab import Lab
from mailguard.lab.process import Process, wait_until
from tests.guest.layout import CLAMD, NEIGHBOUR, SPAMD
from tests.guest.scanners import CABLE, Neighbour
from tests.guest.seed import alternative
from tests.ha.layout import ROOT
from tests.support.box import Box, said

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(os.geteuid()), reason="namespaces and the guest's tools want root"),
]

GUEST = ROOT / "deploy/guest"
FIREWALL = GUEST / "files/etc/nftables.conf"
MANAGEMENT = (
    "add element inet guest management4 { 198.51.100.0/24 }\nadd element inet guest management6 { fd00:1::/64 }\n"
)
PORTS = (22, 25, 9625, 10025)
LISTEN = """
import socket, sys, time
held = []
for port in map(int, sys.argv[1:]):
    held.append(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2000))
print("listening", flush=True)
time.sleep(600)
"""
KNOCK = """
import socket, sys
source, target, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    socket.create_connection((target, port), timeout=1.0, source_address=(source, 0)).close()
    print("open")
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("silence")
"""
FLOOD = """
import socket, sys
held = []
for _ in range(int(sys.argv[3])):
    one = socket.socket()
    one.setblocking(False)
    one.bind((sys.argv[1], 0))
    one.connect_ex((sys.argv[2], 25))
    held.append(one)
"""


class Walled:
    """The guest's namespace with its firewall, and everybody else in the other one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guest, self.world = Box(folder, "guest"), Box(folder, "world")
        self.guest.plug(self.world, "mail", ("192.0.2.25/24", "2001:db8::25/64"), ("192.0.2.1/24", "2001:db8::1/64"))
        self.guest.plug(
            self.world, "management", ("198.51.100.25/24", "fd00:1::25/64"), ("198.51.100.1/24", "fd00:1::1/64")
        )
        for address in ("203.0.113.7/32", "203.0.113.8/32", "198.51.100.66/32", "2001:db8:7::7/128"):
            self.world.run("ip", "address", "add", address, "dev", "lo")
        self.guest.run("ip", "route", "add", "default", "via", "192.0.2.1")
        self.guest.run("ip", "-6", "route", "add", "default", "via", "2001:db8::1")
        self.servers = Process(
            self.guest.inside(sys.executable, "-c", LISTEN, *map(str, PORTS)), folder / "servers.log"
        )
        self.servers.wait_ready(lambda: "listening" in self.servers.log.read_text())
        for target in ("192.0.2.25", "2001:db8::25", "198.51.100.25", "fd00:1::25"):
            wait_until(lambda target=target: self.answers(target), f"{target} answers")  # type: ignore[misc]
        self.load(MANAGEMENT)

    def answers(self, target: str) -> bool:
        """Whether one ping is answered."""
        ping = self.world.inside("ping", "-n", "-q", "-c", "1", "-W", "1", target)
        return subprocess.run(ping, stdout=subprocess.DEVNULL, timeout=20).returncode == 0

    def load(self, management: str) -> None:
        """Put the firewall in force, with this for the seed's part of it."""
        shipped, parts = FIREWALL.read_text(), self.folder / "nftables.d"
        parts.mkdir(exist_ok=True)
        (parts / "management.nft").write_text(management)
        assert shipped.count("/etc/nftables.d") == 1
        rules = self.folder / "nftables.conf"
        rules.write_text(shipped.replace("/etc/nftables.d", str(parts)))
        self.guest.run("nft", "-c", "-f", rules)
        self.guest.run("nft", "-f", rules)

    def knock(self, source: str, target: str, port: int) -> str:
        """How a connection from there is met: open, refused or silence."""
        return self.world.run(sys.executable, "-c", KNOCK, source, target, str(port)).strip()

    def dropped(self, chain: str) -> int:
        """Packets that the counting rules of a chain have dropped."""
        rules: list[dict[str, Any]] = json.loads(self.guest.run("nft", "-j", "list", "chain", "inet", "guest", chain))[
            "nftables"
        ]
        steps = [step for rule in rules for step in rule.get("rule", {}).get("expr", [])]
        return sum(step["counter"]["packets"] for step in steps if "counter" in step)

    def close(self) -> None:
        """End all of it."""
        for process in (self.servers, self.guest.process, self.world.process):
            process.kill()


@pytest.fixture
def walled(tmp_path: Path) -> Iterator[Walled]:
    made = Walled(tmp_path)
    yield made
    made.close()


OUTSIDE = "203.0.113.1"


def test_the_scanners_are_for_the_guests_alone(tmp_path: Path) -> None:
    """By what ``deploy/guest/neighbour`` has, which leaves 22 to others. The guest's address by another card is forged,
    though answers find their way."""
    theirs, world = Box(tmp_path, "theirs"), Box(tmp_path, "world")
    theirs.plug(world, "scanners", (f"{NEIGHBOUR}/24",), ("10.25.0.25/24", "10.25.0.66/24"))
    theirs.plug(world, "outside", (f"{OUTSIDE}/24",), ("203.0.113.7/24",))
    servers = Process(
        theirs.inside(sys.executable, "-c", LISTEN, "22", str(SPAMD), str(CLAMD)), tmp_path / "servers.log"
    )
    servers.wait_ready(lambda: "listening" in servers.log.read_text())
    theirs.run("nft", "-f", GUEST / "neighbour/etc/nftables.d/scanners.nft")
    theirs.run("nft", "-f", GUEST / "neighbour/etc/nftables.d/scanners.nft")  # once more, as by a reload
    ways = (("10.25.0.25", NEIGHBOUR), ("10.25.0.66", NEIGHBOUR), ("203.0.113.7", OUTSIDE), ("10.25.0.25", OUTSIDE))
    met = {
        (source, target, port): world.run(sys.executable, "-c", KNOCK, source, target, str(port)).strip()
        for source, target in ways
        for port in (22, SPAMD, CLAMD)
    }
    for process in (servers, theirs.process, world.process):
        process.kill()
    assert met == {way: "open" if way[:2] == ways[0] or way[2] == 22 else "silence" for way in met}


def test_the_scanners_answer_a_guest_as_doctor_wants_them(tmp_path: Path) -> None:
    """By what ``deploy/guest`` has for their host: options, limits, names, firewall. No resolver answers there."""
    theirs, guest = Box(tmp_path, "theirs"), Box(tmp_path, "guest")
    theirs.plug(guest, CABLE, (f"{NEIGHBOUR}/24",), ("10.25.0.25/24",))
    lab = Lab()  # its folder, which the scanners' own users can reach
    neighbour = Neighbour(lab.scratch, theirs)
    settings = {
        "hostname": "mx.example.com",
        "relay_domains": ["example.com"],
        "backends": [{"address": "192.0.2.40:10026"}],
        "policy": str(ROOT / "policies/default.yaml"),
        "spool_dir": str(tmp_path),
        "listen": [{"address": "127.0.0.1:2525"}],
        "dns": {"servers": ["127.0.0.1:53"]},
        "clamav": {"address": f"{NEIGHBOUR}:{CLAMD}"},
        "spamassassin": {"address": f"{NEIGHBOUR}:{SPAMD}"},
    }
    (tmp_path / "mailguard.yaml").write_text(yaml.safe_dump(settings))
    doctor = [sys.executable, "-m", "mailguard", "doctor", "--config", str(tmp_path / "mailguard.yaml"), "--json"]
    try:
        found = json.loads(guest.run(*doctor, "--only", "clamav", "--only", "spamassassin"))["findings"]
    finally:
        neighbour.close()
        lab.close()
        guest.process.kill()
    assert {each["part"] for each in found} == {"clamav", "spamassassin"}
    assert [each for each in found if each["status"] != "ok"] == []


def test_the_neighbour_and_the_seed_name_the_same_addresses() -> None:
    shipped = GUEST / "neighbour/etc"
    ours = of_the_seed("network-config", "neighbours")["ethernets"]["scanners"]["addresses"][0].split("/")[0]
    assert f"elements = {{ {ours} }}" in (shipped / "nftables.d/scanners.nft").read_text()
    assert f"--listen={NEIGHBOUR}:{SPAMD} --allowed-ips=127.0.0.1,{ours} " in (shipped / "default/spamd").read_text()
    socket = (shipped / "systemd/system/clamav-daemon.socket.d/neighbour.conf").read_text()
    assert f"ListenStream={NEIGHBOUR}:{CLAMD}\n" in socket


FOREIGN, FOREIGN6, MANAGER, MANAGER6 = "203.0.113.7", "2001:db8:7::7", "198.51.100.1", "fd00:1::1"


@pytest.mark.parametrize(
    ("source", "target", "met"),
    [
        (FOREIGN, "192.0.2.25", {25: "open", 22: "silence", 9625: "silence", 10025: "silence", 113: "refused"}),
        (FOREIGN6, "2001:db8::25", {25: "open", 22: "silence", 9625: "silence", 10025: "silence"}),
        (FOREIGN, "198.51.100.25", {9625: "silence"}),
        (MANAGER, "198.51.100.25", {25: "open", 22: "open", 9625: "open", 10025: "silence"}),
        (MANAGER6, "fd00:1::25", {25: "open", 22: "open", 9625: "open", 10025: "silence"}),
    ],
)
def test_who_may_reach_what(walled: Walled, source: str, target: str, met: dict[int, str]) -> None:
    assert {port: walled.knock(source, target, port) for port in met} == met


def test_an_address_of_the_management_network_is_forged_where_it_comes_from_the_other_side(walled: Walled) -> None:
    before = walled.dropped("input")
    assert walled.knock("198.51.100.66", "192.0.2.25", 9625) == "silence"  # the answers would find their way
    assert walled.dropped("input") > before


def test_as_shipped_nobody_is_of_the_management_network(walled: Walled) -> None:
    walled.load((GUEST / "files/etc/nftables.d/management.nft").read_text())
    assert walled.knock(MANAGER, "198.51.100.25", 22) == "silence"
    assert walled.knock(MANAGER, "198.51.100.25", 25) == "open"


def test_a_mistake_leaves_in_force_what_was(walled: Walled) -> None:
    with pytest.raises(AssertionError, match="management5"):
        walled.load("add element inet guest management5 { 198.51.100.0/24 }\n")
    assert walled.knock(MANAGER, "198.51.100.25", 22) == "open"
    assert walled.knock(FOREIGN, "192.0.2.25", 22) == "silence"


def test_a_mistake_at_the_boot_closes_the_management_and_opens_nothing(walled: Walled) -> None:
    with pytest.raises(AssertionError, match="management5"):
        walled.load("add element inet guest management5 { 198.51.100.0/24 }\n")
    walled.guest.run("nft", "flush", "ruleset")
    assert walled.knock(FOREIGN, "192.0.2.25", 22) == "open"
    unit = (GUEST / "files/etc/systemd/system/nftables.service.d/closed.conf").read_text()
    started = unit.rsplit("ExecStart=", 1)[1].replace("/etc/nftables.conf", str(walled.folder / "nftables.conf"))
    with pytest.raises(AssertionError, match="management5"):  # the unit has failed, and its log says why
        walled.guest.run(*shlex.split(started))
    met = {25: "open", 22: "silence", 9625: "silence"}
    assert {port: walled.knock(MANAGER, "198.51.100.25", port) for port in met} == met


@pytest.mark.parametrize("target", ["192.0.2.25", "2001:db8::25"])
def test_ping_is_answered(walled: Walled, target: str) -> None:
    assert " 0% packet loss" in walled.world.run("ping", "-n", "-c", "2", "-i", "0.2", target)


def test_a_flood_of_one_client_keeps_no_other_out(walled: Walled) -> None:
    assert walled.dropped("smtp") == 0
    walled.world.run(sys.executable, "-c", FLOOD, FOREIGN, "192.0.2.25", "900")
    assert walled.dropped("smtp") > 0
    assert walled.knock("203.0.113.8", "192.0.2.25", 25) == "open"


def test_libvirt_takes_the_domain() -> None:
    said("virt-xml-validate", GUEST / "domain.xml", "domain")


def test_the_domain_has_the_cards_that_the_seed_names_and_the_cluster_the_domain() -> None:
    domain = (GUEST / "domain.xml").read_text()
    cards = of_the_seed("network-config", "neighbours")["ethernets"]
    assert all(f'<mac address="{card["match"]["macaddress"]}"/>' in domain for card in cards.values())
    for name in cards:  # no addresses but the seed's
        assert (GUEST / f"files/etc/systemd/network/10-cloud-init-{name}.network.d/static.conf").exists()
    cluster = (ROOT / "deploy/pacemaker/guest.crm").read_text()
    assert "/etc/libvirt/qemu/mailguard.xml" in cluster
    assert 'dev="/dev/drbd0"' in domain
    assert "device /dev/drbd0 " in (ROOT / "deploy/pacemaker/guest.res").read_text()


def of_the_seed(name: str, kind: str) -> Any:
    """A file of the seed, for scanners that are inside, or neighbours."""
    text = (GUEST / "seed" / name).read_text()
    return yaml.safe_load(alternative(text) if kind == "neighbours" else text)


@pytest.mark.parametrize(
    ("kind", "clamd", "spamd"),
    [
        ("inside", "unix:/run/clamav/clamd.ctl", "127.0.0.1:783"),
        ("neighbours", f"{NEIGHBOUR}:{CLAMD}", f"{NEIGHBOUR}:{SPAMD}"),
    ],
)
def test_the_settings_of_the_seed_are_settings(tmp_path: Path, kind: str, clamd: str, spamd: str) -> None:
    seed = of_the_seed("user-data", kind)
    files = {each["path"]: each["content"] for each in seed["write_files"]}
    settings = yaml.safe_load(files["/etc/mailguard/mailguard.yaml"])
    assert settings["policy"] == "policy.yaml"  # beside it, by the package
    settings |= {"policy": str(ROOT / "policies/default.yaml"), "spool_dir": str(tmp_path), "user": "nobody"}
    settings["journal"] = {"directory": str(tmp_path)}
    assert (settings["clamav"], settings["spamassassin"]) == ({"address": clamd}, {"address": spamd})
    (tmp_path / "mailguard.yaml").write_text(yaml.safe_dump(settings))
    said(sys.executable, "-m", "mailguard", "check", "--config", tmp_path / "mailguard.yaml")


def test_a_seed_is_a_volume_for_cloud_init(tmp_path: Path) -> None:
    made = tmp_path / "seed.iso"
    said("sh", GUEST / "seed.sh", GUEST / "seed", made)
    assert made.stat().st_mode & 0o077 == 0
    assert "cidata" in said("blkid", "-o", "value", "-s", "LABEL", made)
    for name in ("meta-data", "user-data", "network-config"):
        out = tmp_path / name
        said("xorriso", "-osirrox", "on", "-indev", made, "-extract", f"/{name}", out)
        assert out.read_text() == (GUEST / "seed" / name).read_text()


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        ([], 64, "usage"),
        (["seed"], 64, "usage"),
        (["nowhere", "made.iso"], 66, "meta-data"),
        (["late", "made.iso"], 66, "first line"),
        (["seed", "seed"], 64, "folder"),
    ],
)
def test_what_makes_no_seed_leaves_the_one_that_is_there(
    tmp_path: Path, words: list[str], status: int, complaint: str
) -> None:
    for name in ("seed", "late"):
        shutil.copytree(GUEST / "seed", tmp_path / name)
    late = tmp_path / "late/user-data"
    late.write_text("# our mail server\n" + late.read_text())
    (tmp_path / "made.iso").write_text("the one that is there")
    done = subprocess.run(["sh", GUEST / "seed.sh", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, complaint in done.stderr) == (status, True), done.stderr
    assert (tmp_path / "made.iso").read_text() == "the one that is there"


def test_a_seed_whose_name_looks_like_an_option(tmp_path: Path) -> None:
    shutil.copytree(GUEST / "seed", tmp_path / "-a seed")
    subprocess.run(["sh", GUEST / "seed.sh", "-a seed", "-made"], cwd=tmp_path, check=True, timeout=60)
    assert "cidata" in said("blkid", "-o", "value", "-s", "LABEL", tmp_path / "-made")
    assert not (tmp_path / "-made.new").exists()


def test_what_the_seed_names_is_in_the_image() -> None:
    script = (GUEST / "build.sh").read_text()
    packages = script[script.index('base="') : script.index('units="')].strip().removeprefix('base="').split()
    seed = yaml.safe_load((GUEST / "seed/user-data").read_text())
    assert all("sudo" in packages for user in seed["users"] if "sudo" in user)
    assert seed["ntp"]["ntp_client"] in packages


@pytest.mark.parametrize("name", ["build.sh", "seed.sh", "parts.sh", "libvirtd.sh", "node-init", "fence-peer"])
def test_shellcheck_finds_nothing(name: str) -> None:
    (script,) = (path for folder in (GUEST, ROOT / "tests/guest") for path in folder.glob(name))
    said("shellcheck", "--shell=sh", script)
