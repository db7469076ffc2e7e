"""What log and metrics say of a policy that was loaded, or was not: the same whoever loads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mailguard import metrics
from mailguard.log import logger

MAX_LOGGED: Final = 20
"""Problems of a policy, and warnings about it, that are logged, a line each; `mailguard check` tells more."""

_FINGERPRINT: Final = 12
"""Hexadecimal digits of a digest that a metric can hold: a number of 48 bits is exact in floating point (IEEE 754)."""


def loaded(path: Path, digest: str, warnings: Sequence[str]) -> None:
    """The policy at ``path`` runs from now on; ``warnings`` are a line each."""
    metrics.POLICY_SUCCESS.set(1)
    metrics.POLICY_LOADS.labels("ok").inc()
    metrics.POLICY_FINGERPRINT.set(int(digest[:_FINGERPRINT], 16))
    metrics.POLICY_LOADED.set_to_current_time()
    logger.info("policy loaded", path=str(path), digest=digest)
    for warning in warnings[:MAX_LOGGED]:
        logger.warning("policy warning", error=warning)
    if (more := len(warnings) - MAX_LOGGED) > 0:
        logger.warning("policy warning", error=f"{more} more: `mailguard check` tells them", count=more)


def refused(problems: Sequence[str]) -> None:
    """A policy is not taken, and the one before it goes on; ``problems`` are a line each."""
    metrics.POLICY_SUCCESS.set(0)
    metrics.POLICY_LOADS.labels("refused").inc()
    for problem in problems[:MAX_LOGGED]:
        logger.error("policy refused", error=problem)
    if (more := len(problems) - MAX_LOGGED) > 0:
        logger.error("policy refused", error=f"{more} more: `mailguard check` tells them", count=len(problems))
