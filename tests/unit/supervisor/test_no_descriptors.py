"""The supervisor where descriptors have run out: who asks waits, nothing spins, and nothing that it does ends it."""

from __future__ import annotations

import json
import mmap
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailguard.channel import ChannelClosed, Kind, pair
from mailguard.smtp import shared_counts
from mailguard.smtp.shared_counts import SharedCounts, Tally
from mailguard.supervisor.child import Child, Role, launch
from mailguard.supervisor.control import Control
from mailguard.supervisor.reactor import Reactor
from mailguard.supervisor.run_dir import RunDir, connect
from mailguard.supervisor.systemd import Notifier


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def exhausted() -> Iterator[None]:
    """No descriptor is left."""
    limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), list[int]()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)


def _asked(tmp_path: Path) -> socket.socket:
    asking = connect(tmp_path, 5.0)
    asking.sendall(b'{"command": "status"}\n')
    return asking


def test_who_asks_waits_until_there_are_descriptors_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    reactor = Reactor(clock)
    settings = SimpleNamespace(processes=SimpleNamespace(control_timeout=5.0))
    supervisor: Any = SimpleNamespace(settings=settings, status=lambda: {"phase": "running"})
    tries = 0
    accept = socket.socket.accept

    def counted(listening: socket.socket) -> Any:
        nonlocal tries
        tries += 1
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", counted)
    with RunDir(tmp_path) as folder, Control(folder, -1, supervisor, reactor), _asked(tmp_path) as asking:
        reactor.after(0.0, lambda: None)
        with capture_logs() as logs, exhausted():
            for _ in range(5):
                reactor.after(0.0, lambda: None)  # so that no turn waits
                reactor.turn()
        assert tries == 1
        assert [entry["event"] for entry in logs] == ["control socket rests"]
        clock.now += 1.0
        for _ in range(4):
            reactor.after(0.0, lambda: None)
            reactor.turn()
        assert tries == 2
        assert json.loads(asking.recv(4096))["report"] == {"phase": "running"}
    reactor.close()


def test_systemd_is_told_all_the_same(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}, 7)
        with exhausted():
            notifier.tell(WATCHDOG=1)
        notifier.close()
        assert heard.recv(4096) == b"WATCHDOG=1"


def test_a_child_that_cannot_be_started_has_ended_and_says_why() -> None:
    reactor, ended = Reactor(_Clock()), list[Child]()
    with exhausted():
        child = Child(reactor, Role.WORKER, partial(launch, Role.WORKER, ()), lambda *_: None, ended.append)
        child.send(Kind.STOP)
        reactor.turn()
    reactor.close()
    assert ended == [child]
    assert child.how_it_ended() == "it cannot be started: Too many open files"


def test_what_a_dead_worker_counted_counts_no_more() -> None:
    memory = shared_counts.create(2)
    dead, alive = SharedCounts(memory, 0), SharedCounts(memory, 1)
    for counts in (dead, alive):
        counts.add([Tally.CONNECTIONS], 3)
        counts.add(counts.of_client(7), 2)
    dead.close()
    with exhausted():
        with pytest.raises(OSError, match="Too many open files"):
            mmap.mmap(memory, 0)
        shared_counts.clear(memory, 0)
    os.close(memory)
    assert (alive.total(Tally.CONNECTIONS), alive.client(7)) == (3, 2)
    alive.close()


def test_descriptors_that_cannot_be_sent_close_the_channel() -> None:
    ours, theirs = pair()
    with exhausted(), pytest.raises(ChannelClosed, match="Too many open files"):
        ours.send(Kind.PREPARE, [theirs.fileno()])
    ours.close()
    theirs.close()
