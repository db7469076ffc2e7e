"""What ``/healthz`` and ``/readyz`` say, as data (operations.md, "Health").

Healthy means that mail is handled safely, deferring included: a dead scanner or backend is an alert, and no reason
to restart mailguard or to move it to another machine. Ready means that a load balancer should send clients here.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the service: each set of reasons is empty where all is well."""

    unhealthy: tuple[str, ...] = ()
    not_ready: tuple[str, ...] = ()
    details: dict[str, object] = field(default_factory=dict)

    def as_json(self, reasons: tuple[str, ...]) -> dict[str, object]:
        """One answer: ``ok``, the reasons against it, and what is known besides."""
        return {"ok": not reasons, "reasons": list(reasons), **self.details}
