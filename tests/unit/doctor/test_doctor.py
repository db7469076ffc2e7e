"""``mailguard doctor`` without servers: bounds, bugs that hide nothing, what is told, and what only a script can do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mailguard.cli import app, doctor_report
from mailguard.config import Settings
from mailguard.doctor import clamav, clock, lists, permissions, resolver, spamassassin, tls
from mailguard.doctor.clamav import made_at
from mailguard.doctor.examination import beside, each, examination
from mailguard.doctor.kernel_clock import ClockState, clock_state
from mailguard.doctor.notes import Finding, Measure, Notes, Status
from mailguard.doctor.own_files import configuration
from mailguard.doctor.parts import PARTS
from mailguard.doctor.patient import Patient
from mailguard.doctor.public_resolvers import operator_of
from mailguard.facts import DnsblZone
from mailguard.net.certificates import load_credentials
from mailguard.policy_files import load
from tests.support import certificates

ROOT = Path(__file__).parents[3]
SETTINGS = {
    "hostname": "mx.example.com",
    "relay_domains": ["example.com"],
    "listen": [{"address": "127.0.0.1:0"}],
    "backends": [{"address": "127.0.0.1:1"}],
    "policy": "policy.yaml",
}


def patient(**changes: object) -> Patient:
    settings = Settings.model_validate(SETTINGS | {"doctor": {"timeout": 30}} | changes)
    return Patient(Path("mailguard.yaml"), settings, lambda _settings, _descriptors: 10_000)


async def test_a_key_of_pseudonyms_that_covers_nobody_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef" * 4)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "policy.yaml").write_text((ROOT / "policies/default.yaml").read_text())
    journal = {"directory": str(tmp_path / "journal"), "pseudonym_key": str(tmp_path / "key")}
    notes = Notes("configuration")
    await configuration(patient(journal=journal), notes)
    [told] = [each for each in notes.findings if each.status is Status.WARNING]
    assert "`journal.pseudonymise` covers nobody" in told.told
    notes = Notes("configuration")
    await configuration(patient(journal=journal | {"pseudonymise": ["client"]}), notes)
    assert not [each for each in notes.findings if each.status is Status.WARNING]
    settings = SETTINGS | {"journal": journal, "policy": str(tmp_path / "policy.yaml")}
    (tmp_path / "mailguard.yaml").write_text(json.dumps(settings))
    result = CliRunner().invoke(app, ["check", "--config", str(tmp_path / "mailguard.yaml")])
    assert "warning: `journal.pseudonym_key` is set" in result.stderr


# -- bounds, and one that hides no other


async def test_neither_a_bug_nor_silence_hides_the_others() -> None:
    under_way, over = threading.Event(), threading.Event()

    async def well(_: Patient, notes: Notes) -> None:
        assert under_way.wait(30)  # which holds up the loop: nobody's time is over before the thread has begun
        notes.ok("", "well")

    async def buggy(_: Patient, notes: Notes) -> None:
        notes.ok("before", "found")
        raise KeyError("nobody thought of this")

    async def silent(_: Patient, notes: Notes) -> None:
        notes.ok("before", "found")
        await asyncio.Event().wait()

    def blocking(_: Patient, notes: Notes) -> None:
        notes.ok("before", "found")
        under_way.set()
        over.wait(30)

    parts = [
        (Notes("buggy"), buggy),
        (Notes("silent"), silent),
        (Notes("blocking"), beside(blocking)),
        (Notes("well"), well),
    ]
    found = await examination(patient(), parts, 0.1)
    over.set()
    assert [(finding.subject, finding.status.value) for finding in found] == [
        ("buggy before", "ok"),
        ("buggy", "failed"),
        ("silent before", "ok"),
        ("silent", "failed"),
        ("blocking before", "ok"),
        ("blocking", "failed"),
        ("well", "ok"),
    ]
    assert found[1].bug
    assert "KeyError: 'nobody thought of this'" in found[1].told
    assert found[3].told == "not done within 0.1 s"


async def test_things_of_one_part_stand_in_order_and_each_has_its_bound() -> None:
    async def slow(notes: Notes) -> None:
        notes.ok("slow", "found in time")
        await asyncio.Event().wait()

    async def quick(notes: Notes) -> None:
        notes.ok("quick", "found")

    async def wrong(_: Notes) -> None:
        raise ValueError("wrong")

    notes = Notes("part")
    await each(patient(doctor={"timeout": 0.2}), notes, {"slow": slow, "wrong": wrong, "quick": quick})
    assert [(finding.about, finding.told) for finding in notes.findings] == [
        ("slow", "found in time"),
        ("slow", "not done within 0.18 s"),
        ("wrong", "ValueError: wrong"),
        ("quick", "found"),
    ]


async def test_a_clamd_that_never_ends_its_answer_is_told_of_with_the_time_that_was_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(clamav, "probe", lambda _address, _seconds: ended.wait(10))
    notes = Notes("clamav")
    try:
        await clamav._report(patient(clamav={"timeout": 0.2}), "127.0.0.1:1", notes)
    finally:
        ended.set()
    assert [(each.about, each.told) for each in notes.findings] == [
        ("pyclamd", "PING, VERSION and STATS are not answered in 0.2 s")
    ]


# -- what only a script can do: a resolver that answers for names that cannot exist, but knows the test points


class _Wildcard(asyncio.DatagramProtocol):
    """Answers 127.0.0.2 for every name below ``zone``, but for the test point that must not be listed."""

    def __init__(self, zone: str) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asked = dns.message.from_wire(data)
        name = str(asked.question[0].name).rstrip(".")
        reply = dns.message.make_response(asked)
        if name.endswith(self._zone) and not name.startswith("1.0.0.127."):
            reply.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "A", "127.0.0.2"))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def wildcard(zone: str) -> AsyncIterator[str]:
    """The address of such a resolver."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Wildcard(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


