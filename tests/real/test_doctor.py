"""``mailguard doctor`` before real parts: all well, then each fault really made, and what is said of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.doctor.notes import Finding, Status
from mailguard.doctor.patient import Patient
from mailguard.lab import Lab, world
from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import Exim
from mailguard.lab.folders import free_port, make_folder
from mailguard.lab.settings import lab_configuration
from mailguard.lab.spamd import Spamd
from mailguard.worker import Worker
from tests.support import certificates
from tests.support.doctor import examined, patient_of
from tests.support.sink import EXTENSIONS, Sink

OK, WARNING, FAILED, SKIPPED = Status.OK, Status.WARNING, Status.FAILED, Status.SKIPPED
Make = Callable[..., Patient]


@pytest.fixture(scope="module")
def parts() -> Iterator[Lab]:
    """Servers of this module's own: a clamd with dated signatures, and what tests break."""
    with Lab() as lab:
        lab.clamd(dated=time.time() - 3600)
        yield lab


@pytest.fixture
def patient(parts: Lab, tmp_path: Path) -> Make:
    """``patient(limits={...})``: a mailguard before these servers, with settings of its own."""
    tmp_path.chmod(0o755)

    def make(**changes: Any) -> Patient:
        return patient_of(tmp_path, lab_configuration(parts, **changes))

    return make


@pytest.fixture
def other(parts: Lab, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """``other(Clamd, ...)``: one more server, ended with the test."""
    made: list[Any] = []

    def make(kind: Any, *arguments: Any, **settings: Any) -> Any:
        folder = parts.scratch / f"{kind.__name__}-{free_port()}"
        made.append(kind(folder, *arguments, **settings).start())
        return made[-1]

    yield make
    for server in made:
        server.stop()


def told(finding: Finding, status: Status, *words: str) -> None:
    """That it stands so, for these reasons, and that something can be done about it."""
    assert finding.status is status, finding
    for word in words:
        assert word in f"{finding.told} → {finding.remedy}", finding
    assert finding.remedy or status in (OK, SKIPPED)


async def test_all_is_well(patient: Make, parts: Lab, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, world.MAILGUARD_NAME)
    pair.key.chmod(0o640)
    found = await examined(
        patient(
            tls=pair.settings,
            user=None if os.geteuid() else "root",
            journal={"directory": str(tmp_path / "journal"), "max_size": 1 << 20, "segment_size": 1 << 16},
        )
    )
    unwell = {subject: finding for subject, finding in found.items() if finding.status not in (OK, SKIPPED)}
    assert not unwell
    assert not [subject for subject, finding in found.items() if finding.status is SKIPPED]
    backend = parts.exim().address
    assert {
        "configuration",
        "policy",
        f"resolver {parts.dns().address}",
        *(f"lists {zone}" for zone in world.LISTS),
        "clamav",
        "clamav signatures",
        "clamav EICAR",
        "clamav AlertExceedsMax",
        "clamav longest message",
        "spamassassin GTUBE",
        "spamassassin mailguard.cf",
        "spamassassin taint list",
        "spamassassin trust in 203.0.113.77",
        f"backends {backend}",
        f"backends {backend} postmaster",
        f"backends {backend} client",
        f"backends {backend} open relay",
        "tls key",
        "tls time",
        "tls name",
        "tls chain",
        "clock",
        "disk spool",
        "disk journal",
        "permissions files",
        "permissions user",
        "descriptors",
    } <= found.keys()


# -- the resolver and the lists


async def test_a_resolver_that_is_not_there(patient: Make) -> None:
    address = f"127.0.0.1:{free_port()}"
    found = await examined(patient(dns={"servers": [address], "timeout": 0.5, "probe_timeout": 1}), "resolver", "lists")
    told(found[f"resolver {address}"], FAILED, "does not answer", "resolver of your own")
    told(found[f"lists {world.ZEN}"], WARNING, "127.0.0.2")


@pytest.mark.parametrize("zone", ["com", "invalid"])
async def test_a_resolver_that_lies_about_names_that_do_not_exist(patient: Make, parts: Lab, zone: str) -> None:
    dns = parts.dns()
    dns.control("local_zone", f"{zone}.", "redirect")
    dns.control("local_data", f"{zone}. 60 IN A 198.18.99.1")
    try:
        found = await examined(patient(), "resolver", "lists")
    finally:
        dns.control("local_zone_remove", f"{zone}.")
    told(found[f"resolver {dns.address}"], FAILED, "lies", f".{zone}, which cannot exist, has the address 198.18.99.1")
    assert found[f"lists {world.ZEN}"].status is OK


async def test_a_public_resolver_by_how_spamhaus_answers_it(patient: Make, parts: Lab) -> None:
    dns = parts.dns()
    dns.control("local_zone", f"{world.ZEN}.", "redirect")
    dns.control("local_data", f"{world.ZEN}. 60 IN A 127.255.255.254")
    try:
        found = await examined(patient(), "resolver", "lists")
    finally:
        dns.heal_zone(world.ZEN)
    told(found[f"resolver {dns.address}"], FAILED, "public resolver", world.ZEN, "resolver of your own")
    told(found[f"lists {world.ZEN}"], FAILED, "127.255.255.254", "public one")
    assert found[f"lists {world.SPAMCOP}"].status is OK, "one does not hide another"


async def test_a_list_that_is_dead(patient: Make, parts: Lab) -> None:
    lists = parts.lists()
    lists.empty(world.SPAMCOP)
    parts.dns().forget(world.SPAMCOP)
    try:
        found = await examined(patient(), "lists")
    finally:
        lists.restore(world.SPAMCOP)
        parts.dns().forget(world.SPAMCOP)
    told(found[f"lists {world.SPAMCOP}"], FAILED, "test point 127.0.0.2: not listed", "remove it if it is gone")
    assert found[f"lists {world.ZEN}"].status is OK


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("everything", ("test point 127.0.0.1: listed as 127.0.0.2",)),
        ("outside", ("198.18.0.53 is outside 127.0.0.0/8",)),
        ("nothing", ("127.0.0.2: not listed",)),
    ],
)
async def test_a_list_that_answers_what_no_list_may(
    patient: Make, parts: Lab, fault: str, words: tuple[str, ...]
) -> None:
    dns = parts.dns()
    dns.break_zone(world.SPAMCOP, fault)
    try:
        found = await examined(patient(), "lists")
    finally:
        dns.heal_zone(world.SPAMCOP)
    told(found[f"lists {world.SPAMCOP}"], FAILED, *words)


