"""The exit statuses of all commands (sysexits.h), and what each means here: one place, from which pages are made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

STATUSES: Final[Mapping[int, tuple[str, str]]] = {
    os.EX_OK: ("EX_OK", "all is well, or what was asked for was done"),
    1: (
        "",
        "what was looked for is not so: a case failed, a page is out of date, the demo came out otherwise; "
        "`replay`: mail would fare otherwise",
    ),
    os.EX_USAGE: ("EX_USAGE", "the command line is wrong"),
    os.EX_DATAERR: ("EX_DATAERR", "a file that was named is not what it should be"),
    os.EX_NOINPUT: ("EX_NOINPUT", "a file, a folder or a journal cannot be read"),
    os.EX_UNAVAILABLE: ("EX_UNAVAILABLE", "something that is needed does not work, or is not there"),
    os.EX_SOFTWARE: ("EX_SOFTWARE", "a bug: a process died while it started"),
    os.EX_OSERR: ("EX_OSERR", "the system has no means for it: a process cannot be started"),
    os.EX_CANTCREAT: ("EX_CANTCREAT", "a file cannot be written"),
    os.EX_TEMPFAIL: ("EX_TEMPFAIL", "not now: try again"),
    os.EX_CONFIG: ("EX_CONFIG", "settings, policy or certificate must be changed; no waiting helps"),
    130: ("", "interrupted by Ctrl-C"),
}
"""Name and meaning by number. ``doctor --nagios`` has its own four: 0, 1, 2, 3."""
