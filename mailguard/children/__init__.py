"""The processes that the supervisor starts, one module each, run as ``python -m``."""
