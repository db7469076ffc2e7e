"""The files of ``deploy/pacemaker``, read by the very programs that they are for; no cluster runs.

The agent's actions are run as Pacemaker does, one process each, on a real mailguard; what has to be root or to become
``mx1`` is done in namespaces of its own.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from mailguard.lab.folders import free_port
from mailguard.lab.guardian import session_members
from mailguard.lab.process import wait_until
from tests.bench.subjects import small_policy
from tests.ha.layout import DEPLOYED, PLACES

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(os.geteuid()), reason="the tools of a cluster want root"),
]

AGENT = DEPLOYED / "mailguard"
SUCCESS, GENERIC, ARGS, UNIMPLEMENTED, PERMISSIONS, INSTALLED, CONFIGURED, NOT_RUNNING = range(8)
BIND_SERVICE_ALONE = f"{1 << 10:016x}"  # CAP_NET_BIND_SERVICE, linux/capability.h
NODES = "".join(f"node {number}: {place.name}\n" for number, place in enumerate(PLACES, 1))
TIMEOUT = 180.0
AS_MX1 = (
    "hostname mx1 && ip link set lo up && ip addr add 198.51.100.11/32 dev lo && ip addr add 192.0.2.11/32 dev lo "
    '&& exec "$@"'
)
"""A shell's words before a command that wants to be on that node."""