# -- clamd


async def test_clamd_is_down(patient: Make) -> None:
    found = await examined(patient(clamav={"address": "unix:/nonexistent/clamd.ctl"}), "clamav")
    assert list(found) == ["clamav unix:/nonexistent/clamd.ctl"]
    told(found["clamav unix:/nonexistent/clamd.ctl"], FAILED, "does not answer PING", "systemctl status clamav-daemon")


async def test_clamd_of_another_host_is_down(patient: Make) -> None:
    address = f"127.0.0.1:{free_port()}"
    found = await examined(patient(clamav={"address": address}), "clamav")
    told(found[f"clamav {address}"], FAILED, "does not answer PING", "ListenStream", "firewall")


async def test_clamd_without_the_signature(patient: Make, other: Callable[..., Any]) -> None:
    clamd = other(Clamd, knows_eicar=False)
    found = await examined(patient(clamav={"address": clamd.address}), "clamav")
    told(found["clamav EICAR"], FAILED, "called a message clean that has the test file attached", "freshclam")
    told(found["clamav longest message"], FAILED, "its end not looked at")
    told(found["clamav signatures"], WARNING, "none of ClamAV's own", "run freshclam")
    assert found["clamav AlertExceedsMax"].status is OK


async def test_clamd_with_old_signatures(patient: Make, other: Callable[..., Any]) -> None:
    clamd = other(Clamd, dated=time.time() - 10.5 * 86400)
    found = await examined(patient(clamav={"address": clamd.address}), "clamav")
    told(found["clamav signatures"], WARNING, "days old, more than 3", "clamav-freshclam")
    [age] = found["clamav signatures"].measures
    assert age.value == pytest.approx(10.5 * 86400, abs=3700)  # clamd's own clock is a local one
    assert found["clamav EICAR"].status is OK


async def test_clamd_that_does_not_say_what_it_did_not_look_at(patient: Make, other: Callable[..., Any]) -> None:
    clamd = other(Clamd, alert_exceeds_max=False, scan_max=1 << 20)
    found = await examined(patient(clamav={"address": clamd.address}, limits={"max_message_size": 3 << 20}), "clamav")
    told(found["clamav AlertExceedsMax"], FAILED, "called 110 archives within each other clean", "AlertExceedsMax yes")
    told(found["clamav longest message"], FAILED, "of 3145728 octets is called clean", "MaxFileSize")


