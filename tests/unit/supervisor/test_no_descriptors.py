"""The control socket where descriptors have run out: who asks waits, nothing spins, and the answer comes later."""

from __future__ import annotations

import json
import os
import resource
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailguard.supervisor.control import Control
from mailguard.supervisor.reactor import Reactor
from mailguard.supervisor.run_dir import RunDir, connect


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _asked(tmp_path: Path) -> socket.socket:
    asking = connect(tmp_path, 5.0)
    asking.sendall(b'{"command": "status"}\n')
    return asking


def test_who_asks_waits_until_there_are_descriptors_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, limits = _Clock(), resource.getrlimit(resource.RLIMIT_NOFILE)
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
        taken: list[int] = []
        with capture_logs() as logs:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
                with pytest.raises(OSError, match="Too many open files"):
                    while True:
                        taken.append(os.dup(0))
                for _ in range(5):
                    reactor.after(0.0, lambda: None)  # so that no turn waits
                    reactor.turn()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for descriptor in taken:
                    os.close(descriptor)
        assert tries == 1
        assert [entry["event"] for entry in logs] == ["control socket rests"]
        clock.now += 1.0
        for _ in range(4):
            reactor.after(0.0, lambda: None)
            reactor.turn()
        assert tries == 2
        assert json.loads(asking.recv(4096))["report"] == {"phase": "running"}
    reactor.close()
