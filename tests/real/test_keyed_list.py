"""A DNS list that is asked with a key, served by a real rbldnsd under the keyed name: the key is looked for everywhere.

``mailguard serve`` runs as a process with all that it can write switched on: log at debug level, journal, metrics.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mailguard.lab import Lab, world
from mailguard.lab.mailguard import Mailguard
from mailguard.lab.process import wait_until
from mailguard.lab.rbldnsd import Rbldnsd
from mailguard.lab.unbound import Unbound
from tests.support.client import Client, proxy_v2
from tests.support.mail import mail, submit
from tests.unit.policy.test_shipped import with_key

KEY = "k7qf3mzxw2vbn5trd8shj4c6pa"
SHOWN = "zen.dq.spamhaus.net"
ASKED = f"{KEY}.{SHOWN}"
LISTS = {ASKED: world.LISTS[world.ZEN], **{zone: world.LISTS[zone] for zone in (world.SPAMCOP, world.DNSWL)}}
DEFAULT = Path(__file__).parents[2] / "policies" / "default.yaml"
WAIT = 30.0


@pytest.fixture
def keyed_lab() -> Iterator[Lab]:
    """A laboratory whose zen is served under the keyed name alone."""
    with Lab() as lab:
        lists = lab.server("rbldnsd", Rbldnsd, lambda folder: Rbldnsd(folder, LISTS))
        lab.server("unbound", Unbound, lambda folder: Unbound(folder, lists.address, tuple(LISTS)))
        yield lab


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "dqs.key").write_text(f"{KEY}\n")
    (tmp_path / "dqs.key").chmod(0o640)
    path = tmp_path / "policy.yaml"
    path.write_text(with_key(DEFAULT.read_text()))
    return path


_GZIP = b"\x1f\x8b"


def written_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file, sealed segments of a journal unpacked: what is compressed hides a text."""
    for path in folder.rglob("*"):
        if path.is_file():
            octets = path.read_bytes()
            yield path, gzip.decompress(octets) if octets.startswith(_GZIP) else octets


def talkative(folder: Path, lab: Lab, policy: Path, journal: Path) -> Mailguard:
    """A mailguard that writes all that it can."""
    made = Mailguard(folder, lab, policy=policy, journal={"directory": str(journal), "sync": "always"})
    settings = yaml.safe_load(made.configuration.read_text())
    settings["log"]["level"] = "debug"
    made.configuration.write_text(yaml.safe_dump(settings))
    return made


def metrics_of(service: Mailguard) -> bytes:
    with urllib.request.urlopen(f"{service.admin_url}/metrics", timeout=WAIT) as answer:
        found: bytes = answer.read()
    return found


async def test_the_key_is_asked_with_and_shown_nowhere(keyed_lab: Lab, policy: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    service = keyed_lab.server("mailguard", Mailguard, lambda folder: talkative(folder, keyed_lab, policy, journal))
    wait_until(lambda: "policy loaded" in service.log.read_text(), "the policy is loaded")
    taken = mail("hello")
    async with await Client.connect("127.0.0.1", service.proxy_port, proxy=proxy_v2(world.LISTED_TWICE)) as client:
        refused = await submit(client, mail("hello").octets)
    async with await Client.connect("127.0.0.1", service.proxy_port, proxy=proxy_v2(world.LISTED_CSS)) as client:
        outcome = await submit(client, taken.octets)
    # So the keyed name was asked, and answered.
    assert b"blocked using bl.spamcop.net,zen.dq.spamhaus.net" in refused.rcpt[0]
    assert outcome.content.startswith(b"250 ")
    [delivered] = keyed_lab.exim().find(taken.message_id, WAIT)
    metrics = await asyncio.to_thread(metrics_of, service)
    assert b"mailguard_dnsbl_queries_total{" in metrics
    (policy.parent / "dqs.key").write_text(f"{KEY} {KEY}\n")
    service.process.signal(signal.SIGHUP)
    wait_until(lambda: "holds no key" in service.log.read_text(), "the reload is refused")
    service.stop()

    log = service.log.read_text()
    records = b"".join(octets for _, octets in written_below(journal))
    assert SHOWN.encode() in records
    shown = {
        "replies": b"".join([*refused.rcpt, refused.data, *outcome.rcpt, outcome.content]),
        "message": delivered.read(),
        "metrics": metrics,
        "log": log.encode(),
        "journal": records,
    }
    assert [where for where, octets in shown.items() if KEY.encode() in octets.lower()] == []


def run(*arguments: str) -> str:
    """Everything that the command says."""
    command = [sys.executable, "-m", "mailguard", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--policy", "{policy}"],
        ["check", "--policy", "{policy}", "--json", "--provenance"],
        ["check", "--policy", "{policy}", "--provenance"],
        ["test", "{policy}", "--verbose"],
        ["test", "{policy}", "--json"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("broken", [False, True])
def test_no_command_shows_it(policy: Path, arguments: list[str], broken: bool) -> None:
    if broken:
        (policy.parent / "dqs.key").write_text(f"{KEY} {KEY}\n")
    said = run(*(argument.format(policy=policy) for argument in arguments))
    assert ("holds no key" in said) is broken
    assert KEY not in said
    if "--json" in arguments:
        json.loads(said)
