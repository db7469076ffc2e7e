"""The checks for Nagios and Icinga: both take their samples, and the command tells how the service is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mailguard.lab import Lab
from mailguard.lab.folders import group_name, user_name
from mailguard.lab.process import find_program
from mailguard.lab.settings import lab_configuration

ICINGA = Path(__file__).parents[2] / "deploy" / "icinga"

MAIN = """\
cfg_file={sample}
cfg_file={around}
log_file={folder}/nagios.log
object_cache_file={folder}/objects.cache
status_file={folder}/status.dat
temp_file={folder}/nagios.tmp
check_result_path={folder}
lock_file={folder}/nagios.lock
nagios_user={user}
nagios_group={group}
illegal_macro_output_chars=`~$&|'"<>
"""
AROUND = """\
define host {
    host_name localhost
    address 127.0.0.1
    max_check_attempts 3
    check_period 24x7
    contact_groups admins
}
define timeperiod {
    timeperiod_name 24x7
    alias always
    monday 00:00-24:00
}
define contactgroup {
    contactgroup_name admins
    alias admins
    members admin
}
define contact {
    contact_name admin
    host_notifications_enabled 0
    service_notifications_enabled 0
    host_notification_period 24x7
    service_notification_period 24x7
    host_notification_options n
    service_notification_options n
    host_notification_commands check_mailguard
    service_notification_commands check_mailguard
}
"""


def verified(folder: Path, sample: str) -> subprocess.CompletedProcess[str]:
    """What ``nagios4 -v`` says of a configuration with ``sample``."""
    sample_file, around, main = folder / "mailguard.cfg", folder / "around.cfg", folder / "nagios.cfg"
    sample_file.write_text(sample)
    around.write_text(AROUND)
    own = {"user": user_name("root"), "group": group_name("root")}
    main.write_text(MAIN.format(folder=folder, sample=sample_file, around=around, **own))
    command = [find_program("nagios4", "nagios4-core"), "-v", str(main)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_nagios_takes_the_sample(tmp_path: Path) -> None:
    done = verified(tmp_path, (ICINGA / "mailguard.cfg").read_text())
    assert done.returncode == 0, done.stdout
    assert re.search(r"Checked 1 services?\.", done.stdout)
    assert re.search(r"Total Errors: +0$", done.stdout, re.MULTILINE)


def test_a_command_that_is_not_there_is_found(tmp_path: Path) -> None:
    done = verified(tmp_path, (ICINGA / "mailguard.cfg").read_text().replace("check_mailguard!50", "check_nothing!50"))
    assert done.returncode != 0
    assert "check_nothing" in done.stdout


def command_line() -> list[str]:
    """The command of the sample, as it is run on the node, without sudo."""
    text = (ICINGA / "mailguard.cfg").read_text()
    (line,) = re.findall(r"command_name +check_mailguard\n +command_line +(.+)", text)
    words = shlex.split(line)
    assert words[:4] == ["/usr/bin/sudo", "-n", "-u", "mailguard"]
    return words[4:]


def icinga_words() -> list[str]:
    """Program and options that the command for Icinga 2 names."""
    text = (ICINGA / "mailguard.conf").read_text()
    (array,) = re.findall(r"command = \[ (.+) \]", text)
    return re.findall(r'"([^"]+)"', array)[4:] + re.findall(r'^    "(--\w+)" = \{', text, re.MULTILINE)


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_of_the_sample_tells_how_the_service_is(own_lab: Lab, tmp_path: Path, broken: bool) -> None:
    configuration = tmp_path / "mailguard.yaml"
    own_lab.clamd(dated=time.time())
    configuration.write_text(yaml.safe_dump(lab_configuration(own_lab)))
    if broken:
        own_lab.clamd().stop()
    given = {"/usr/bin/mailguard": f"{sys.executable} -m mailguard", "$ARG1$": "20"}
    words = [given.get(word, word) for word in command_line()]
    words[-1] = str(configuration)
    only = ["--only", "clamav", "--only", "backends"]
    done = subprocess.run(
        [*words[0].split(), *words[1:], *only], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split(" -", 1)[0]) == (
        (2, "MAILGUARD CRITICAL") if broken else (0, "MAILGUARD OK")
    )


def test_both_samples_call_the_same_command_with_options_that_exist() -> None:
    nagios, icinga = command_line(), icinga_words()
    assert nagios[:3] == icinga[:3] == ["/usr/bin/mailguard", "doctor", "--nagios"]
    told = subprocess.run(
        [sys.executable, "-m", "mailguard", "doctor", "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    options = {word for word in [*nagios, *icinga] if word.startswith("--")}
    assert {"--timeout", "--config", "--only"} <= options
    assert [option for option in options if option not in told] == []


AROUND_ICINGA = """\
const NodeName = "master"
include <itl>
include "{sample}"
object CheckerComponent "checker" {{}}
object Endpoint "master" {{}}
object Zone "master" {{ endpoints = [ "master" ] }}
object Endpoint "mx2" {{}}
object Zone "mx2" {{ endpoints = [ "mx2" ]; parent = "master" }}
template Host "node" {{ check_command = "mailguard"; zone = "master"; vars.mailguard = true }}
object Host "mx1" {{ import "node" }}
object Host "mx2" {{ import "node"; vars.agent_endpoint = "mx2" }}
object Host "other" {{ check_command = "mailguard" }}
"""
"""A node that is checked from here, one by its own agent, and a host that is no mail server."""


def icinga_validated(folder: Path, sample: str) -> subprocess.CompletedProcess[str]:
    """What ``icinga2 daemon -C`` says of a configuration with ``sample``."""
    sample_file, main = folder / "mailguard.conf", folder / "icinga2.conf"
    sample_file.write_text(sample)
    main.write_text(AROUND_ICINGA.format(sample=sample_file))
    own = {"RunAsUser": user_name("root"), "RunAsGroup": group_name("root")}
    for name in ("DataDir", "LogDir", "CacheDir", "SpoolDir", "InitRunDir"):
        own[name] = str(folder / name)
        (folder / name).mkdir(exist_ok=True)
    defined = [word for name, value in own.items() for word in ("-D", f"{name}={value}")]
    command = [find_program("icinga2", "icinga2-bin"), "daemon", "-C", "-c", str(main), *defined]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_icinga_2_takes_the_sample(tmp_path: Path) -> None:
    done = icinga_validated(tmp_path, (ICINGA / "mailguard.conf").read_text())
    assert done.returncode == 0, done.stdout
    assert "Instantiated 3 Hosts." in done.stdout
    assert "Instantiated 2 Services." in done.stdout
    assert "warning" not in done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('check_command = "mailguard"', 'check_command = "nothing"', "'nothing' of type 'CheckCommand' does not exist"),
        ("max_check_attempts", "most_check_attempts", "Attribute 'most_check_attempts' does not exist"),
        ("  assign where host.vars.mailguard\n", "", "'apply' is missing 'assign'"),
    ],
)
def test_icinga_2_finds_what_is_wrong(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    done = icinga_validated(tmp_path, (ICINGA / "mailguard.conf").read_text().replace(right, wrong))
    assert done.returncode != 0
    assert told in done.stdout
