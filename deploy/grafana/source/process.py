"""The service itself on each node: capacity, restarts, loads of the policy, certificate, journal, versions."""

from __future__ import annotations

from deploy.grafana.source.model import (
    ALWAYS_ONE,
    GREEN,
    NEVER,
    RED,
    YELLOW,
    Dashboard,
    Panel,
    Query,
    Row,
    Steps,
    at_least,
    number,
)
from deploy.grafana.source.query import EVERYWHERE, count, gauge, quantile, rate, raw

_BUILD = raw("build_info")
_ANYBODY = 'who="anybody"'

_NOW = Row(
    "Now",
    (
        number(
            "Nodes that do not answer",
            "Prometheus cannot fetch their metrics.",
            f"count(up{{{EVERYWHERE}}} == 0) or vector(0)",
            steps=NEVER,
            alert="MailguardDown",
        ),
        number(
            "Versions at work",
            "More than one for longer than an upgrade takes: a node was forgotten.",
            f"count(count by (version) ({_BUILD}))",
            steps=Steps(GREEN, ((2, YELLOW),)),
            alert="MailguardVersionSkew",
        ),
        number(
            "Processes replaced",
            "Workers and admin processes that died or hung, in the period. The log tells why.",
            count("process_restarts_total"),
            steps=NEVER,
            decimals=0,
            alert="MailguardWorkersDie",
        ),
        number(
            "Certificate ends in",
            "Of the certificate that clients see, the first of all nodes. “none”: there is no TLS.",
            f"min(({raw('certificate_expiry_timestamp_seconds')} > 0) - time())",
            unit="s",
            steps=Steps(RED, ((7 * 86400, YELLOW), (21 * 86400, GREEN))),
            silent="none",
            least=None,
            alert="MailguardCertificateExpires",
        ),
        number(
            "Journal records lost",
            "Records that were not written, in the period: a full disk, or one that is too slow.",
            count("journal_records_total", where='result!="written"'),
            steps=NEVER,
            decimals=0,
            alert="MailguardJournalLoses",
        ),
        number(
            "Log lines lost",
            "Lines that nobody took, in the period: a full disk?",
            count("log_lines_lost_total"),
            steps=NEVER,
            decimals=0,
            alert="MailguardLogLinesLost",
        ),
    ),
)

_NODES = Row(
    "Nodes",
    (
        Panel(
            "Each node",
            "What each node runs. Another version or generation than its neighbours: an upgrade or reload is "
            "under way, or "
            "was forgotten here.",
            "table",
            (
                Query(f"max by (instance, version) ({_BUILD})", "in use"),
                Query(gauge("generation", "instance", across="max"), "generation"),
                Query(gauge("sessions_in_flight", "instance"), "connections"),
                Query(
                    f"time() - ({gauge('policy_load_timestamp_seconds', 'instance', across='max')} > 0)",
                    "policy loaded ago",
                    "s",
                ),
                Query(gauge("policy_fingerprint", "instance", across="max"), "policy's fingerprint"),
                Query(gauge("overloaded", "instance"), "workers that lag"),
                Query(count("process_restarts_total", "instance"), "processes replaced"),
            ),
            width=24,
            height=6,
            alert="MailguardPolicySkew",
        ),
        Panel(
            "Whether nodes answer",
            "Prometheus' own view.",
            "states",
            (Query(f"up{{{EVERYWHERE}}}", "{{instance}}"),),
            steps=ALWAYS_ONE,
            words={0: "silent", 1: "up"},
            most=1,
            alert="MailguardDown",
        ),
        Panel(
            "Messages, by node",
            "Equal MX records or a balancer should spread them. One node without any: is it drained, or its "
            "address wrong?",
            "lines",
            (Query(rate("messages_total", "instance"), "{{instance}}"),),
            unit="ops",
            alert="MailguardNoMail",
        ),
    ),
)

