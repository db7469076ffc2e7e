"""Where the taint list comes from, and whether it is still the right one.

With ``spamassassin.rule_dirs`` the list is derived from spamd's live rules, at start and whenever the files change;
while they cannot be read, no list holds and every rule is tainted. Without it the shipped list serves, for exactly the
versions of SpamAssassin and rules that it was derived from (docs/decisions/0043).

Blocking calls (reading, deriving: half a second) run in a thread. Failure: logged, never raised; the gauge
``mailguard_spam_rules_stale`` is 1 while every rule is tainted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mailguard import config, metrics
from mailguard.log import logger
from mailguard.scanners.rule_files import RulesUnreadable, read_rule_dirs
from mailguard.spamrules.taint import TaintList, digest


def load_taint(settings: config.Spamassassin) -> TaintList:
    """The list to begin with: of the live rules where ``rule_dirs`` names them, else the shipped one. Blocking.

    Where the live rules cannot be read it is a list that holds for no spamd, and the log says why.
    """
    if not settings.rule_dirs:
        return TaintList.load()
    return _derived(settings.rule_dirs, None)


def _derived(folders: Sequence[Path], current: TaintList | None) -> TaintList:
    try:
        files = read_rule_dirs(folders)
    except RulesUnreadable as error:
        if current is None or current.rules:
            logger.error("spam rules unreadable", error=str(error))
        return TaintList.none()
    if current is not None and digest(files) == current.digest:
        return current
    fresh = TaintList.derive(files)
    logger.info("spam rules derived", count=len(fresh.rules), path=", ".join(map(str, folders)))
    return fresh


class TaintSource:
    """The list in force.

    Args:
        settings: folders and interval.
        taint: the list to begin with (:func:`load_taint`).
    """

    def __init__(self, settings: config.Spamassassin, taint: TaintList) -> None:
        self._settings = settings
        self.current = taint
        self._stale: bool | None = None
        if not taint.rules:
            self._set_stale(True, "no rules known")

    async def watch(self) -> None:
        """Keep the list as the live rules are, until cancelled; returns at once without ``rule_dirs``."""
        while self._settings.rule_dirs:
            await asyncio.sleep(self._settings.rules_interval)
            self.current = await asyncio.to_thread(_derived, self._settings.rule_dirs, self.current)

    def fits(self, version: str, rules_version: str) -> bool:
        """Whether the list holds for the spamd that reported these versions."""
        fits = self.current.fits(version, rules_version)
        self._set_stale(not fits, f"spamd runs SpamAssassin {version!r}, rules {rules_version!r}")
        return fits

    def holds_blindly(self) -> bool:
        """Whether the list holds for a spamd that reports no versions: only if it was derived from its live rules."""
        holds = bool(self.current.rules) and not self.current.spamassassin
        self._set_stale(not holds, "spamd reports no versions: mailguard.cf is not in force")
        return holds

    def _set_stale(self, stale: bool, why: str) -> None:
        if stale == self._stale:
            return
        self._stale = stale
        metrics.SPAM_RULES_STALE.set(stale)
        if stale:
            logger.warning("spam rules stale", error=why)
