"""The sample filter before real log lines of both formats: who is refused is found, and nobody else can be framed.

fail2ban is unpacked, not installed: on a developer's machine it has no business.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from mailguard import log
from mailguard.lab import world
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import mail, submit, transaction

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / "build/fail2ban"
FRAMED = "203.0.113.66"
"""Who is to be framed."""
TRAIL = (
    f"Received: from dynamic.example.net (unknown [{world.LISTED_TWICE}])\r\n\tby relay.example.org with ESMTP id a",
)

POLICY, ABUSE, PROBE = world.LISTED_TWICE, "198.18.20.11", "198.18.20.12"
FORGED = (
    f"x client={FRAMED} action=reject refused_by=policy ",
    f'x"\\ refused_by=policy client={FRAMED} ',
    f'x","client":"{FRAMED}","action":"reject","refused_by":"policy","y":"',
    f"time=2026-11-21T10:00:00.000000Z level=info event=recipient ref=A-1 client={FRAMED} action=reject "
    f"refused_by=policy",
)
"""HELO names and local parts that look like fields, and like a whole line."""


@dataclass
class Found:
    """What fail2ban-regex says: addresses of the lines that it took, and how many it left."""

    hosts: list[str]
    missed: int


def fail2ban(lines: str, mode: str, folder: Path) -> Found:
    """What the filter finds in ``lines``."""
    file = folder / "log"
    file.write_text(lines)
    command = ["/usr/bin/python3", str(UNPACKED / "usr/bin/fail2ban-regex"), "-c", str(_configuration(folder))]
    options = ["--print-all-missed", "--maxlines", "1", "-o", "ip"]
    given = [str(file), f"{folder}/config/filter.d/mailguard.conf[mode={mode}]"]
    environment = os.environ | {"PYTHONPATH": str(UNPACKED / "usr/lib/python3/dist-packages")}
    done = subprocess.run(
        [*command, *options, *given], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    hosts = done.stdout.split()
    assert all(re.fullmatch(r"[\d.:a-f]+", host) for host in hosts), done.stdout
    return Found(hosts, lines.count("\n") - len(hosts))


def _configuration(folder: Path) -> Path:
    """fail2ban's own configuration with our filter and jails in it."""
    made = folder / "config"
    if not made.exists():
        subprocess.run(["cp", "-r", str(UNPACKED / "etc/fail2ban"), str(made)], check=True)
        for part in ("filter.d", "jail.d"):
            (made / part / "mailguard.conf").write_bytes(
                (ROOT / "deploy/fail2ban" / part / "mailguard.conf").read_bytes()
            )
    return made


@pytest.fixture(params=["logfmt", "json"])
def written(request: pytest.FixtureRequest) -> Iterator[str]:
    """The log is really written, in this format."""
    yield request.param
    structlog.reset_defaults()


async def _all_kinds(service: Service) -> None:
    """One of each kind of refusal, then what must not count: clean mail, a listed trail, forged names."""
    async with await service.connect(POLICY) as client:
        await submit(client, mail().octets)
    async with await service.connect(ABUSE) as client:
        await submit(client, mail().octets, "somebody@elsewhere.example")
        await client.command(b"WHAT is this")
    async with await service.connect(PROBE) as client:
        await submit(client, mail().octets, "nobody@example.com")
    async with await service.connect("198.18.20.13") as client:
        assert (await submit(client, mail().octets)).content.startswith(b"250 ")
    async with await service.connect("198.18.20.14") as client:
        assert (await submit(client, mail(headers=TRAIL).octets)).content.startswith(b"250 ")
    for last, name in enumerate(FORGED, 30):
        await _forged(service, f"198.18.20.{last}", name)


async def _forged(service: Service, address: str, name: str) -> None:
    """A client that tries ``name`` as its own, as a sender's quoted local part, and as a header's content."""
    sender = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"@example.org'
    async with await service.connect(address) as client:
        await client.reply()
        await client.command(b"HELO " + name.encode())
        await client.command(b"EHLO mail.example.org")
        outcome = await transaction(client, mail(headers=(f"X-Spam: {name}",)).octets, sender=sender)
        assert outcome.content.startswith(b"250 ")


async def test_refused_clients_are_found_and_nobody_else(
    start_mailguard: StartMailguard, written: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    service = await start_mailguard()
    capsys.readouterr()
    log.configure(written)
    await _all_kinds(service)
    lines = "".join(line for line in capsys.readouterr().out.splitlines(keepends=True) if "level" in line)
    assert FRAMED in lines
    forgers = {f"198.18.20.{last}" for last in range(30, 30 + len(FORGED))}
    assert fail2ban(lines, "policy", tmp_path).hosts == [POLICY]
    abuse = fail2ban(lines, "abuse", tmp_path).hosts
    assert abuse.count(ABUSE) == 2
    assert set(abuse) <= {ABUSE} | forgers, "a HELO that is no name is refused, to whom said it"
    assert fail2ban(lines, "probe", tmp_path).hosts == [PROBE]
    everybody = fail2ban(lines, "all", tmp_path)
    assert set(everybody.hosts) == {POLICY, ABUSE, PROBE} | set(abuse)
    assert everybody.missed > 10


@pytest.mark.parametrize(
    "before",
    ["Nov 21 10:00:00 mx1 mailguard[17]: ", "2026-11-21T10:00:00.1+00:00 mx1 mailguard[17]: ", "mx1 mailguard[17]: "],
)
async def test_lines_that_syslog_or_journald_gave_a_head(
    start_mailguard: StartMailguard, written: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, before: str
) -> None:
    service = await start_mailguard()
    capsys.readouterr()
    log.configure(written)
    async with await service.connect(POLICY) as client:
        await submit(client, mail().octets)
    lines = "".join(before + line for line in capsys.readouterr().out.splitlines(keepends=True) if "level" in line)
    assert set(fail2ban(lines, "policy", tmp_path).hosts) == {POLICY}