_CAPACITY = Row(
    "Capacity",
    (
        Panel(
            "Part of slots in use",
            "At 100 % strangers hear 421.",
            "lines",
            (
                Query(
                    f"{gauge('sessions_in_flight', 'instance')} / {gauge('connection_slots', 'instance', _ANYBODY)}",
                    "{{instance}}",
                ),
            ),
            unit="percentunit",
            steps=at_least(0.7, 0.9),
            most=1,
            alert="MailguardSlotsUsed",
        ),
        Panel(
            "Lag of the event loop",
            "99 % of its measurements are below. Over `limits.max_loop_lag` for long: strangers are turned away. The "
            "machine is too busy, or too many workers share it.",
            "lines",
            (Query(quantile(0.99, "event_loop_lag_seconds", "instance"), "{{instance}}"),),
            unit="s",
            steps=at_least(0.1, 0.5),
            alert="MailguardLoopLag",
        ),
        Panel(
            "Workers that turn strangers away",
            "Because their event loop lags.",
            "lines",
            (Query(gauge("overloaded", "instance"), "{{instance}}"),),
            steps=NEVER,
            alert="MailguardOverloaded",
        ),
        Panel(
            "Memory of each process",
            "Resident; what processes share counts in each. A worker takes some 80 MB, and `max_message_memory` for "
            "each message that it holds. One that only grows: a fault of mailguard's; `mailguard reload --all` gives "
            "it a new process.",
            "lines",
            (
                Query(
                    gauge("process_resident_memory_bytes", "instance,role,slot"),
                    "{{instance}}: {{role}} {{slot}}",
                ),
            ),
            unit="bytes",
            alert="MailguardMemory",
        ),
        Panel(
            "Processor time of each process",
            "Of one processor: a worker at 100 % has no more to give. One alone for long: a message or a condition "
            "that takes long; all: more workers, up to the number of processors, or another node.",
            "lines",
            (
                Query(
                    rate("process_cpu_seconds_total", "instance,role,slot"),
                    "{{instance}}: {{role}} {{slot}}",
                ),
            ),
            unit="percentunit",
            steps=at_least(0.8, 0.95),
            alert="MailguardLoopLag",
        ),
        Panel(
            "Duration of connections",
            "Long ones take slots: slow senders, or waiting for scanners and backend.",
            "lines",
            (
                Query(quantile(0.5, "session_duration_seconds"), "half are below"),
                Query(quantile(0.95, "session_duration_seconds"), "95 % are below"),
            ),
            unit="s",
        ),
    ),
)

_CHANGES = Row(
    "Policy, processes, TLS",
    (
        Panel(
            "Policy and certificate loads",
            "Whether the last one succeeded. If not, the earlier one is still at work: `mailguard check` tells why.",
            "states",
            (
                Query(gauge("policy_load_success", "instance", across="min"), "policy {{instance}}"),
                Query(gauge("certificate_load_success", "instance", across="min"), "certificate {{instance}}"),
            ),
            steps=ALWAYS_ONE,
            words={0: "refused", 1: "loaded"},
            most=1,
            alert="MailguardPolicyLoadFailed",
        ),
        Panel(
            "Processes replaced, and exceptions",
            "`internal error` and `process died` in the log, each with what is known.",
            "stacked",
            (
                Query(rate("process_restarts_total", "instance,role"), "{{instance}}: {{role}} replaced"),
                Query(rate("internal_errors_total", "instance"), "{{instance}}: exceptions"),
            ),
            unit="ops",
            alert="MailguardWorkersDie",
        ),
        Panel(
            "Loads of a policy",
            "`ok` and `refused`, that at the start included.",
            "stacked",
            (Query(rate("policy_loads_total", "instance,result"), "{{instance}}: {{result}}"),),
            alert="MailguardPolicyLoadFailed",
        ),
        Panel(
            "Messages deferred for want of a spool",
            "The folder of `spool_dir` took or gave back no octets: a full disk?",
            "lines",
            (Query(rate("spool_failures_total", "instance"), "{{instance}}"),),
            unit="ops",
            steps=NEVER,
            alert="MailguardSpoolFails",
        ),
        Panel(
            "TLS handshakes",
            "`failed` by the hundred: old clients, robots, or a certificate that nobody takes.",
            "stacked",
            (Query(rate("tls_handshakes_total", "result,version"), "{{result}} {{version}}"),),
            unit="ops",
        ),
        Panel(
            "Duration of TLS handshakes",
            "95 % of those that succeeded.",
            "lines",
            (Query(quantile(0.95, "tls_handshake_duration_seconds", "instance"), "{{instance}}"),),
            unit="s",
        ),
    ),
)

_JOURNAL = Row(
    "Journal",
    (
        Panel(
            "Records",
            "`failed` and `overflow` are lost: mail goes on, but `mailguard why` will not know of it.",
            "stacked",
            (Query(rate("journal_records_total", "result"), "{{result}}"),),
            unit="ops",
            alert="MailguardJournalLoses",
        ),
        Panel(
            "Failures of the journal",
            "By what failed: `write`, `overflow`, `seal`, `expire`.",
            "stacked",
            (Query(rate("journal_errors_total", "instance,operation"), "{{instance}}: {{operation}}"),),
            unit="ops",
            steps=NEVER,
            alert="MailguardJournalUntidy",
        ),
        Panel(
            "Size of the journal",
            "All files, as last looked at; bounded by `journal.max_size` and `journal.max_age`.",
            "lines",
            (Query(gauge("journal_size_bytes", "instance", across="max"), "{{instance}}"),),
            unit="bytes",
        ),
        Panel(
            "Written to the journal",
            "Octets a second.",
            "lines",
            (Query(rate("journal_bytes_total", "instance"), "{{instance}}"),),
            unit="Bps",
        ),
    ),
)

PROCESS = Dashboard(
    "process",
    "Process and Cluster",
    "The service itself on each node: capacity, restarts, loads of the policy, certificate, journal, versions.",
    (_NOW, _NODES, _CAPACITY, _CHANGES, _JOURNAL),
)
