"""The shipped seed, and what a test has otherwise: no list is asked on the internet, clamd has one signature.

The backend here takes whatever it is given, which a real one must not; so it is not probed, nor told of clients.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.guest.layout import GUEST
from tests.ha.layout import ROOT

EICAR: Final = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
_SETTINGS = "/etc/mailguard/mailguard.yaml"
_PATIENT = """\
cd /etc/systemd/system && mkdir -p mailguard.service.d
printf '[Service]\\nTimeoutStartSec=infinity\\nWatchdogSec=0\\n' >mailguard.service.d/emulated.conf
systemctl daemon-reload
"""
"""An emulated processor on a busy machine is slower than the unit's patience; the run has a bound of its own. Said at
the beginning of the first boot: files of the seed come too late for systemd, which has read its own by then."""
_WITHOUT_FRESHCLAM = "[Unit]\nConditionPathExistsGlob=\n"
_ALTERNATIVE = re.compile(r"( +)#(\w+):(.*)")


def make(folder: Path, *, neighbours: bool = False) -> str:
    """The volume, made as ``deploy/guest/seed.sh`` does; in QEMU's words.

    Args:
        folder: for it.
        neighbours: clamd and spamd are, as the seed has it behind a ``#``, and the policy is the package's; else the
            policy is ``observe.yaml``.
    """
    texts = {name: (GUEST / "seed" / name).read_text() for name in ("meta-data", "user-data", "network-config")}
    if neighbours:
        texts = {name: alternative(text) for name, text in texts.items()}
    user_data: dict[str, Any] = yaml.safe_load(texts["user-data"])
    files = {each["path"]: each["content"] for each in user_data["write_files"]}
    settings = yaml.safe_load(files[_SETTINGS])
    assert [*settings["backends"][0]] == ["address"]
    settings["backends"][0] |= {"client_identity": "none", "relay_probe": False}
    settings["processes"] = {"start_timeout": 900}  # as _PATIENT
    files |= {
        _SETTINGS: yaml.safe_dump(settings),
        "/etc/unbound/unbound.conf.d/no-internet.conf": 'server:\n  local-zone: "." static\n',
        **({} if neighbours else _inside()),
    }
    user_data["write_files"] = [{"path": path, "content": content} for path, content in files.items()]
    user_data["bootcmd"] = [["sh", "-c", _PATIENT]]
    user_data["runcmd"] += [
        ["systemctl", "daemon-reload"],
        ["systemctl", "reload-or-restart", "unbound.service"],
        *([] if neighbours else [["systemctl", "start", "--no-block", "clamav-daemon.service"]]),
    ]
    plain = folder / "seed"
    plain.mkdir()
    texts["user-data"] = "#cloud-config\n" + yaml.safe_dump(user_data)
    for name, text in texts.items():
        (plain / name).write_text(text)
    made = folder / "seed.iso"
    subprocess.run(["sh", str(GUEST / "seed.sh"), str(plain), str(made)], check=True, timeout=60)
    return f"file={made},if=ide,media=cdrom,format=raw,readonly=on"


def alternative(shipped: str) -> str:
    """A file of the seed in which each key that stands behind a bare ``#`` is in force, in its namesake's place."""
    lines: list[str] = []
    for line in shipped.splitlines():
        if found := _ALTERNATIVE.fullmatch(line):
            indented = f"{found[1]}{found[2]}:"
            lines = [each for each in lines if not each.startswith(indented)] + [f"{indented}{found[3]}"]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _inside() -> dict[str, str]:
    """Files by path: one signature for the guest's own clamd, and a policy that only watches."""
    return {
        "/etc/mailguard/policy.yaml": (ROOT / "policies/observe.yaml").read_text(),
        "/var/lib/clamav/test.ndb": f"Eicar-Test-Signature:0:*:{EICAR.encode().hex()}\n",
        "/etc/systemd/system/clamav-daemon.service.d/test.conf": _WITHOUT_FRESHCLAM,
        "/etc/systemd/system/clamav-daemon.socket.d/test.conf": _WITHOUT_FRESHCLAM,
    }
