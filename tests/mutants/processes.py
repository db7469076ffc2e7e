"""Mutants of what holds over several processes: the supervisor, its children, the snapshot between them."""

from __future__ import annotations

from tests.mutants.mutant import BAD_POLICY, NO_LOSS, SHARED, Mutant

_PROCESSES = "tests/unit/supervisor/test_processes.py"
_RELOADING = "tests/unit/supervisor/test_reloading.py"
_ALL_OR_NONE = "tests/unit/supervisor/test_all_or_none.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        BAD_POLICY,
        "settings-that-take-a-restart-are-half-taken",
        "mailguard/supervisor/reload.py",
        "return fixed is not None and fixed(old) != fixed(new)",
        "return False",
        (f"{_RELOADING}::test_settings_that_take_a_restart_are_refused",),
    ),
    Mutant(
        BAD_POLICY,
        "some-take-what-one-refuses",
        "mailguard/supervisor/reload.py",
        """self._worker_refused(f"worker {worker.slot}: {message.fields['why']}", os.EX_CONFIG)""",
        "self.lost(worker)",
        (f"{_ALL_OR_NONE}::test_where_one_worker_refuses_all_keep_what_they_have",),
    ),
    Mutant(
        BAD_POLICY,
        "a-number-comes-twice",
        "mailguard/supervisor/supervisor.py",
        "        return self._policies\n",
        "        return self.policy.number + 1\n",
        (f"{_ALL_OR_NONE}::test_a_policy_that_was_given_up_is_not_taken_for_the_next_one",),
    ),
    Mutant(
        BAD_POLICY,
        "who-gets-ready-late-keeps-the-old",
        "mailguard/supervisor/reload.py",
        "elif worker.state is State.ACCEPTING:",
        "elif False:",
        (f"{_ALL_OR_NONE}::test_a_worker_that_gets_ready_while_others_compile_is_brought_up_to_date",),
    ),
    Mutant(
        BAD_POLICY,
        "a-successor-reads-the-disk",
        "mailguard/children/worker.py",
        "            files=Snapshot.of(snapshot),\n",
        "",
        (f"{_RELOADING}::test_a_broken_policy_changes_nothing_and_is_loud",),
    ),
    Mutant(
        BAD_POLICY,
        "the-switch-waits-for-new-sessions",
        "mailguard/session/services.py",
        "return self.loaded.only_observed if self.switch.on else self.loaded",
        "return self.loaded",
        (f"{_RELOADING}::test_only_observing_holds_everywhere_and_ends",),
    ),
    Mutant(
        NO_LOSS,
        "orphans-end-at-once",
        "mailguard/children/worker.py",
        "self._drain(self._settings.limits.drain_timeout, last=self._sockets_are_ours)",
        "self._drain(0.0, last=self._sockets_are_ours)",
        (f"{_PROCESSES}::test_where_the_supervisor_is_killed_messages_end_and_then_all_processes",),
    ),
    Mutant(
        NO_LOSS,
        "workers-that-fail-together-end-the-service",
        "mailguard/supervisor/crew.py",
        """        self._employer.crew_failed(self, status, why)
        for worker in self.workers:
            worker.kill("its generation does not start")
""",
        """        for worker in self.workers:
            worker.kill("its generation does not start")
        self._employer.crew_failed(self, status, why)
""",
        (f"{_ALL_OR_NONE}::test_a_generation_whose_workers_fail_together_changes_nothing",),
    ),
    Mutant(
        NO_LOSS,
        "who-waits-in-the-kernel-is-reset",
        "mailguard/smtp/listener.py",
        "        if last:\n",
        "        if False:\n",
        ("tests/unit/smtp/test_server.py::test_who_waits_in_the_kernel_hears_421_of_the_last_to_drain",),
    ),
    Mutant(
        NO_LOSS,
        "told-again-to-stop-it-does-not-finish",
        "mailguard/worker.py",
        "            await self._stopped.wait()\n",
        "",
        ("tests/unit/session/test_session.py::test_told_again_to_stop_it_ends_sooner_and_not_before_all_is_done",),
    ),
    Mutant(
        NO_LOSS,
        "a-drain-resets-who-sends-a-proxy-header",
        "mailguard/smtp/server.py",
        "            self._linger = True  # the header may be under way\n",
        "",
        ("tests/unit/smtp/test_server.py::test_draining_resets_no_client_whose_proxy_header_is_under_way",),
    ),
    Mutant(
        NO_LOSS,
        "a-drain-cuts-messages",
        "mailguard/supervisor/supervisor.py",
        "crew.drain(self.settings.limits.drain_timeout, crew.grace, ",
        "crew.drain(0.0, crew.grace, ",
        (f"{_PROCESSES}::test_drain_lets_a_message_end",),
    ),
    Mutant(
        SHARED,
        "a-worker-that-hangs-stays",
        "mailguard/supervisor/supervisor.py",
        "if silent > bound and not child.killed:",
        "if False:",
        (f"{_PROCESSES}::test_a_worker_that_hangs_is_killed_and_replaced",),
    ),
)
