"""The laboratory itself: what the other tests rely on, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from dns import message, query, rcode
from dns.exception import Timeout

from mailguard.lab import Lab, LabError, folders, world
from mailguard.lab.clamd import Clamd
from mailguard.lab.folders import free_port, require_reachable, withhold
from mailguard.lab.guardian import session_members
from mailguard.lab.process import Process, find_program, wait_until
from mailguard.lab.unbound import Unbound


def ask(resolver: Unbound, name: str, timeout: float = 30.0) -> message.Message:
    question = message.make_query(name, "A")
    return query.udp(question, "127.0.0.1", port=resolver.port, timeout=timeout)


def listed(resolver: Unbound, address: str, zone: str) -> list[str]:
    reverse = ".".join(reversed(address.split(".")))
    return [str(record) for answer in ask(resolver, f"{reverse}.{zone}").answer for record in answer]


def test_every_list_has_its_test_points(dns: Unbound) -> None:
    for zone in (world.ZEN, world.SPAMCOP, world.DNSWL):
        assert listed(dns, "127.0.0.2", zone)
        assert not listed(dns, "127.0.0.1", zone)


def test_an_answer_not_listed_says_how_long_it_holds(dns: Unbound) -> None:
    answer = ask(dns, f"1.1.18.198.{world.ZEN}")
    assert answer.rcode() == rcode.NXDOMAIN
    assert [record.minimum for part in answer.authority for record in part] == [60]


@pytest.mark.parametrize(
    ("fault", "code", "addresses"),
    [
        ("refused", rcode.REFUSED, []),
        ("servfail", rcode.SERVFAIL, []),
        ("nothing", rcode.NXDOMAIN, []),
        ("blocked", rcode.NOERROR, ["127.255.255.254"]),
        ("outside", rcode.NOERROR, ["198.18.0.53"]),
        ("everything", rcode.NOERROR, ["127.0.0.2"]),
    ],
)
def test_a_broken_list_fails_in_its_way(dns: Unbound, fault: str, code: int, addresses: list[str]) -> None:
    answer = ask(dns, f"1.1.18.198.{world.fault_zone(fault)}")
    assert answer.rcode() == code
    assert [str(record) for part in answer.answer for record in part] == addresses


def test_a_list_breaks_and_heals_while_the_resolver_runs(own_lab: Lab) -> None:
    resolver = own_lab.dns()
    assert listed(resolver, world.LISTED_TWICE, world.ZEN) == ["127.0.0.4"]
    resolver.break_zone(world.ZEN, "silent")
    with pytest.raises(Timeout):
        ask(resolver, f"7.7.18.198.{world.ZEN}", timeout=0.3)
    resolver.break_zone(world.ZEN, "blocked")
    assert listed(resolver, world.LISTED_TWICE, world.ZEN) == ["127.255.255.254"]
    resolver.heal_zone(world.ZEN)
    assert listed(resolver, world.LISTED_TWICE, world.ZEN) == ["127.0.0.4"]


def test_a_list_that_healed_leaves_its_neighbours_as_they_were(own_lab: Lab) -> None:
    resolver = own_lab.dns()
    for fault in world.FAULTS:
        resolver.break_zone(world.DNSWL, fault)
        resolver.heal_zone(world.DNSWL)
    assert listed(resolver, world.LISTED_AND_WELCOME, world.DNSWL) == ["127.0.10.2"]
    assert ask(resolver, "mx.example.org").answer
    assert ask(resolver, "nowhere.example.org").rcode() == rcode.NXDOMAIN


def test_a_list_is_emptied_and_restored(own_lab: Lab) -> None:
    resolver, lists = own_lab.dns(), own_lab.lists()
    lists.empty(world.SPAMCOP)
    assert not listed(resolver, "127.0.0.2", world.SPAMCOP)
    lists.restore(world.SPAMCOP)
    resolver.forget(world.SPAMCOP)
    assert listed(resolver, "127.0.0.2", world.SPAMCOP)


def test_a_killed_server_starts_again_on_its_ports(own_lab: Lab) -> None:
    clamd = own_lab.clamd()
    before = clamd.address, clamd.tcp_address
    clamd.kill()
    assert not clamd.running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", clamd.port), 1)
    clamd.start()
    assert (clamd.address, clamd.tcp_address) == before
    assert clamd.answers()


def test_kill_reaches_children_too(own_lab: Lab) -> None:
    spamd = own_lab.spamd()
    session = spamd.process.pid
    wait_until(lambda: len(session_members(session)) == 1 + spamd.children, "it has all its children")
    spamd.kill()
    assert session_members(session) == []


def test_nothing_outlives_a_killed_process() -> None:
    script = textwrap.dedent(
        """
        import sys
        from mailguard.lab import Lab
        lab = Lab()
        print(lab.lists().process.pid, lab.clamd().process.pid, lab.scratch, flush=True)
        sys.stdin.read()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        *sessions, scratch = parent.stdout.readline().split()
        assert all(session_members(int(session)) for session in sessions)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(session_members(int(session)) for session in sessions), "servers end")
    wait_until(lambda: not Path(scratch).exists(), "its folder is removed")


def test_a_server_that_does_not_start_shows_its_log(own_lab: Lab) -> None:
    clamd = Clamd(own_lab.scratch / "broken")
    (clamd.folder / "clamd.conf").write_text("NoSuchOption yes\n")
    with pytest.raises(LabError, match="NoSuchOption"):
        clamd.start()


def test_a_server_that_never_gets_ready_is_killed(tmp_path: Path) -> None:
    process = Process(["sleep", "600"], tmp_path / "log")
    with pytest.raises(LabError, match=r"sleep is ready: not within 0\.1 s"):
        process.wait_ready(lambda: False, timeout=0.1)
    assert not process.running


def test_a_missing_server_names_package_and_command() -> None:
    with pytest.raises(LabError, match=r"nonesuchd is not installed: `make run`.*package nonesuch-server"):
        find_program("nonesuchd", "nonesuch-server")


@pytest.mark.skipif(os.geteuid() != 0, reason="the servers' own users count for root alone")
def test_a_scratch_folder_closed_to_the_servers_users_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(LabError, match="cannot pass through"):
        require_reachable(tmp_path)


def test_ports_are_given_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)


def test_a_port_that_is_withheld_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    monkeypatch.setattr(folders, "_given", set())
    monkeypatch.setattr(folders, "_candidates", lambda: iter((first, free)))
    monkeypatch.setattr(folders, "_bindable", lambda _: True)
    free = first + 1
    withhold(first)
    assert free_port() == free
