"""What ``/healthz`` and ``/readyz`` say, as data (operations.md, "Health").

``/healthz`` is 200 as long as mail is handled safely, deferring included, so that a dead scanner or backend is an alert
and no reason to restart mailguard; it is 503 where the processes do not stand (``admin.tree``). ``/readyz`` is 503,
with reasons, while a load balancer should send clients elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the service.

    Attributes:
        not_ready: why clients should go elsewhere; empty where all is well.
        dead: why mailguard should be started again; empty where it handles mail safely.
        details: what is known besides, such as the version.
    """

    not_ready: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    details: dict[str, object] = field(default_factory=dict)

    def alive(self) -> dict[str, object]:
        """The answer of ``/healthz``: ``ok``, and the reasons against it."""
        return {"ok": not self.dead, "reasons": list(self.dead), **self.details}

    def ready(self) -> dict[str, object]:
        """The answer of ``/readyz``: ``ok``, and the reasons against it."""
        return {"ok": not self.not_ready, "reasons": list(self.not_ready), **self.details}
