"""What the kernel knows of the machine's clock, from whoever keeps it: chrony, ntpd, systemd-timesyncd (adjtimex(2)).

It is only read, and no time server is asked. Units: seconds. Failure: OSError, where the system does not tell.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Final

_UNSYNCHRONISED: Final = 0x0040
"""STA_UNSYNC of <sys/timex.h>."""
_BEYOND: Final = 256
"""Octets for what of ``struct timex`` stands behind its first fields; it has 208 in all."""


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex`` as glibc and musl have it on all 64-bit machines."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * _BEYOND),
    )


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the kernel says of its clock: whether somebody keeps it, and how far off it may be, in seconds."""

    synchronised: bool
    max_error: float


def clock_state() -> ClockState:
    """How the machine's clock stands; it is only read (``modes`` is 0), which any user may.

    Raises:
        OSError: the system does not tell.
    """
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except AttributeError as error:
        raise OSError("this system has no adjtimex(2)") from error
    state = _Timex()
    if adjtimex(ctypes.byref(state)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return ClockState(not state.status & _UNSYNCHRONISED, state.maxerror / 1e6)
