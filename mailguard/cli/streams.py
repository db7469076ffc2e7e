"""Standard streams that are closed: one of 0, 1 and 2 would become the next socket or file.

Whoever believes it a standard stream would write into that: each is opened, to /dev/null, before anything else is.
"""

from __future__ import annotations

import os
from typing import Final

_STDERR: Final = 2


def hold_standard_streams() -> None:
    """Open /dev/null in place of each standard stream that is closed, for children, too; what is open stays.

    What Python made of a closed one stays None (``sys.stdout``): it was closed, and nothing written there is kept.

    Raises:
        OSError: there is no /dev/null.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:  # the lowest that is free
        os.set_inheritable(opened, True)
    os.close(opened)
