"""The shipped seed, and what a test has otherwise: no list is asked on the internet, clamd has one signature.

The backend here takes whatever it is given, which a real one must not; so it is not probed, nor told of clients.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.guest.layout import GUEST
from tests.ha.layout import ROOT

EICAR: Final = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
_SETTINGS = "/etc/mailguard/mailguard.yaml"
_EMULATED = "[Service]\nTimeoutStartSec=infinity\nWatchdogSec=0\n"
"""An emulated processor on a busy machine is slower than the unit's patience; the run has a bound of its own."""
_WITHOUT_FRESHCLAM = "[Unit]\nConditionPathExistsGlob=\n"


def make(folder: Path) -> Path:
    """The volume, made as ``deploy/guest/seed.sh`` does."""
    shipped = GUEST / "seed"
    user_data: dict[str, Any] = yaml.safe_load((shipped / "user-data").read_text())
    files = {each["path"]: each["content"] for each in user_data["write_files"]}
    settings = yaml.safe_load(files[_SETTINGS])
    assert [*settings["backends"][0]] == ["address"]
    settings["backends"][0] |= {"client_identity": "none", "relay_probe": False}
    settings["processes"] = {"start_timeout": 900}  # as _EMULATED
    files |= {
        _SETTINGS: yaml.safe_dump(settings),
        "/etc/mailguard/policy.yaml": (ROOT / "policies/observe.yaml").read_text(),
        "/etc/unbound/unbound.conf.d/no-internet.conf": 'server:\n  local-zone: "." static\n',
        "/etc/systemd/system/mailguard.service.d/emulated.conf": _EMULATED,
        "/var/lib/clamav/test.ndb": f"Eicar-Test-Signature:0:*:{EICAR.encode().hex()}\n",
        "/etc/systemd/system/clamav-daemon.service.d/test.conf": _WITHOUT_FRESHCLAM,
        "/etc/systemd/system/clamav-daemon.socket.d/test.conf": _WITHOUT_FRESHCLAM,
    }
    user_data["write_files"] = [{"path": path, "content": content} for path, content in files.items()]
    user_data["runcmd"] += [
        ["systemctl", "daemon-reload"],
        ["systemctl", "reload-or-restart", "unbound.service"],
        ["systemctl", "start", "--no-block", "clamav-daemon.service"],
    ]
    plain = folder / "seed"
    plain.mkdir()
    (plain / "user-data").write_text("#cloud-config\n" + yaml.safe_dump(user_data))
    for name in ("meta-data", "network-config"):
        (plain / name).write_text((shipped / name).read_text())
    made = folder / "seed.iso"
    subprocess.run(["sh", str(GUEST / "seed.sh"), str(plain), str(made)], check=True, timeout=60)
    return made
