"""Whether processes are there that this one did not start."""

from __future__ import annotations

import os


def exists(pid: int) -> bool:
    """Whether there is a process ``pid``, one that has ended and is not reaped included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
