"""The log to syslog, before a real datagram socket as /dev/log is one."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from mailguard import log
from mailguard.config import Log


class Daemon:
    """What a syslog daemon is to its clients: a bound datagram socket that is read, or is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(5)

    def received(self) -> str:
        return self.socket.recv(1 << 18).decode()

    def end(self) -> None:
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "log")
    yield made
    made.socket.close()


@pytest.fixture
def lost() -> Iterator[list[bool]]:
    """Grows by one for each line that was lost."""
    found: list[bool] = []
    log.when_lost(lambda: found.append(True))
    yield found
    log.when_lost(lambda: None)
    log.configure()  # closes the socket
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 23), ("info", 22), ("warning", 20), ("error", 19), ("critical", 18)]
)
def test_a_line_has_the_head_that_the_c_library_gives(
    daemon: Daemon, lost: list[bool], level: str, priority: int
) -> None:
    log.configure("logfmt", "debug", daemon.path)
    getattr(log.logger, level)("message", ref="ABC-1", sender="jörg@example.org")
    head, _, line = daemon.received().partition("]: ")
    assert re.fullmatch(rf"<{priority}>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d mailguard\[{os.getpid()}", head)
    assert line.startswith("time=")
    assert line.endswith(" event=message ref=ABC-1 sender=jörg@example.org")
    assert lost == []


def test_nothing_is_written_to_standard_output(
    daemon: Daemon, lost: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("json", "info", daemon.path)
    log.logger.info("message", ref="ABC-1")
    assert '"ref":"ABC-1"' in daemon.received()
    assert capsys.readouterr().out == ""


def test_a_line_of_a_stranger_stays_one_datagram_and_one_line(daemon: Daemon, lost: list[bool]) -> None:
    log.configure("logfmt", "info", daemon.path)
    log.logger.info("connection", helo="x\n<22>Nov 21 10:00:00 mailguard[1]: time=now client=203.0.113.66")
    assert "\n" not in daemon.received()


def test_a_daemon_that_does_not_read_costs_lines_and_no_time(daemon: Daemon, lost: list[bool]) -> None:
    """Nothing here waits: the test would run into its own bound."""
    log.configure("logfmt", "info", daemon.path)
    for _ in range(2000):
        log.logger.info("message", ref="ABC-1")
    taken = 2000 - len(lost)
    assert 0 < taken < 2000
    for _ in range(taken):
        assert daemon.received()
    log.logger.info("message", ref="ABC-2")
    assert daemon.received().endswith("ref=ABC-2")


def test_a_daemon_that_comes_back_is_found(daemon: Daemon, lost: list[bool]) -> None:
    log.configure("logfmt", "info", daemon.path)
    log.logger.info("message", ref="ABC-1")
    daemon.end()
    log.logger.info("message", ref="ABC-2")
    assert len(lost) == 1
    again = Daemon(daemon.path)
    log.logger.info("message", ref="ABC-3")
    assert again.received().endswith("ref=ABC-3")
    assert len(lost) == 1
    again.end()


def test_a_daemon_that_was_started_anew_loses_nothing(daemon: Daemon, lost: list[bool]) -> None:
    log.configure("logfmt", "info", daemon.path)
    log.logger.info("message", ref="ABC-1")
    daemon.end()
    again = Daemon(daemon.path)
    log.logger.info("message", ref="ABC-2")
    assert again.received().endswith("ref=ABC-2")
    assert lost == []
    again.end()


def test_the_socket_is_relative_to_the_file_that_names_it() -> None:
    folder = Path("/etc/mailguard")
    assert Log(syslog=Path("log.sock")).within(folder).syslog == folder / "log.sock"
    assert Log(syslog=Path("/dev/log")).within(folder).syslog == Path("/dev/log")
    assert Log().within(folder).syslog is None


def test_a_line_too_long_for_a_datagram_is_counted(daemon: Daemon, lost: list[bool]) -> None:
    log.configure("logfmt", "info", daemon.path)
    log.logger.info("message", error="x" * (1 << 22))
    assert len(lost) == 1