async def test_clamd_that_looks_at_less_than_we_take(patient: Make, other: Callable[..., Any]) -> None:
    clamd = other(Clamd, scan_max=1 << 20)
    found = await examined(patient(clamav={"address": clamd.address}, limits={"max_message_size": 3 << 20}), "clamav")
    told(found["clamav longest message"], WARNING, "Heuristics.Limits.Exceeded", "limits.max_message_size")
    assert found["clamav AlertExceedsMax"].status is OK


async def test_clamd_that_takes_less_by_stream(patient: Make, other: Callable[..., Any]) -> None:
    clamd = other(Clamd, stream_max=1 << 20)
    limits = {"max_message_size": 3 << 20}
    found = await examined(patient(clamav={"address": clamd.tcp_address}, limits=limits), "clamav")
    told(found["clamav longest message"], WARNING, "INSTREAM", "StreamMaxLength")
    found = await examined(patient(clamav={"address": clamd.address}, limits=limits), "clamav")
    assert found["clamav longest message"].status is OK, "as a file it is not bound by StreamMaxLength"


# -- spamd


async def test_spamd_is_down(patient: Make) -> None:
    address = f"127.0.0.1:{free_port()}"
    found = await examined(patient(spamassassin={"address": address}), "spamassassin")
    assert list(found) == [f"spamassassin {address}"]
    told(found[f"spamassassin {address}"], FAILED, "does not answer PING", "systemctl status spamd")


async def test_spamd_that_trusts_everybody(patient: Make, other: Callable[..., Any]) -> None:
    """Whoever connects to mailguard passes for one of our own relays, and some line further down for the client."""
    spamd = other(Spamd, None, children=1, rules="trusted_networks 0.0.0.0/0\ninternal_networks 0.0.0.0/0\n")
    found = await examined(patient(spamassassin={"address": spamd.address, "rule_dirs": []}), "spamassassin")
    told(found["spamassassin trust in 203.0.113.77"], FAILED, "takes nobody for the client", "trusted_networks")


async def test_spamd_that_does_not_know_our_relays(patient: Make, other: Callable[..., Any]) -> None:
    spamd = other(Spamd, None, children=1, rules="trusted_networks 198.18.0.25\ninternal_networks 198.18.0.25\n")
    found = await examined(
        patient(
            own_relays=["198.18.0.25", "198.18.0.26"],
            spamassassin={"address": spamd.address, "rule_dirs": [str(path) for path in spamd.rule_dirs]},
        ),
        "spamassassin",
    )
    assert found["spamassassin trust in 198.18.0.25/32"].status is OK
    told(found["spamassassin trust in 198.18.0.26/32"], WARNING, "takes 198.18.0.26 for the client", "add it")


async def test_spamd_without_our_file(patient: Make, parts: Lab, other: Callable[..., Any]) -> None:
    class Plain(Spamd):
        def command(self) -> list[str]:
            (self.site / "mailguard.cf").unlink(missing_ok=True)
            return super().command()

    spamd = other(Plain, None, children=1)
    found = await examined(patient(spamassassin={"address": spamd.address, "rule_dirs": []}), "spamassassin")
    told(found["spamassassin mailguard.cf"], WARNING, "is not in force", "deploy/spamassassin/mailguard.cf")
    told(found["spamassassin taint list"], WARNING, "every rule counts as tainted", "spamassassin.rule_dirs")
    assert found["spamassassin trust in 203.0.113.77"].status is SKIPPED
    assert found["spamassassin GTUBE"].status is OK


# -- the backend


async def test_a_backend_that_is_down(patient: Make, parts: Lab) -> None:
    down, up = f"127.0.0.1:{free_port()}", parts.exim().address
    found = await examined(patient(backends=[{"address": down}, {"address": up}]), "backends")
    told(found[f"backends {down}"], FAILED, "is it running")
    assert found[f"backends {up} open relay"].status is OK


async def test_a_backend_that_is_an_open_relay(patient: Make, other: Callable[..., Any]) -> None:
    exim = other(Exim, relay_hosts="*")
    found = await examined(patient(backends=[{"address": exim.address}]), "backends")
    finding = found[f"backends {exim.address} open relay"]
    told(finding, FAILED, "it took a recipient in a domain that cannot exist", "hosts_proxy")
    assert finding.configuration
    assert found[f"backends {exim.address} postmaster"].status is OK


async def test_a_backend_that_expects_no_proxy_header(patient: Make, parts: Lab) -> None:
    address = parts.exim().plain_address
    found = await examined(patient(backends=[{"address": address}]), "backends")
    told(found[f"backends {address} client"], FAILED, "only without a PROXY header", "hosts_proxy")


