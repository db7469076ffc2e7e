"""Mutants of what many processes count together: connections and metrics."""

from __future__ import annotations

from tests.mutants.mutant import BUG, SHARED, Mutant

_ADMISSION = ("tests/unit/smtp/test_admission.py",)
_COUNTS = ("tests/unit/smtp/test_shared_counts.py",)
_OVERLOAD = ("tests/unit/smtp/test_overload.py",)
_STORE = ("tests/unit/test_metric_store.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        SHARED,
        "strangers-use-the-reserve",
        "mailguard/smtp/admission.py",
        "cells = (_OF_STRANGERS if stranger else _OF_OURS) + ",
        "cells = _OF_OURS + ",
        _ADMISSION,
    ),
    Mutant(
        SHARED,
        "who-waits-for-a-proxy-header-holds-a-slot",
        "mailguard/smtp/admission.py",
        "Held(self._counts, _OF_UNNAMED)",
        "Held(self._counts, _OF_OURS)",
        _ADMISSION,
    ),
    Mutant(
        SHARED,
        "who-is-turned-away-keeps-the-slot",
        "mailguard/smtp/admission.py",
        "        held.give_back()\n        raise refusal",
        "        raise refusal",
        _ADMISSION,
    ),
    Mutant(
        SHARED,
        "our-own-relays-are-strangers-to-an-overloaded-worker",
        "mailguard/smtp/admission.py",
        "if stranger and self._overloaded():",
        "if self._overloaded():",
        _ADMISSION,
    ),
    Mutant(
        SHARED,
        "a-dead-workers-connections-count-for-ever",
        "mailguard/smtp/shared_counts.py",
        'self._cells[slot :: self._slots] = memoryview(bytes(_CELLS * _CELL)).cast("I")',
        "self._cells[slot :: self._slots]",
        _COUNTS,
    ),
    Mutant(
        SHARED,
        "each-worker-has-all-connections-for-itself",
        "mailguard/smtp/shared_counts.py",
        "return sum(self._cells[first : first + self._slots])",
        "return self._own[cell]",
        _COUNTS,
    ),
    Mutant(
        SHARED,
        "everybody-knows-who-shares-a-bucket",
        "mailguard/smtp/shared_counts.py",
        "os.pwrite(fd, os.urandom(_KEY), 0)",
        "os.pwrite(fd, bytes(_KEY), 0)",
        _COUNTS,
    ),
    Mutant(
        SHARED,
        "a-loop-that-hung-once-is-overloaded",
        "mailguard/smtp/overload.py",
        "        if now - self._since >= bound:",
        "        if now - self._since >= 0:",
        _OVERLOAD,
    ),
    Mutant(
        SHARED,
        "strangers-come-and-go-at-the-limit",
        "mailguard/smtp/overload.py",
        "lag < limits.max_loop_lag * _CALM",
        "lag < limits.max_loop_lag",
        _OVERLOAD,
    ),
    Mutant(
        BUG,
        "gauges-of-the-dead-stay",
        "mailguard/metric_store.py",
        "    _gauges_gone(slot, str(directory))",
        "    return",
        _STORE,
    ),
    Mutant(
        BUG,
        "counters-go-back-with-their-process",
        "mailguard/metric_store.py",
        "        if not _readable(file):",
        "        if file:",
        _STORE,
    ),
    Mutant(
        BUG,
        "a-torn-file-breaks-the-scrape",
        "mailguard/metric_store.py",
        "if _told_if_not(file)",
        "if file",
        _STORE,
    ),
    Mutant(
        SHARED,
        "a-flood-fills-the-disk-with-refusals",
        "mailguard/journal/throttle.py",
        "return self._seen[kind] <= self._limit",
        "return True",
        ("tests/unit/journal/test_throttle.py",),
    ),
    Mutant(
        SHARED,
        "a-worker-does-not-know-that-it-is-overloaded",
        "mailguard/worker.py",
        "settings.own_relays, self._counts, self._overload)",
        "settings.own_relays, self._counts)",
        ("tests/unit/session/test_overload.py",),
    ),
)
