"""``mailguard doctor`` for tests: a patient by name, what is found by subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mailguard.cli.descriptors import connections_within
from mailguard.doctor.examination import examination
from mailguard.doctor.kernel_clock import ClockState
from mailguard.doctor.notes import Finding, Status
from mailguard.doctor.parts import BY_NAME, PARTS
from mailguard.doctor.patient import Patient, admit

_KEPT = ClockState(synchronised=True, max_error=0.01)
"""A machine whose clock somebody keeps, which not every machine has that runs tests."""


def patient_of(folder: Path, settings: dict[str, Any], **changes: Any) -> Patient:
    """Who ``settings`` make, written to a file in ``folder``."""
    path = folder / "mailguard.yaml"
    path.write_text(yaml.safe_dump({**settings, **changes}))
    path.chmod(0o640)
    return admit(path, connections_within, clock=lambda: _KEPT)


async def examined(patient: Patient, *names: str) -> dict[str, Finding]:
    """What the parts ``names`` find, or all, by what it is about; of several the worst."""
    parts = [BY_NAME[name] for name in names] if names else list(PARTS)
    found: dict[str, Finding] = {}
    order = [Status.SKIPPED, Status.OK, Status.WARNING, Status.FAILED]
    for finding in await examination(patient, [(part.notes(), part.examine) for part in parts], 120):
        known = found.get(finding.subject)
        if known is None or order.index(finding.status) > order.index(known.status):
            found[finding.subject] = finding
    return found