async def test_a_backend_that_expects_a_proxy_header(patient: Make, parts: Lab) -> None:
    address = parts.exim().address
    settings = {"address": address, "client_identity": "none"}
    found = await examined(patient(backends=[settings], limits={"backend_connect_timeout": 20.0}), "backends")
    told(found[f"backends {address} client"], FAILED, "only with a PROXY header", "client_identity: proxy")


async def test_a_backend_without_xclient(patient: Make, parts: Lab) -> None:
    address = parts.exim().plain_address
    found = await examined(patient(backends=[{"address": address, "client_identity": "xclient"}]), "backends")
    told(found[f"backends {address} client"], FAILED, "XCLIENT", "smtpd_authorized_xclient_hosts")


async def test_a_backend_that_does_not_know_a_domain_of_ours(patient: Make, parts: Lab) -> None:
    address = parts.exim().address
    found = await examined(patient(relay_domains=["example.com", "elsewhere.example"]), "backends", "policy")
    told(found[f"backends {address} postmaster"], FAILED, "postmaster@elsewhere.example", "550", "relay_domains")


async def test_a_backend_whose_certificate_is_another(patient: Make, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, "other.example")
    async with Sink(proxy=False, tls=certificates.serving(pair)) as sink:
        backend = {
            "address": sink.address,
            "client_identity": "none",
            "tls": "required",
            "tls_name": "mail.example.com",
            "tls_ca_file": str(pair.certificate),
        }
        found = await examined(patient(backends=[backend]), "backends")
    told(found[f"backends {sink.address} TLS"], FAILED, "certificate", "tls_name")


async def test_a_backend_that_takes_less_than_we_offer(patient: Make) -> None:
    sizes = tuple(b"SIZE 1000000" if word.startswith(b"SIZE") else word for word in EXTENSIONS)
    async with Sink(proxy=False, extensions=sizes) as sink:
        found = await examined(patient(backends=[{"address": sink.address, "client_identity": "none"}]), "backends")
    told(found[f"backends {sink.address} SIZE"], WARNING, "takes 1000000 octets", "limits.max_message_size")
    assert found[f"backends {sink.address} postmaster"].status is OK


# -- our own side


async def test_a_certificate_that_has_run_out_and_is_of_another(patient: Make, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, "other.example")
    pair.key.chmod(0o640)
    found = await examined(patient(tls=pair.settings), "tls")
    told(found["tls name"], WARNING, "is for other.example, not for mx.test.invalid")
    certificates.run_out(pair)
    found = await examined(patient(tls=pair.settings), "tls")
    told(found["tls time"], FAILED, "ran out on", "put a new one in its place")


async def test_a_certificate_that_runs_out_soon(patient: Make, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, world.MAILGUARD_NAME, days=5)
    pair.key.chmod(0o640)
    told((await examined(patient(tls=pair.settings), "tls"))["tls time"], WARNING, "in 5 days")


async def test_a_key_that_everybody_can_read(patient: Make, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, world.MAILGUARD_NAME)
    pair.key.chmod(0o644)
    found = await examined(patient(tls=pair.settings), "tls", "permissions", "configuration", "disk")
    told(found["tls tls.key"], FAILED, "open to every user", "chmod o=")
    told(found["permissions tls.key"], FAILED, "mode 0644", "chmod o=")
    told(found["configuration"], FAILED, "open to every user")
    assert found["disk spool"].status is OK, (
        "settings that this machine has something against are examined all the same"
    )