def said_by(*command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stdout.decode(errors="replace")


class Resource:
    """One resource of the agent's kind: ``act`` runs an action; parameters may be changed in ``parameters``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder
        """Where the agent keeps what it knows, HA_RSCTMP."""
        self.configuration = folder / "mailguard.yaml"
        self.policy = folder / "policy.yaml"
        self.settings = {
            "hostname": "mx.example.com",
            "relay_domains": ["example.com"],
            "listen": [{"address": f"127.0.0.1:{free_port()}"}],
            "backends": [{"address": f"127.0.0.1:{free_port()}"}],
            "dns": {"servers": [f"127.0.0.1:{free_port()}"]},
            "policy": "policy.yaml",
            "run_dir": str(folder / "run"),
            "admin": {"address": f"127.0.0.1:{free_port()}"},
            "workers": 1,
        }
        self.policy.write_text(yaml.safe_dump(small_policy(names=True), sort_keys=False))
        self.configuration.write_text(yaml.safe_dump(self.settings))
        self.parameters = {
            "config": str(self.configuration),
            "binary": str(Path(sys.executable).with_name("mailguard")),
            "log": str(folder / "log"),
            "drain": "5",
        }

    def act(self, action: str, level: str = "0", timeout: float = 90.0) -> tuple[int, str]:
        """Exit status and output of an action that has ``timeout`` seconds."""
        parameters = {f"OCF_RESKEY_{name}": value for name, value in self.parameters.items()}
        environment = {
            "OCF_ROOT": "/usr/lib/ocf",
            "OCF_RESOURCE_INSTANCE": "mailguard",
            "OCF_CHECK_LEVEL": level,
            "OCF_RESKEY_CRM_meta_timeout": str(round(timeout * 1000)),
            "HA_RSCTMP": str(self.state),
        }
        return said_by(str(AGENT), action, environment=environment | parameters)

    @property
    def pid_file(self) -> Path:
        """What the agent knows its supervisor by: pid, and when it began."""
        return self.folder / "mailguard-mailguard.pid"

    def pid(self) -> int:
        """The supervisor."""
        return int(self.pid_file.read_text().split()[0])


@pytest.fixture
def resource(tmp_path: Path) -> Iterator[Resource]:
    made = Resource(tmp_path)
    yield made
    made.act("stop")


def test_the_agent_passes_ocf_tester(resource: Resource) -> None:
    patient = {"CRM_meta_timeout": "90000"}  # milliseconds: the tester's own of 20 s leaves a start six seconds
    given = [word for name, value in {**resource.parameters, **patient}.items() for word in ("-o", f"{name}={value}")]
    Path("/run/resource-agents").mkdir(exist_ok=True)
    status, said = said_by("ocf-tester", "-n", f"test-{secrets.token_hex(8)}", *given, str(AGENT))
    assert (status, said.splitlines()[-1]) == (0, f"{AGENT} passed all tests"), said


def test_shellcheck_finds_nothing() -> None:
    assert said_by("shellcheck", "--shell=sh", str(AGENT)) == (0, "")


def test_from_start_to_stop(resource: Resource) -> None:
    resource.parameters["greeting"] = resource.settings["listen"][0]["address"]  # type: ignore[index]
    assert resource.act("monitor") == (NOT_RUNNING, "")
    assert resource.act("validate-all")[0] == SUCCESS
    status, said = resource.act("start")
    assert status == SUCCESS, said
    pid = resource.pid()
    assert resource.act("start")[0] == SUCCESS
    assert resource.pid() == pid
    # nobody answers at the backend or the resolver, and yet there is nothing to fail over for
    assert [resource.act("monitor", level)[0] for level in ("0", "10")] == [SUCCESS, SUCCESS]
    assert resource.act("reload") == (SUCCESS, "")
    assert resource.act("reload-agent")[0] == SUCCESS
    resource.policy.write_text("rules: 5\n")
    assert resource.act("reload")[0] == GENERIC
    assert resource.act("monitor")[0] == SUCCESS
    assert resource.act("stop")[0] == SUCCESS
    assert not Path(f"/proc/{pid}").exists()
    assert resource.act("monitor") == (NOT_RUNNING, "")
    assert resource.act("stop")[0] == SUCCESS


def test_the_parameter_user_is_whom_it_runs_as_with_the_right_to_low_ports_and_no_other() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        resource = Resource(folder)
        for path in (folder, resource.configuration, resource.policy):
            shutil.chown(path, "nobody")
        resource.settings["listen"] = [{"address": "127.0.0.25:25"}]
        resource.configuration.write_text(yaml.safe_dump(resource.settings))
        resource.parameters |= {"user": "nobody", "greeting": "127.0.0.25:25"}
        try:
            status, said = resource.act("start")
            assert status == SUCCESS, said
            about = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{resource.pid()}/status").read_text().splitlines()
            )
            assert set(about["Uid"].split()) == {str(pwd.getpwnam("nobody").pw_uid)}
            assert {about[kind].strip() for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {BIND_SERVICE_ALONE}
            assert resource.act("monitor", "10")[0] == SUCCESS
        finally:
            assert resource.act("stop")[0] == SUCCESS
        resource.configuration.chmod(0o600)
        shutil.chown(resource.configuration, "root")
        status, said = resource.act("start")
        assert (status, "cannot be read by nobody" in said) == (PERMISSIONS, True), said


def test_nothing_is_left_of_a_killed_supervisor_once_it_is_stopped(resource: Resource) -> None:
    assert resource.act("start")[0] == SUCCESS
    pid = resource.pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in session_members(pid), "the supervisor is dead")
    assert resource.act("monitor")[0] == NOT_RUNNING
    assert resource.act("stop")[0] == SUCCESS
    assert said_by("pgrep", "-s", str(pid), "-f", "mailguard.children") == (1, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drain", "soon"),
        ("config", "mailguard.yaml"),
        ("binary", "mailguard"),
        ("log", "log"),
        ("greeting", "25"),
        ("greeting", "mx:2x5"),
    ],
)
def test_parameters_that_are_wrong_everywhere(resource: Resource, name: str, value: str) -> None:
    resource.parameters[name] = value
    status, said = resource.act("start")
    assert status == CONFIGURED
    assert name in said


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("binary", "/nonexistent/mailguard", INSTALLED),
        ("config", "/nonexistent/mailguard.yaml", INSTALLED),
        ("user", "nobody-of-that-name", INSTALLED),
        ("user", "--help", INSTALLED),
        ("log", "/nonexistent/log", PERMISSIONS),
    ],
)
def test_what_is_missing_on_this_node_alone(resource: Resource, name: str, value: str, status: int) -> None:
    resource.parameters[name] = value
    assert resource.act("start")[0] == status
    assert resource.act("validate-all")[0] == status


def test_settings_that_are_wrong_on_this_node_alone(resource: Resource) -> None:
    resource.configuration.write_text(yaml.safe_dump(resource.settings | {"hostnam": "mx"}))
    for action in ("start", "validate-all"):
        status, said = resource.act(action)
        assert status == ARGS
        assert "hostnam" in said
    assert resource.act("monitor")[0] == NOT_RUNNING


def test_a_stranger_in_its_place_is_not_taken_for_it(resource: Resource) -> None:
    assert resource.act("start")[0] == SUCCESS
    ours = resource.pid_file.read_text()
    resource.pid_file.write_text(f"{os.getpid()} 1\n")  # that number, but of a process that began at another time
    assert resource.act("monitor")[0] == NOT_RUNNING
    resource.pid_file.write_text(ours)


LEADER_OF_MANY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(int(sys.argv[1])):
    if not os.fork():
        time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def session_of(processes: int) -> Iterator[subprocess.Popen[bytes]]:
    """A session whose processes have the word mailguard in their command lines, and do not heed SIGTERM."""
    words = [sys.executable, "-c", LEADER_OF_MANY, str(processes - 1), "mailguard"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as leader:
        try:
            assert leader.stdout is not None
            assert leader.stdout.readline() == b"ready\n"
            yield leader
        finally:
            with suppress(ProcessLookupError):
                os.killpg(leader.pid, signal.SIGKILL)


def began(pid: int) -> str:
    """When the kernel started a process, as the agent keeps it."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[19]


def test_a_stop_leaves_a_stranger_of_the_same_number_alone(resource: Resource) -> None:
    with session_of(2) as leader:
        resource.pid_file.write_text(f"{leader.pid} 1\n")
        assert resource.act("stop", timeout=20.0) == (SUCCESS, "")
        assert leader.poll() is None


@pytest.mark.parametrize("text", ["", "\n", "0 0\n", "-1 5\n", "many words\n", "../1 1\n"])
def test_a_pid_file_without_a_number_is_nobodys(resource: Resource, text: str) -> None:
    resource.pid_file.write_text(text)
    assert resource.act("monitor") == (NOT_RUNNING, "")
    assert resource.act("stop", timeout=20.0) == (SUCCESS, "")


def test_a_stop_ends_within_its_timeout_however_long_a_look_takes(resource: Resource) -> None:
    resource.parameters["drain"] = "60"
    with session_of(50) as leader:
        resource.pid_file.write_text(f"{leader.pid} {began(leader.pid)}\n")
        reaper = threading.Thread(target=leader.wait)
        reaper.start()
        before = time.monotonic()
        status, said = resource.act("stop", timeout=20.0)
        assert (status, time.monotonic() - before < 20.0) == (SUCCESS, True), said
        reaper.join()


def test_a_stop_after_which_nothing_runs_succeeds_though_its_files_stay(resource: Resource) -> None:
    resource.pid_file.mkdir()  # rm -f cannot remove it
    assert resource.act("stop", timeout=20.0)[0] == SUCCESS


def test_zeros_before_the_seconds_of_a_drain_fail_no_stop(resource: Resource) -> None:
    resource.parameters["drain"] = "08"
    assert resource.act("start")[0] == SUCCESS
    assert resource.act("stop")[0] == SUCCESS
    assert not resource.pid_file.exists()


def test_what_could_not_be_stopped_is_not_launched(resource: Resource) -> None:
    resource.state = resource.folder / "nonexistent"
    status, said = resource.act("start")
    assert (status, "cannot be written" in said) == (PERMISSIONS, True), said
    assert said_by("pgrep", "-f", f"serve --config {resource.configuration}")[0] == 1


def test_of_two_starts_at_once_one_launches(resource: Resource) -> None:
    with ThreadPoolExecutor(2) as both:
        statuses = [done.result()[0] for done in [both.submit(resource.act, "start") for _ in range(2)]]
    assert sorted(statuses) == [SUCCESS, GENERIC]
    assert resource.act("monitor") == (SUCCESS, "")


def test_an_unknown_action(resource: Resource) -> None:
    assert resource.act("dance")[0] == UNIMPLEMENTED


# --- the cluster's configuration ------------------------------------------------------------------------------------


@pytest.fixture(params=["service", "guest"])
def cib(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A CIB with the shipped configuration, all nodes up, and what the cluster would then have done."""
    shutil.copy(DEPLOYED / f"{request.param}.crm", tmp_path)
    shutil.copy(DEPLOYED / "fencing.crm", tmp_path)
    (tmp_path / "nodes.crm").write_text(NODES)
    made, settled = tmp_path / "cib.xml", tmp_path / "settled.xml"
    made.write_text(said_by("cibadmin", "--empty")[1])
    for name in ("nodes", "fencing", request.param):
        status, said = said_by(
            "crm", "-F", "configure", "load", "update", f"{tmp_path}/{name}.crm", environment={"CIB_file": str(made)}
        )
        assert status == 0, said
    settle(made, settled, *(word for place in PLACES for word in ("--node-up", place.name)), "--quorum=1")
    if request.param == "guest":
        prefer_disks(settled)
        settle(settled, settled)
    return settled


def settle(before: Path, after: Path, *changes: str) -> None:
    """Have the cluster of one CIB do all that it would, and keep what is then."""
    status, said = said_by("crm_simulate", "-x", str(before), *changes, "-S", "-O", f"{after}.new")
    assert status == 0, said
    Path(f"{after}.new").rename(after)


def prefer_disks(cib: Path) -> None:
    """Say what DRBD's agent says of a disk that is as it should be: without it none is promoted."""
    for node in ("mx1", "mx2"):
        score = ["--name", "master-guest-disk", "--update", "10000", "--lifetime", "reboot"]
        status, said = said_by("crm_attribute", "--node", node, *score, environment={"CIB_file": str(cib)})
        assert status == 0, said


def where(said: str) -> dict[str, str]:
    """Each primitive that runs, and on which node, as crm_simulate shows it at the end."""
    lines = said[said.rindex("Revised Cluster Status") :].splitlines() if "Revised" in said else said.splitlines()
    shown = (line.replace("*", " ").split() for line in lines if "):" in line)
    return {words[0]: words[-1] for words in shown if "Started" in words}


def test_crm_verify_finds_nothing(cib: Path) -> None:
    assert said_by("crm_verify", "-V", "-x", str(cib)) == (0, "")


def test_after_the_loss_of_a_node_the_other_serves_and_never_the_tie_breaker(cib: Path) -> None:
    main = "guest" if "guest-disks" in cib.read_text() else "mailguard"
    before = where(said_by("crm_simulate", "-x", str(cib), "-S")[1])
    assert before[main] in ("mx1", "mx2")
    after = said_by("crm_simulate", "-x", str(cib), "--node-fail", before[main], "-S")[1]
    assert f"Fencing {before[main]}" in after
    assert where(after)[main] == ({"mx1", "mx2"} - {before[main]}).pop()
    both = said_by("crm_simulate", "-x", str(cib), "--node-fail", "mx1", "--node-fail", "mx2", "-S", "--quorum=1")[1]
    assert main not in where(both)


def test_without_a_quorum_nothing_runs(cib: Path) -> None:
    main = "guest" if "guest-disks" in cib.read_text() else "mailguard"
    assert main in where(said_by("crm_simulate", "-x", str(cib), "-S")[1])
    cib.write_text(cib.read_text().replace('have-quorum="1"', 'have-quorum="0"'))
    assert main not in where(said_by("crm_simulate", "-x", str(cib), "-S")[1])


def test_drbd_8_4_reads_the_resource(tmp_path: Path) -> None:
    dump = ["/lib/drbd/drbdadm-84", "-c", str(DEPLOYED / "guest.res"), "dump", "guest"]
    status, said = said_by("unshare", "--uts", "--net", "sh", "-c", AS_MX1, "sh", *dump)
    assert status == 0, said
    assert "fencing          resource-and-stonith;" in said
    wrong = tmp_path / "wrong.res"
    wrong.write_text((DEPLOYED / "guest.res").read_text().replace("protocol C", "protocl C"))
    dump[2] = str(wrong)
    assert said_by("unshare", "--uts", "--net", "sh", "-c", AS_MX1, "sh", *dump)[0] != 0


def test_corosync_reads_its_configuration(tmp_path: Path) -> None:
    key = tmp_path / "authkey"
    key.write_bytes(os.urandom(256))
    key.chmod(0o400)
    file = tmp_path / "corosync.conf"
    text = (DEPLOYED / "corosync.conf").read_text()
    file.write_text(text.replace("version: 2\n", f"version: 2\n  keyfile: {key}\n", 1))
    examined = ["unshare", "--uts", "--net", "sh", "-c", AS_MX1, "sh", "corosync", "-t", "-c", str(file)]
    status, said = said_by(*examined)
    assert status == 0, said
    file.write_text(file.read_text().replace("nodeid: 2", "nodeid: 1"))
    assert said_by(*examined)[0] != 0
