"""The health of the whole service, from what the supervisor knows of its processes (operations.md, "Health"). Pure.

Alive is: the supervisor answers, and a worker handles mail safely, deferring included; while the service starts or ends
too, since another start would not make that faster. Ready is: a worker accepts clients, nothing drains for good, and
a backend answers in one of them. A worker's own reasons against being ready count where all workers have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mailguard.admin.health import Health

SHOWN: Final = ("version", "phase", "generation", "policy", "observing_until")
"""What the pages tell of the supervisor's status."""

_SERVING: Final = ("running", "reloading")
"""Phases in which clients are served."""


def health_of(status: Mapping[str, Any], silent: float) -> Health:
    """Health by ``status`` (``Supervisor.status``); ``silent``: seconds that the supervisor says nothing, 0: none."""
    processes: Sequence[Mapping[str, Any]] = status.get("processes", ())
    workers = [each for each in processes if each["role"] == "worker"]
    accepting = [each for each in workers if each["state"] == "accepting"]
    phase = status.get("phase", "starting")  # before the supervisor has said a word, too
    dead = []
    if silent:
        dead.append(f"the supervisor has said nothing for {silent:.0f} s")
    elif not accepting and phase in _SERVING:
        dead.append("no worker serves clients")
    reasons = [*dead]
    if phase not in _SERVING:
        reasons.append(str(phase))
    reasons += [each for each in _common(accepting) if each not in reasons]
    details = {key: status[key] for key in SHOWN if status.get(key) is not None}
    return Health(not_ready=tuple(reasons), dead=tuple(dead), details=details)


def _common(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The reasons that all of ``workers`` have."""
    if not workers:
        return []
    first, *others = (each["reasons"] for each in workers)
    return [reason for reason in first if all(reason in other for other in others)]