async def test_a_key_that_cannot_be_read(patient: Make, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, world.MAILGUARD_NAME)
    pair.key.unlink()
    found = await examined(patient(tls=pair.settings), "tls", "permissions")
    told(found["tls tls.key"], FAILED, "cannot be read: no such file")
    told(found["permissions tls.key"], FAILED, "cannot be read")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Opens a file, and the folder that it is in, to everybody."""

    def open_to_all(file: Path) -> None:
        file.chmod(0o666)
        tmp_path.chmod(0o777)

    yield open_to_all
    tmp_path.chmod(0o755)


async def test_a_configuration_that_everybody_may_change(
    patient: Make, tmp_path: Path, opened: Callable[[Path], None]
) -> None:
    made = patient()
    opened(made.path)
    found = await examined(made, "permissions")
    told(found[f"permissions {made.path}"], FAILED, "every user of this machine may change this file", "chmod o-w")
    told(found[f"permissions {tmp_path}"], FAILED, "may change this folder")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
async def test_a_user_who_may_not_read_the_key(parts: Lab) -> None:
    """The service becomes him, and root's own rights say nothing."""
    folder = make_folder(parts.scratch / "of-root")
    pair = certificates.make(folder, world.MAILGUARD_NAME)
    pair.key.chmod(0o600)
    settings = {"tls": pair.settings, "user": "nobody", "journal": {"directory": str(folder / "journal")}}
    made = patient_of(folder, lab_configuration(parts, **settings))
    made.path.chmod(0o644)
    found = await examined(made, "permissions")
    told(found[f"permissions {pair.key}"], FAILED, "the user nobody may not read it")
    told(found[f"permissions {folder}"], FAILED, "the user nobody may not write it")
    assert found.keys() == {"permissions files", f"permissions {pair.key}", f"permissions {folder}"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
async def test_a_user_whom_there_is_none_of(patient: Make) -> None:
    told((await examined(patient(user="nosuchuser"), "permissions"))["permissions user"], FAILED, "no user nosuchuser")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB with room for 30 files."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    done = subprocess.run(
        [mount or "mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=30,mode=755", "none", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_small_disk(patient: Make, small_disk: Path) -> None:
    limits = {"min_spool_free": 2 << 20, "max_message_size": 65536 * 2}
    settings = {"spool_dir": str(small_disk), "limits": limits, "journal": {"directory": str(small_disk)}}
    found = await examined(patient(**settings), "disk")
    told(found["disk journal"], FAILED, "less than one file of it takes")
    told(found["disk spool inodes"], WARNING, "more files can be made")
    assert found["disk spool"].status is OK
    (small_disk / "filling").write_bytes(bytes(3 << 20))
    found = await examined(patient(**settings), "disk")
    told(found["disk spool"], FAILED, "1 MiB free of which 2 MiB must stay", "make room")


# -- ports


async def test_a_port_that_is_taken(patient: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        answering = asyncio.create_task(asyncio.to_thread(_say, taken, b"220 elsewhere.example ESMTP Postfix\r\n"))
        found = await examined(patient(listen=[{"address": address}]), "ports")
        await answering
    told(found[f"ports {address}"], FAILED, "somebody else", "Postfix", "ss -ltnp")


def _say(listening: socket.socket, words: bytes) -> None:
    client, _ = listening.accept()
    with client:
        client.sendall(words)
        client.recv(16)


async def test_ports_that_mailguard_itself_has(patient: Make, parts: Lab) -> None:
    listeners = [
        {"address": f"127.0.0.1:{free_port()}"},
        {"address": f"127.0.0.1:{free_port()}", "proxy_protocol_from": ["127.0.0.0/8"]},
    ]
    admin = f"127.0.0.1:{free_port()}"
    made = patient(listen=listeners, admin={"address": admin})
    found = await examined(made, "ports")
    addresses = [*(listener["address"] for listener in listeners), admin]
    assert [found[f"ports {address}"].told for address in addresses] == ["free: mailguard is not running"] * 3
    worker = Worker(made.settings)
    await worker.start()
    try:
        found = await examined(made, "ports")
    finally:
        await worker.stop()
    assert [found[f"ports {address}"].told for address in addresses] == ["mailguard is running there"] * 3


# -- the command


def run(folder: Path, settings: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    path = folder / "mailguard.yaml"
    path.write_text(yaml.safe_dump(settings))
    path.chmod(0o640)
    command = [sys.executable, "-m", "mailguard", "doctor", "--config", str(path), *arguments]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)


def test_the_command(parts: Lab, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    settings = lab_configuration(parts)
    done = run(tmp_path, settings, "--only", "clamav", "--only", "backends", "--only", "disk")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "clamav EICAR" in done.stdout
    assert "resolver" not in done.stdout

    done = run(tmp_path, settings, "--only", "clamav", "--nagios")
    assert done.returncode == 0
    assert done.stdout.startswith("MAILGUARD OK - 5 ok | 'clamd_queue'=0 'signature_age'=")
    assert done.stdout.count("\n") == 1

    down = lab_configuration(parts, clamav={"address": "unix:/nonexistent/clamd.ctl"})
    done = run(tmp_path, down, "--only", "clamav", "--only", "disk")
    assert done.returncode == 69
    assert "→ is clamd running" in done.stdout
    done = run(tmp_path, down, "--only", "clamav", "--only", "disk", "--nagios")
    assert done.returncode == 2
    assert done.stdout.startswith("MAILGUARD CRITICAL - ")
    assert "clamav unix:/nonexistent/clamd.ctl: does not answer PING" in done.stdout
