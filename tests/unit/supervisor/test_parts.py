"""The small parts of the supervisor: backoff, times, what systemd is told, the folder's lock, watched files, health."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard import privileges
from mailguard.admin.tree import health_of
from mailguard.config import Settings
from mailguard.privileges import CannotDrop
from mailguard.supervisor import child, early
from mailguard.supervisor.backoff import Backoff
from mailguard.supervisor.child import Launched, launch
from mailguard.supervisor.early import EarlyLoader
from mailguard.supervisor.reactor import Reactor
from mailguard.supervisor.reload import changes
from mailguard.supervisor.run_dir import CannotRun, NotRunning, RunDir, connect
from mailguard.supervisor.systemd import Notifier, handed_over
from mailguard.supervisor.watch import FileWatch


def test_the_delay_doubles_to_its_bound_and_begins_anew_behind_a_healthy_life() -> None:
    backoff = Backoff(0.5, 3.0, 60.0)
    assert [backoff.delay(0.1) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.delay(59.9) == 3.0
    assert [backoff.delay(60.0), backoff.delay(0.1)] == [0.5, 1.0]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_timers_come_in_order_and_can_be_called_off() -> None:
    clock, done = Clock(), list[str]()
    reactor = Reactor(clock)
    reactor.after(2.0, lambda: done.append("second"))
    reactor.after(1.0, lambda: done.append("first"))
    reactor.after(1.5, lambda: done.append("never")).cancel()
    clock.now = 101.0
    reactor.turn()
    assert done == ["first"]
    clock.now = 102.0
    reactor.turn()
    assert done == ["first", "second"]
    reactor.close()


def test_a_time_far_away_is_waited_for_in_pieces() -> None:
    """One wait of epoll is 2^31 milliseconds at the most."""
    reactor, read = Reactor(Clock()), list[int]()
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as reading, os.fdopen(theirs, "wb") as writing:
        reactor.after(1e12, lambda: None)
        reactor.watch(reading, lambda: read.append(1))
        writing.write(b"x")
        writing.flush()
        reactor.turn()
    reactor.close()
    assert read == [1]


def test_signals_come_first_and_the_end_of_a_child_last_of_them() -> None:
    """So who was told to end has not died by itself, although his descriptor told of it before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)}
    reactor, done = Reactor(Clock()), list[str]()
    ours, theirs = os.pipe()
    try:
        os.close(theirs)
        with os.fdopen(ours, "rb") as channel:
            reactor.watch(channel, lambda: done.append("closed"))
            reactor.signals(before, lambda number: done.append(signal.Signals(number).name))
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.raise_signal(number)
            reactor.turn()
            reactor.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert done == ["SIGTERM", "SIGCHLD", "closed"]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.setblocking(False)
        yield heard, str(path)


def test_systemd_is_told(systemd: tuple[socket.socket, str]) -> None:
    heard, path = systemd
    environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
    notifier = Notifier(environment, 7)
    notifier.tell(READY=1, STATUS="2 workers")
    assert heard.recv(4096) == b"READY=1\nSTATUS=2 workers"
    notifier.close()
    assert notifier.watchdog == 15.0
    assert environment == {}  # no child believes it to be its own


def test_an_abstract_socket_is_told_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0mailguard test of sd_notify")
        notifier = Notifier({"NOTIFY_SOCKET": "@mailguard test of sd_notify"}, 7)
        notifier.tell(STOPPING=1)
        notifier.close()
        heard.setblocking(False)
        assert heard.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "5"}, {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "8"}],
)
def test_where_nobody_is_to_be_told_nothing_happens(environment: dict[str, str]) -> None:
    notifier = Notifier(environment, 7)
    notifier.tell(READY=1)
    notifier.close()
    assert notifier.watchdog == 0.0


def test_sockets_for_another_process_are_not_ours() -> None:
    assert handed_over({"LISTEN_PID": "8", "LISTEN_FDS": "3"}, 7) == []
    assert handed_over({}, 7) == []


def test_one_service_to_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RunDir(folder), pytest.raises(CannotRun, match="another mailguard runs"), RunDir(folder):
        raise AssertionError("two in one folder")
    with RunDir(folder):
        pass  # it is free again


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRun, match=r"`run_dir`\) cannot be used: "), RunDir(tmp_path / "file"):
        raise AssertionError("in a file")


