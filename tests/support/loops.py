"""Both event loops, for what touches the network: asyncio's own, and uvloop, which the service uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}
"""What a conftest's ``pytest_asyncio_loop_factories`` returns."""
