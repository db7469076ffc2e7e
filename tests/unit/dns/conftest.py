"""The resolver is tested on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tests.support.loops import LOOPS


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS
