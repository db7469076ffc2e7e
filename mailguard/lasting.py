"""What is imported stays to the end of a process, so the collector of cycles need not look at it, then or later.

An import makes objects by the ten thousand, which has collections walk through all that is there again and again: a
tenth of the time that it takes. Nor does the end of the process walk through what is frozen (decision 0137).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """Within ``with``, nothing is collected; what is there at its end is never looked at again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
