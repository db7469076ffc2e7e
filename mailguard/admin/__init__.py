"""The operator's face: /metrics, /healthz and /readyz, on loopback unless told otherwise (operations.md)."""

from mailguard.admin.health import Health
from mailguard.admin.server import Admin

__all__ = ["Admin", "Health"]
