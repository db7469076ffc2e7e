"""``mailguard demo`` as ``make run ONCE=1`` runs it: it succeeds where all is well, and notices what is broken."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest

from mailguard.lab.folders import free_port

TIMEOUT = 180


def command(*options: str, port: int | None = None) -> list[str]:
    return [sys.executable, "-m", "mailguard", "demo", "--port", str(port or free_port()), *options]


def environment(columns: int) -> dict[str, str]:
    return {"COLUMNS": str(columns), "PATH": "/usr/bin:/bin"}


def demo(*options: str, port: int | None = None, columns: int = 250) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("--once", *options, port=port),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=environment(columns),
    )


def rows(output: str) -> list[str]:
    """The first line of each message: title, reference, verdict, folder, right."""
    return [line.rstrip() for line in output.splitlines() if re.search(r" [2-9B-Z]{9}-\d ", line)]


@pytest.mark.parametrize("columns", [80, 250])
def test_all_five_come_out_as_they_must(columns: int) -> None:
    done = demo(columns=columns)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.split()[-1] for row in rows(done.stdout)] == ["yes"] * 5
    assert len(re.findall(r"^  from 198\.18\.\d+\.\d+; (?:content|RCPT): (?:250|554) ", done.stdout, re.M)) == 5
    assert max(map(len, done.stdout.splitlines())) <= columns


@pytest.mark.parametrize(
    ("part", "message", "wrong"),
    [("clamd", "A virus", 4), ("zone", "From a client on two lists", 1), ("junk-router", "Spam", 1)],
)
def test_it_notices_a_broken_part(part: str, message: str, wrong: int) -> None:
    done = demo("--break", part)
    assert done.returncode == 1, done.stdout + done.stderr
    bad = [row for row in rows(done.stdout) if row.endswith(" no")]
    assert len(bad) == wrong
    assert any(row.startswith(message) for row in bad)
    assert done.stdout.count("\n  expected: ") == wrong


def test_what_it_prints_can_be_pasted_and_ctrl_c_ends_it_kindly() -> None:
    with subprocess.Popen(
        command(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(80),
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background ignores it, and so do we
    ) as running:
        said = _until(running, b"Ctrl-C")
        [listed] = [line for line in said.splitlines() if line.startswith("... as a listed client")]
        pasted = subprocess.run(listed[23:], shell=True, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=TIMEOUT)
    assert pasted.stdout.startswith("Outcome(command='RCPT', code=554, ")
    assert running.returncode == 0
    assert rest.decode().strip().startswith("Ended: ")


def _until(running: subprocess.Popen[bytes], text: bytes) -> str:
    """Its output up to a line that holds ``text``."""
    assert running.stdout is not None
    said = b""
    for line in running.stdout:
        said += line
        if text in line:
            return said.decode()
    raise AssertionError(said.decode())


def test_a_taken_port_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo(port=port)
    assert done.returncode == 69
    assert done.stderr.startswith(f"mailguard: 127.0.0.1:{port}: Address already in use.")
    assert done.stderr.count("\n") == 1
