"""What another user may do with files, found out by being that user in a process of its own.

Modes alone do not tell: there are groups, ACLs, capabilities and folders on the way. Blocking; root alone can ask.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ASK: Final = """\
import json, os, sys
asked = json.load(sys.stdin)
print(json.dumps([path for path, mode in asked.items() if not os.access(path, mode)]))
"""


class CannotAsk(Exception):
    """It cannot be found out; the text says why."""


def denied(user: str, wanted: Mapping[Path, int], seconds: float) -> list[Path]:
    """Those of ``wanted`` with which ``user`` may not do what stands behind them (``os.R_OK`` and the like).

    Raises:
        CannotAsk: there is no such user, or no process of his can be had within ``seconds``.
    """
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise CannotAsk(f"there is no user {user}") from None
    asked = json.dumps({str(path): mode for path, mode in wanted.items()})
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter
            [sys.executable, "-I", "-c", _ASK],
            input=asked,
            capture_output=True,
            text=True,
            timeout=seconds,
            user=found.pw_uid,
            group=found.pw_gid,
            extra_groups=os.getgrouplist(user, found.pw_gid),
            cwd="/",
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotAsk(f"no process of the user {user} could be asked: {error}") from error
    return [Path(path) for path in json.loads(done.stdout)]
