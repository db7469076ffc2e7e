"""A core of its own for each worker, where there are as many workers as cores (decision 0224).

A worker is one event loop, busy for long stretches. The kernel, left alone, at times puts two of them on one core while
the other does something else, and leaves them there for some hundred milliseconds: messages that meet it take ten times
as long. So the thread that runs the loop keeps to a core; other threads of the process, the journal's above all, go
where there is room.

Where there are fewer workers than cores the kernel finds room by itself, and other services may be on the same cores;
where there are more, cores would not be shared evenly. Then nothing is kept to.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from mailguard.log import logger


def core_of(seat: int, workers: int, cores: Collection[int]) -> int | None:
    """The one of ``cores`` for the worker on ``seat``, counted from 0; None where it is to go where it likes."""
    if workers != len(cores) or workers < 2 or not 0 <= seat < workers:
        return None
    return sorted(cores)[seat]


def keep_to_own(seat: int, workers: int) -> None:
    """Let this thread, and threads that it begins later, run on the core for ``seat`` alone, where there is one.

    ``workers``: how many there are. Where the kernel forbids it (a filter of system calls), things stay as they are,
    and the log tells it at level ``debug``.
    """
    core = core_of(seat, workers, os.sched_getaffinity(0))
    if core is None:
        return
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        logger.debug("no core of its own", error=str(error))
