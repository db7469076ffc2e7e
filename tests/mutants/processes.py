"""Mutants of what holds over several processes: the supervisor, its children, the snapshot between them."""

from __future__ import annotations

from tests.mutants.mutant import BAD_POLICY, NO_LOSS, SHARED, Mutant

_PROCESSES = ("tests/unit/supervisor/test_processes.py",)
_RELOADING = ("tests/unit/supervisor/test_reloading.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        BAD_POLICY,
        "a-generation-accepts-before-it-is-ready",
        "mailguard/supervisor/crew.py",
        "        if self.serving:\n            self.accept(worker)\n",
        "        if self.number > 1 or self.serving:\n            self.accept(worker)\n",
        _RELOADING,
    ),
    Mutant(
        BAD_POLICY,
        "a-successor-reads-the-disk",
        "mailguard/children/worker.py",
        "            files=Snapshot.of(snapshot),\n",
        "",
        _RELOADING,
    ),
    Mutant(
        BAD_POLICY,
        "the-switch-waits-for-new-sessions",
        "mailguard/session/services.py",
        "return self.loaded.only_observed if self.switch.on else self.loaded",
        "return self.loaded",
        _RELOADING,
    ),
    Mutant(
        NO_LOSS,
        "orphans-end-at-once",
        "mailguard/children/worker.py",
        "        self._drain(self._settings.limits.drain_timeout)\n\n    def _heard",
        "        self._drain(0.0)\n\n    def _heard",
        _PROCESSES,
    ),
    Mutant(
        NO_LOSS,
        "a-drain-cuts-messages",
        "mailguard/supervisor/supervisor.py",
        "crew.drain(self.settings.limits.drain_timeout, crew.grace)",
        "crew.drain(0.0, crew.grace)",
        _PROCESSES,
    ),
    Mutant(
        SHARED,
        "a-worker-that-hangs-stays",
        "mailguard/supervisor/supervisor.py",
        "if silent > bound and child.role is Role.WORKER and not child.killed:",
        "if False:",
        _PROCESSES,
    ),
)
