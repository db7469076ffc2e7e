"""Whether this process may open as many files as the connections need that the settings allow.

The service has limits of its own (systemd: ``LimitNOFILE=``): run under the same, or believe it where it says at start
``too few file descriptors``.
"""

from __future__ import annotations

import resource

from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient


async def examine(patient: Patient, notes: Notes) -> None:
    """The hard limit, up to which mailguard raises the soft one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted, fits = patient.settings.limits.max_connections, patient.fits(patient.settings, hard)
    measure = [Measure("file_descriptors", hard)]
    if fits < wanted:
        told = f"{hard} are enough for {fits} connections, and `limits.max_connections` is {wanted}"
        notes.warning("", told, "raise the limit (systemd: LimitNOFILE=, shell: ulimit -Hn), or lower it", measure)
    else:
        notes.ok("", f"{hard} are enough for {wanted} connections, as this shell has them", measure)