def test_the_control_socket_is_closed_to_others_however_long_its_path(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    with RunDir(folder) as run, run.listen(-1), connect(folder, 5.0):
        assert (folder / "control").stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotRunning, match="mailguard is not running"):
        connect(folder, 5.0)
    with pytest.raises(NotRunning, match="mailguard is not running"):
        connect(tmp_path / "nowhere", 5.0)


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    with RunDir(tmp_path) as run:
        run.listen(-1).close()
        with run.listen(os.getegid()), connect(tmp_path, 5.0):
            assert (tmp_path / "control").stat().st_mode & 0o777 == 0o660


def test_a_user_or_group_that_does_not_exist_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(CannotDrop, match="there is no user nobody-of-this-name"):
        privileges.drop("nobody-of-this-name", tmp_path)
    with pytest.raises(CannotDrop, match="there is no group nobody-of-this-name"):
        privileges.group_id("nobody-of-this-name")


def test_a_loader_that_nobody_took_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launched: list[Launched] = []
    monkeypatch.setattr(early, "launch", lambda *what: launched.append(launch(*what)) or launched[-1])
    with pytest.raises(ValueError, match="wrong settings"), EarlyLoader(tmp_path / "mailguard.yaml"):
        raise ValueError("wrong settings")
    assert launched[0].process.returncode == -signal.SIGKILL


def test_a_loader_that_was_taken_is_its_takers(tmp_path: Path) -> None:
    with EarlyLoader(tmp_path / "mailguard.yaml") as loader:
        launched = loader.take()
    assert launched.process.poll() is None
    launched.end()


def test_a_loader_that_cannot_be_launched_is_told_of_when_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(child.sys, "executable", "/nowhere/python")
    with EarlyLoader(tmp_path / "mailguard.yaml") as loader, pytest.raises(FileNotFoundError):
        loader.take()


def test_a_change_counts_when_it_has_settled(tmp_path: Path) -> None:
    file, missing = tmp_path / "a", tmp_path / "b"
    file.write_text("1")
    watch = FileWatch([str(file), str(missing)])
    assert not watch.settled_change()
    missing.write_text("half")
    assert not watch.settled_change()  # it may not be saved whole yet
    missing.write_text("half and half")
    assert not watch.settled_change()
    assert watch.settled_change()
    assert not FileWatch([str(file), str(missing)]).settled_change()


SETTINGS = {
    "hostname": "mx.example.com",
    "relay_domains": ["example.com"],
    "listen": [{"address": "127.0.0.1:25", "proxy_protocol_from": ["198.18.0.0/15", "2001:db8::/32"]}],
    "backends": [{"address": "127.0.0.1:2525"}],
    "policy": "policy.yaml",
    "own_relays": ["198.18.0.1"],
    "tls": {"certificate": "a.pem"},
}


def test_settings_travel_between_processes_unchanged() -> None:
    settings = Settings.model_validate(SETTINGS)
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings


def test_what_changed_is_told_by_name() -> None:
    old = Settings.model_validate(SETTINGS)
    new = Settings.model_validate(SETTINGS | {"hostname": "b.example.com", "own_relays": []})
    assert changes(old, new) == ["hostname", "own_relays"]
    assert changes(old, old) == []


def _worker(state: str, *reasons: str) -> dict[str, Any]:
    return {"role": "worker", "state": state, "reasons": list(reasons)}


DOWN = "no backend answers"


@pytest.mark.parametrize(
    ("phase", "workers", "silent", "dead", "not_ready"),
    [
        ("running", [_worker("accepting"), _worker("starting")], 0.0, False, []),
        ("running", [_worker("accepting", DOWN), _worker("accepting")], 0.0, False, []),
        ("running", [_worker("accepting", DOWN), _worker("accepting", DOWN)], 0.0, False, [DOWN]),
        ("running", [_worker("starting")], 0.0, True, ["no worker serves clients"]),
        ("draining", [_worker("draining")], 0.0, False, ["draining"]),
        ("starting", [_worker("ready")], 0.0, False, ["starting"]),
        ("reloading", [_worker("accepting")], 0.0, False, []),
        ("reloading", [_worker("draining")], 0.0, True, ["no worker serves clients"]),
        ("ended", [], 0.0, False, ["ended"]),
        ("running", [_worker("accepting")], 31.0, True, ["the supervisor has said nothing for 31 s"]),
    ],
)
def test_health(phase: str, workers: list[dict[str, Any]], silent: float, dead: bool, not_ready: list[str]) -> None:
    health = health_of({"phase": phase, "version": "1", "processes": workers}, silent)
    assert bool(health.dead) == dead
    assert list(health.not_ready) == not_ready
    assert health.alive()["ok"] is not dead


def test_nobody_is_ready_before_the_supervisor_has_said_so() -> None:
    health = health_of({}, 0.0)
    assert (health.not_ready, health.dead) == (("starting",), ())