async def test_a_list_that_knows_its_test_points_and_answers_for_every_name() -> None:
    policy = load(ROOT / "policies" / "default.yaml")
    policy = replace(policy, lists=(DnsblZone("all", "all.dnsbl.example"),))
    async with wildcard("all.dnsbl.example") as address:
        asked = replace(patient(dns={"servers": [address]}), policy=policy)
        notes = Notes("lists")
        await lists.examine(asked, notes)
        about_resolver = Notes("resolver")
        await resolver.examine(asked, about_resolver)
    [finding] = notes.findings
    assert finding.status is Status.FAILED
    assert finding.told == "answers 127.0.0.2 for a name that it cannot hold"
    assert [finding.status for finding in about_resolver.findings] == [Status.OK]


@pytest.mark.parametrize(
    ("address", "operator"),
    [
        ("8.8.8.8", "Google"),
        ("8.8.4.4", "Google"),
        ("1.1.1.1", "Cloudflare"),
        ("1.0.0.3", "Cloudflare"),
        ("9.9.9.9", "Quad9"),
        ("149.112.112.112", "Quad9"),
        ("208.67.222.222", "OpenDNS"),
        ("2001:4860:4860::8888", "Google"),
        ("2606:4700:4700::1111", "Cloudflare"),
        ("2620:fe::fe", "Quad9"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("198.18.0.53", ""),
        ("fe80::1%eth0", ""),
    ],
)
def test_public_resolvers_by_address(address: str, operator: str) -> None:
    assert operator_of(address) == operator


# -- the clock


def clock_notes(state: ClockState | OSError, now: float | None = None) -> Finding:
    def read() -> ClockState:
        if isinstance(state, OSError):
            raise state
        return state

    asked = replace(patient(), clock=read, **({} if now is None else {"now": lambda: now}))
    notes = Notes("clock")
    clock.examine(asked, notes)
    [finding] = notes.findings
    return finding


def test_the_clock() -> None:
    assert clock_notes(ClockState(True, 0.02)).told == "synchronised, off by 20 ms at the most"
    assert clock_notes(ClockState(False, 16.0)).status is Status.WARNING
    assert clock_notes(ClockState(True, 2.5)).told == "it may be off by 2.5 s"
    assert clock_notes(OSError("no such call")).status is Status.SKIPPED
    gone_back = clock_notes(ClockState(True, 0.0), now=0.0)
    assert gone_back.status is Status.FAILED
    assert gone_back.told == "the clock says 1970-01-01, when this mailguard was not installed yet"


def test_the_kernel_tells_of_its_clock() -> None:
    """Whatever this machine says: the fields are read from where they stand, so that the figure is a possible one."""
    assert 0 <= clock_state().max_error <= 16.1, "the kernel lets it grow to 16 s and no further (NTP_PHASE_LIMIT)"


# -- the certificate


@pytest.mark.parametrize(
    ("pattern", "hostname", "fits"),
    [
        ("mx.example.com", "mx.example.com", True),
        ("MX.Example.COM.", "mx.example.com", True),
        ("*.example.com", "mx.example.com", True),
        ("*.example.com", "a.mx.example.com", False),
        ("*.example.com", "example.com", False),
        ("*", "localhost", False),
        ("m*.example.com", "mx.example.com", False),
        ("mx.example.org", "mx.example.com", False),
    ],
)
def test_names_of_certificates(pattern: str, hostname: str, fits: bool) -> None:
    assert tls.matches(pattern, hostname) is fits


def test_a_chain_with_a_gap(tmp_path: Path) -> None:
    """Issued by somebody whose own certificate is not in the file, nor known to the system."""
    authority = certificates.make(tmp_path, "authority.example")
    pair = certificates.make(tmp_path, "mx.example.com")
    request = tmp_path / "request.csr"
    certificates.openssl("req", "-new", "-key", pair.key, "-subj", "/CN=mx.example.com", "-out", request)
    signed = ("-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial", "-days", "30")
    certificates.openssl("x509", "-req", "-in", request, *signed, "-out", pair.certificate)
    pair.key.chmod(0o640)
    notes = Notes("tls")
    tls.examine(patient(tls=pair.settings), notes)
    [chain] = [finding for finding in notes.findings if finding.about == "chain"]
    assert chain.status is Status.WARNING
    assert "local issuer" in chain.told
    [name] = [finding for finding in notes.findings if finding.about == "name"]
    assert name.told.startswith("is for no name at all")


def test_a_certificate_that_nobody_vouches_for() -> None:
    settings = Settings.model_validate(SETTINGS | {"tls": certificates.shared().settings})
    credentials = load_credentials(settings.tls)
    assert credentials is not None
    error = tls.refusal(credentials.context)
    assert error is not None
    assert error.verify_code == 18


# -- clamd's date


@pytest.mark.parametrize(
    ("version", "made"),
    [
        ("ClamAV 1.4.3/27700/Sat Aug  2 08:35:21 2025", (2025, 8, 2, 8, 35, 21)),
        ("ClamAV 0.103.8/26811/Fri Feb 17 07:44:55 2023", (2023, 2, 17, 7, 44, 55)),
        ("ClamAV 1.4.6", None),
        ("ClamAV 1.4.6/27000/yesterday", None),
        ("", None),
    ],
)
def test_when_signatures_were_made(version: str, made: tuple[int, ...] | None) -> None:
    found = made_at(version)
    assert (None if found is None else time.localtime(found)[:6]) == made


# -- what is told


def finding(status: Status, about: str = "", **more: object) -> Finding:
    return replace(Finding("part", about, status, f"it is {status}", "mend it"), **more)


OK, WARNING, FAILED, SKIPPED = (finding(status) for status in Status)
BUG = finding(Status.FAILED, bug=True)


@pytest.mark.parametrize(
    ("findings", "status", "nagios", "word"),
    [
        ((OK,), 0, 0, "OK"),
        ((OK, SKIPPED), 0, 0, "OK"),
        ((OK, WARNING), 0, 1, "WARNING"),
        ((OK, WARNING, FAILED), 69, 2, "CRITICAL"),
        ((FAILED, finding(Status.FAILED, configuration=True)), 78, 2, "CRITICAL"),
        ((OK, BUG), 69, 3, "UNKNOWN"),
        ((FAILED, BUG), 69, 2, "CRITICAL"),
        ((SKIPPED,), 0, 3, "UNKNOWN"),
        ((), 0, 3, "UNKNOWN"),
    ],
)
def test_exit_statuses(findings: Sequence[Finding], status: int, nagios: int, word: str) -> None:
    assert doctor_report.exit_status(findings) == status
    line, its_status = doctor_report.nagios(findings)
    assert its_status == nagios
    assert line.startswith(f"MAILGUARD {word} - ")


def test_the_line_for_nagios() -> None:
    measured = finding(Status.FAILED, "one", told="down | out\nand over", measures=(Measure("a", 0.12345, "s", "1"),))
    again = finding(Status.OK, "two", measures=(Measure("a", 2.0, "s"), Measure("free", 3e9, "B", "5:", "1:")))
    line, _ = doctor_report.nagios([measured, again])
    assert line == (
        "MAILGUARD CRITICAL - 1 ok, 1 failed; part one: down / out and over | "
        "'a'=0.1235s;1 'a_2'=2s 'free'=3000000000B;5:;1:"
    )
    long, _ = doctor_report.nagios([finding(Status.FAILED, told="x" * 5000)])
    assert len(long) < 1100


def test_the_table_fits_a_terminal() -> None:
    console = Console(width=80, record=True, file=None, color_system=None)
    found = [OK, WARNING, finding(Status.FAILED, "x" * 100, told="y" * 100)]
    with console.capture() as capture:
        doctor_report.show(found, console)
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "→ mend it" in capture.get()
    assert lines[-1].strip() == "1 ok, 1 warning, 1 failed"


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "mailguard.yaml"
    path.write_text("hostname: mx.example.com\nlissten: []\n")
    plain = CliRunner().invoke(app, ["doctor", "--config", str(path)])
    assert plain.exit_code == 78
    assert "did you mean `listen`?" in plain.stderr
    line = CliRunner().invoke(app, ["doctor", "--config", str(path), "--nagios"])
    assert line.exit_code == 2
    assert line.stdout.startswith("MAILGUARD CRITICAL - ")
    assert line.stdout.count("\n") == 1
    object_ = CliRunner().invoke(app, ["doctor", "--config", str(path), "--json"])
    assert json.loads(object_.stdout)["exit_status"] == object_.exit_code == 78


def test_a_part_that_there_is_none_of() -> None:
    result = CliRunner().invoke(app, ["doctor", "--only", "clamd"])
    assert result.exit_code == 64
    assert "clamav" in result.stderr


def test_each_part_has_a_name_of_its_own_and_says_what_it_looks_at() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all(part.help for part in PARTS)


# -- what a stranger in clamd's place says


def _speaks(replies: dict[bytes, bytes]) -> tuple[socket.socket, str]:
    """A server that answers each command as ``replies`` have it, a connection each."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):  # the test is over
            while True:
                connection, _ = listening.accept()
                with connection:
                    asked = connection.recv(4096)
                    while b"INSTREAM" in asked and not asked.endswith(bytes(4)):  # a piece of no length is the last
                        asked += connection.recv(4096)
                    connection.sendall(next((said for name, said in replies.items() if name in asked), b""))

    threading.Thread(target=serve, daemon=True).start()
    return listening, f"127.0.0.1:{listening.getsockname()[1]}"


WELL = {
    b"PING": b"PONG\n",
    b"VERSION": b"ClamAV 1.0.7/27000/Sat Nov 21 10:00:00 2026\n",
    b"STATS": b"QUEUE: 0 items\nEND\n",
    b"INSTREAM": b"stream: Eicar-Signature FOUND\n",
}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (b"VERSION", b"ClamAV \xff\xfe\n"),
        (b"VERSION", b"\xff\n"),
        (b"VERSION", b"\n"),
        (b"VERSION", b"220 mail.example.com ESMTP\r\n"),
        (b"INSTREAM", b"\xff\xfe\n"),
        (b"INSTREAM", b"nonsense\n"),
        (b"PING", b"\xff\n"),
    ],
)
async def test_what_is_no_answer_of_clamd_is_one_clear_row(command: bytes, said: bytes) -> None:
    listening, address = _speaks(WELL | {command: said})
    with listening:
        notes = Notes("clamav")
        await clamav._report(patient(clamav={"timeout": 30}), address, notes)
    [told] = notes.findings
    assert (told.status, told.about) == (Status.FAILED, "pyclamd")
    assert "VERSION" in told.told
    assert "is it clamd" in told.remedy


async def test_a_clamd_that_answers_well_is_well() -> None:
    listening, address = _speaks(WELL)
    with listening:
        notes = Notes("clamav")
        await clamav._report(patient(clamav={"timeout": 30}), address, notes)
    assert notes.findings[0].told == "ClamAV 1.0.7, 0 in its queue"


# -- a spamd whose answers never end, a resolver that is dead


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["in a flood", "in drops"])
async def test_a_spamd_whose_answers_never_end_is_told_of(pause: float) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            if b"PING" in await reader.readline():
                writer.write(b"SPAMD/1.5 0 PONG\r\n")
                return
            writer.write(b"SPAMD/1.1 0 EX_OK\r\n")
            while True:
                writer.write(b"X: y\r\n" * (1 if pause else 5000))
                await writer.drain()
                await asyncio.sleep(pause)

    notes = Notes("spamassassin")
    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        bounds = {"address": f"127.0.0.1:{port}", "timeout": 1.0}
        await spamassassin.examine(patient(spamassassin=bounds), notes)
    assert [each.about for each in notes.findings] == [
        "GTUBE",
        "mailguard.cf",
        *(f"trust in {stranger}" for stranger in spamassassin.STRANGERS),
    ]
    for found in notes.findings:
        assert found.status is Status.FAILED
        assert found.told.startswith("no answer: ")
        assert "is it spamd, and not overloaded?" in found.remedy


async def test_a_dead_resolver_is_told_of() -> None:
    notes = Notes("resolver")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{dead.getsockname()[1]}"
        await resolver.examine(patient(dns={"servers": [address], "timeout": 0.5}, doctor={"timeout": 5}), notes)
    assert [(each.status, each.about) for each in notes.findings] == [(Status.FAILED, address)]
    assert "does not answer" in notes.findings[0].told
    assert "`dns.servers`" in notes.findings[0].remedy


# -- a certificate that is not what it should be


def test_a_certificate_of_another_key_or_of_yesterday_is_told_of(tmp_path: Path) -> None:
    ours, other = (certificates.make(tmp_path, name) for name in ("mx.example.com", "other.example"))
    notes = Notes("tls")
    tls.examine(patient(tls={"certificate": str(ours.certificate), "key": str(other.key)}), notes)
    [told] = notes.findings
    assert (told.status, told.about) == (Status.FAILED, "tls.key")
    assert "certificate" in told.told
    assert told.remedy
    certificates.run_out(ours)
    notes = Notes("tls")
    tls.examine(patient(tls=ours.settings), notes)
    [told] = [each for each in notes.findings if each.about == "time"]
    assert told.status is Status.FAILED
    assert "mailguard reload" in told.remedy


# -- what the user who serves may not read


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask for another user")
def test_lists_keys_and_sockets_that_the_user_may_not_use_are_told() -> None:
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as scanner:
        folder = Path(name)
        folder.chmod(0o755)
        scanner.bind(str(folder / "clamd"))
        (folder / "clamd").chmod(0o600)
        for file in ("mailguard.yaml", "policy.yaml", "open.txt", "closed.txt", "list.key"):
            (folder / file).write_text("")
            (folder / file).chmod(0o644)
        for file in ("closed.txt", "list.key"):
            (folder / file).chmod(0o600)
        notes = Notes("permissions")
        read = tuple(("list", str(folder / file)) for file in ("open.txt", "closed.txt"))
        examined = patient(
            user="nobody",
            policy=str(folder / "policy.yaml"),
            spool_dir="/tmp",
            clamav={"address": f"unix:{folder}/clamd"},
        )
        permissions.examine(
            replace(
                examined,
                path=folder / "mailguard.yaml",
                read=(*read, ("key", str(folder / "list.key")), ("key", "$LIST_KEY")),
            ),
            notes,
        )
        failed = {Path(each.about).name: each.told for each in notes.findings if each.status is Status.FAILED}
        assert failed == {
            "clamd": "the user nobody may not use this socket",
            "closed.txt": "the user nobody may not read it",
            "list.key": "the user nobody may not read it",
        }
