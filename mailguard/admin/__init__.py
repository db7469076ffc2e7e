"""The operator's face: /metrics, /healthz and /readyz, on loopback unless told otherwise (operations.md)."""
