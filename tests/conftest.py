"""What all tests share: property tests that always try the same examples, and take the time they take."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "mailguard", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("mailguard")

_REAL = Path(__file__).parent / "real"
_REAL_TIMEOUT = 400
"""Seconds: for what hangs. Servers are started within it, several bounds of a minute each may follow one another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in ``tests/real`` is marked ``real``, so that `make check` can leave it out, and may take its time."""
    for item in items:
        if item.path.is_relative_to(_REAL):
            item.add_marker(pytest.mark.real)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_REAL_TIMEOUT))
