"""``mailguard demo`` as ``make run ONCE=1`` runs it: it succeeds where all is well, and notices what is broken."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

from mailguard.lab.folders import free_port

TIMEOUT = 110


def demo(*options: str, port: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mailguard", "demo", "--once", "--port", str(port or free_port()), *options]
    environment = {"COLUMNS": "250", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment)


def test_all_five_come_out_as_they_must() -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if re.search(r"(content|RCPT): (250|554) ", line)]
    assert len(rows) == 5
    assert all(re.search(r"[2-9B-Z]{9}-\d", row) for row in rows)
    assert all(row.split("│")[-2].strip() == "yes" for row in rows)


@pytest.mark.parametrize(
    ("part", "row"), [("clamd", "A virus"), ("zone", "From a client on two lists"), ("junk-router", "Spam")]
)
def test_it_notices_a_broken_part(part: str, row: str) -> None:
    done = demo("--break", part)
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if row in line]
    assert line.split("│")[-2].strip().startswith("no, expected ")


def test_a_taken_port_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo(port=port)
    assert done.returncode == 69
    assert done.stderr.startswith(f"mailguard: 127.0.0.1:{port}: Address already in use.")
    assert done.stderr.count("\n") == 1
