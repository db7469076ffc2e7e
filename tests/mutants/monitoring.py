"""Mutants of monitoring: alerts that stay silent or cry for nothing, figures of processes that are gone."""

from __future__ import annotations

from tests.mutants.mutant import SEEN, Mutant

_REAL = "tests/real/test_monitoring.py"
_ALERTS = (f"{_REAL}::test_each_alert_fires_and_does_not",)
_EDGES = (f"{_REAL}::test_nights_new_counters_and_limits_are_heeded",)
_PROCESSES = ("tests/unit/test_process_metrics.py",)
_PAGES = ("tests/unit/test_admin_pages.py",)
_ALERT_RULES = "deploy/prometheus/mailguard.alerts.yml"
_RECORDS = "deploy/prometheus/mailguard.recording.yml"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        SEEN,
        "full-slots-are-no-alert",
        _ALERT_RULES,
        "instance:mailguard_connection_slots:used_ratio > 0.8",
        "instance:mailguard_connection_slots:used_ratio < 0.8",
        _ALERTS,
    ),
    Mutant(
        SEEN,
        "a-healthy-list-is-an-alert",
        _ALERT_RULES,
        "expr: mailguard_dnsbl_healthy == 0",
        "expr: mailguard_dnsbl_healthy == 1",
        _ALERTS,
    ),
    Mutant(
        SEEN,
        "memory-is-an-alert-at-any-size",
        _ALERT_RULES,
        "(mailguard_process_resident_memory_bytes) > 1.5 * 1024 ^ 3",
        "(mailguard_process_resident_memory_bytes) > 0",
        _ALERTS,
    ),
    Mutant(
        SEEN,
        "two-dead-processes-are-three",
        _ALERT_RULES,
        "(increase(mailguard_process_restarts_total[1h])) > 2.5",
        "(increase(mailguard_process_restarts_total[1h])) > 2",
        _EDGES,
    ),
    Mutant(
        SEEN,
        "who-has-just-begun-has-been-without-mail-for-hours",
        _ALERT_RULES,
        '            and on (job) sum by (job) (up{job="mailguard"} offset 2h) > 0\n',
        "",
        _EDGES,
    ),
    Mutant(
        SEEN,
        "a-night-without-mail-blinds-for-a-day",
        _RECORDS,
        "/ (sum by (job) (rate(mailguard_recipients_total[15m])) > 0)",
        "/ sum by (job) (rate(mailguard_recipients_total[15m]))",
        _EDGES,
    ),
    Mutant(
        SEEN,
        "the-first-unknown-code-is-no-increase",
        "mailguard/checks/dnsbl.py",
        "            metrics.from_the_start(metrics.DNSBL_UNMATCHED, (name,))\n",
        "",
        ("tests/unit/checks/test_dnsbl.py",),
    ),
    Mutant(
        SEEN,
        "the-first-lost-record-is-no-increase",
        "mailguard/metrics.py",
        'from_the_start(JOURNAL_RECORDS, ("written",), ("failed",), ("overflow",))\n',
        "",
        ("tests/unit/deploy/test_alerts.py",),
    ),
    Mutant(
        SEEN,
        "gauges-of-a-dead-worker-stay",
        "mailguard/supervisor/supervisor.py",
        "        metric_store.slot_ended(self._resources.metrics, child.slot)\n",
        "",
        ("tests/unit/supervisor/test_counting.py",),
    ),
    Mutant(
        SEEN,
        "who-has-ended-has-memory",
        "mailguard/admin/processes.py",
        'if fields[_STATE] in "ZX":',
        'if fields[_STATE] in "X":',
        _PROCESSES,
    ),
    Mutant(
        SEEN,
        "a-strangers-memory-is-ours",
        "mailguard/admin/processes.py",
        "        if taken.parent == supervisor:\n",
        "        if True:\n",
        _PROCESSES,
    ),
    Mutant(
        SEEN,
        "metrics-are-written-for-each-who-asks",
        "mailguard/admin/server.py",
        "        if self._next is None:\n",
        "        if True:\n",
        _PAGES,
    ),
    Mutant(
        SEEN,
        "health-waits-for-metrics",
        "mailguard/admin/server.py",
        "return await asyncio.to_thread(self._write)",
        "return self._write()",
        _PAGES,
    ),
)
