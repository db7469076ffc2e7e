"""The clock: dates in Received and in the journal, certificates, and the age of signatures go by it.

The kernel is asked whether it is synchronised, and how far off it may be; where it does not tell, that is skipped. A
clock that stands before the day on which mailguard was installed is wrong whatever the kernel says. Blocking.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mailguard.doctor.kernel_clock import ClockState
from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient

MAX_ERROR: Final = 1.0
"""Seconds that a synchronised clock may be off."""
_REMEDY: Final = "let chrony or systemd-timesyncd keep it: `timedatectl` and `chronyc tracking` tell why none does"


def examine(patient: Patient, notes: Notes) -> None:
    """Whether the clock is kept, and not plainly wrong."""
    installed = Path(__file__).stat().st_mtime
    if patient.now() < installed:
        day = datetime.fromtimestamp(patient.now(), UTC).date()
        notes.failed("", f"the clock says {day}, when this mailguard was not installed yet", _REMEDY)
        return
    try:
        state = patient.clock()
    except OSError as error:
        notes.skipped("", f"the system does not tell how its clock stands: {error}")
        return
    _judge(state, notes)


def _judge(state: ClockState, notes: Notes) -> None:
    if not state.synchronised:
        notes.warning("", "nobody keeps the clock: the kernel calls it unsynchronised", _REMEDY)
        return
    measure = Measure("clock_max_error", state.max_error, "s", f"{MAX_ERROR:g}")
    if state.max_error > MAX_ERROR:
        notes.warning("", f"it may be off by {state.max_error:.1f} s", _REMEDY, [measure])
    else:
        notes.ok("", f"synchronised, off by {state.max_error * 1000:.0f} ms at the most", [measure])
