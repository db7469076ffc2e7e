"""What the Debian package and the Puppet module say is what mailguard's own declarations say."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from mailguard import __version__
from mailguard.cli.descriptors import connections_within
from mailguard.config import Limits, Listener, Processes, Settings
from mailguard.files import read_settings
from mailguard.positions import Problems

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "deploy/debian"
SETTINGS = DEBIAN / "conf/mailguard.yaml"
SCRIPTS = ["postinst", "prerm", "postrm"]


def directives(unit: str) -> dict[str, list[str]]:
    """Each directive of a unit with its values, in their order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", (DEBIAN / unit).read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    return directives("mailguard.service")


def seconds(service: dict[str, list[str]], name: str) -> int:
    return int(service[name][0])


def test_the_versions_are_one() -> None:
    newest = (DEBIAN / "changelog").read_text().split("\n", 1)[0]
    assert re.match(rf"mailguard \({re.escape(__version__)}-\d+\) ", newest)
    assert json.loads((ROOT / "deploy/puppet/mailguard/metadata.json").read_text())["version"] == __version__


def test_systemd_waits_longer_than_a_drain_takes(service: dict[str, list[str]]) -> None:
    limits, processes = Limits(), Processes()
    assert seconds(service, "TimeoutStopSec") > limits.drain_timeout + limits.close_timeout + processes.stop_grace


def test_systemd_waits_longer_than_start_and_reload_take(service: dict[str, list[str]]) -> None:
    assert seconds(service, "TimeoutStartSec") > Limits().policy_timeout + Processes().start_timeout


def test_the_unit_gives_what_the_defaults_need(service: dict[str, list[str]]) -> None:
    settings = read_settings(ROOT / "docs/policy/mailguard.yaml")[1]
    fitting = connections_within(settings, seconds(service, "LimitNOFILE"))
    assert fitting >= settings.limits.max_connections == Limits().max_connections
    bound = Limits().max_connections * Limits().max_message_memory
    assert int(service["MemoryMax"][0].removesuffix("G")) << 30 > bound
    assert service["OOMPolicy"] == ["continue"]  # the supervisor replaces a worker; the others go on


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("User", "mailguard"),
        ("KillMode", "control-group"),
        ("ExecStart", "/usr/bin/mailguard serve"),
        ("ExecReload", "/usr/bin/mailguard reload"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("ProtectProc", "invisible"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
        ("RestrictNamespaces", "yes"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallErrorNumber", "EPERM"),
        ("RestartPreventExitStatus", "64 78"),
    ],
)
def test_the_sandbox_stands(service: dict[str, list[str]], name: str, value: str) -> None:
    assert service[name] == [value]


def test_no_path_is_mounted_apart_and_so_left_writable(service: dict[str, list[str]]) -> None:
    assert not {"ExecPaths", "NoExecPaths"} & set(service)  # systemd 252: ProtectSystem= leaves out what these name


def test_system_calls_are_those_of_a_service_without_privileges(service: dict[str, list[str]]) -> None:
    allowed = "@chown setrlimit sched_setaffinity"
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged @resources", allowed]


def test_a_service_is_neither_enabled_nor_started_by_its_installation() -> None:
    rules = (DEBIAN / "rules").read_text()
    assert "dh_installsystemd --no-enable --no-start --no-stop-on-upgrade --no-restart-after-upgrade" in rules


def test_settings_as_shipped_lack_three_and_are_right_beside() -> None:
    with pytest.raises(Problems) as found:
        read_settings(SETTINGS)
    assert sorted(problem.message for problem in found.value.problems) == [
        "`backends` is missing",
        "`hostname` is missing",
        "`relay_domains` is missing",
    ]


def test_settings_with_every_example_in_force_are_right(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=\w+:|  \S)", "", SETTINGS.read_text(), flags=re.MULTILINE)
    path = tmp_path / "mailguard.yaml"
    path.write_text(text)
    _, settings = read_settings(path)
    given = settings.model_fields_set
    assert {"hostname", "relay_domains", "backends", "dns", "clamav", "spamassassin", "tls", "own_relays"} <= given
    assert settings.run_dir == Settings.model_fields["run_dir"].default == Path("/run/mailguard")


def test_the_socket_unit_listens_where_the_settings_do() -> None:
    listen = re.findall(r'^  - \{address: "(.*)"\}$', SETTINGS.read_text(), re.MULTILINE)
    assert [Listener(address=address).address for address in listen] == directives("mailguard.socket")["ListenStream"]


def test_what_is_installed_is_there() -> None:
    lines = [
        *(DEBIAN / "mailguard.install").read_text().split("\n"),
        *(DEBIAN / "mailguard.manpages").read_text().split(),
    ]
    for line in filter(None, lines):
        source = line.split()[0]
        folder, pattern = (DEBIAN, source.removeprefix("debian/")) if source.startswith("debian/") else (ROOT, source)
        assert any(folder.glob(pattern)), source


def test_what_the_laboratory_takes_from_the_installed_package_is_in_it() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "mailguard").rglob("*.py"))
    wanted = set(re.findall(r'shipped\("deploy/(\w+)', sources))
    assert wanted and all(f'"deploy/{name}" = "mailguard/share/deploy/{name}"' in project for name in wanted)


@pytest.mark.parametrize("script", SCRIPTS)
def test_maintainer_scripts_are_shell_and_end_well_when_asked_for_something_else(script: str, tmp_path: Path) -> None:
    path = tmp_path / script
    path.write_text((DEBIAN / f"mailguard.{script}").read_text().replace("#DEBHELPER#", ""))
    path.write_text(path.read_text().replace("py3clean", "true"))
    subprocess.run(["sh", "-n", path], check=True, timeout=10)
    subprocess.run(["sh", path, "abort-upgrade", __version__], check=True, timeout=10)
