"""Every metric, declared once: name, unit, labels and their bounded values, help (operations.md, "Metrics").

No label ever holds an address, a host name or free text. Code that counts imports the metric from here.
``docs/reference/metrics.md`` is generated from :data:`METRICS`.

Where there are several processes (:mod:`mailguard.metric_store`), counters and histograms are added up, of dead ones
too; a gauge says here which of the living processes' values is shown. So each is set by whoever knows it, when it
changes: a function that a scrape would call lives in another process than the scrape. A gauge without labels is there,
and 0, before anybody has set it: of those of which 0 would be a lie the latest that was set is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, disable_created_metrics

from mailguard.metric_kinds import Counter, Gauge, Histogram

_disable_created: Final[Callable[[], None]] = disable_created_metrics
_disable_created()  # when a series began says nothing where processes take over each other's

REGISTRY: Final = CollectorRegistry(auto_describe=True)

SECONDS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Buckets of every duration, in seconds."""

OCTETS: Final = (1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6, 64e6)
"""Buckets of every size, in octets."""


Across: TypeAlias = Literal["livesum", "livemin", "livemax", "livemostrecent"]
"""What is shown of the values that living processes have of one gauge."""

_ACROSS_WORDS: Final[Mapping[Across, str]] = {
    "livesum": "sum",
    "livemin": "least",
    "livemax": "greatest",
    "livemostrecent": "latest",
}


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """The declaration of one metric.

    Attributes:
        labels: each label, and what bounds its values.
        across: of several processes: the sum, or which one's value.
    """

    name: str
    kind: str
    help: str
    labels: Mapping[str, str]
    across: str = "sum"


METRICS: Final[list[MetricSpec]] = []
"""Every metric in order of declaration."""


def _declare(
    kind: str, name: str, help_: str, labels: Mapping[str, str], across: str = "sum"
) -> tuple[str, str, tuple[str, ...]]:
    full = f"mailguard_{name}"
    METRICS.append(MetricSpec(full, kind, help_, labels, across))
    return full, help_, tuple(labels)


def _counter(name: str, help_: str, **labels: str) -> Counter:
    return Counter(*_declare("counter", name, help_, labels), registry=REGISTRY)


def _gauge(name: str, across: Across, help_: str, **labels: str) -> Gauge:
    declared = _declare("gauge", name, help_, labels, _ACROSS_WORDS[across])
    return Gauge(*declared, registry=REGISTRY, multiprocess_mode=across)


def _seconds(name: str, help_: str, **labels: str) -> Histogram:
    return Histogram(*_declare("histogram", name, help_, labels), registry=REGISTRY, buckets=SECONDS)


def _octets(name: str, help_: str, **labels: str) -> Histogram:
    return Histogram(*_declare("histogram", name, help_, labels), registry=REGISTRY, buckets=OCTETS)


_RULE = "names of the policy's rules, `unavailable: SOURCE`, `postmaster`, or `none`"
_ZONE = "the policy's names of its lists"
_BACKEND = "addresses in the configuration"
_CONTENT = "clean, bad, unknown"

BUILD_INFO = _gauge("build_info", "livemax", "Always 1; the version of mailguard.", version="one")
CONNECTIONS = _counter(
    "connections_total",
    "Connections, by how they ended.",
    end="quit, lost, timeout, refused, errors, shutdown, tls, internal",
)
CONNECTIONS_REFUSED = _counter(
    "connections_refused_total",
    "Connections turned away before a policy was asked: no slot, the client's are taken, the event loop lags, a bad "
    "PROXY header.",
    why="slots, client, lag, proxy",
)
CONNECTION_SLOTS = _gauge(
    "connection_slots",
    "livemax",
    "Connections that all processes together may hold, by who may: anybody, or with the reserve our own relays.",
    who="anybody, own",
)
LOOP_LAG = _seconds("event_loop_lag_seconds", "How late the event loop was, measured every `limits.lag_interval`.")
OVERLOADED = _gauge("overloaded", "livesum", "Workers that turn strangers away because their event loop lags.")
SESSIONS = _gauge("sessions_in_flight", "livesum", "Connections open now.")
SESSION_SECONDS = _seconds("session_duration_seconds", "Duration of a connection.")
TLS_HANDSHAKES = _counter(
    "tls_handshakes_total",
    "Handshakes behind a client's STARTTLS.",
    result="ok, failed, timeout",
    version="TLSv1.2, TLSv1.3, none",
)
TLS_SECONDS = _seconds("tls_handshake_duration_seconds", "Duration of a handshake that succeeded.")
CERTIFICATE_EXPIRY = _gauge(
    "certificate_expiry_timestamp_seconds",
    "livemostrecent",
    "When the certificate that clients see runs out, as Unix time; 0: none.",
)
CERTIFICATE_SUCCESS = _gauge(
    "certificate_load_success", "livemostrecent", "1 where the last load of the certificate succeeded."
)
REPLIES = _counter(
    "replies_total",
    "Replies to clients, by class and stage.",
    **{
        "class": "2 to 5",
        "stage": "connect, helo, mail, rcpt, data, content, other",
    },
)
RECIPIENTS = _counter(
    "recipients_total",
    "RCPT commands that policy saw, by its verdict.",
    action="accept, reject, defer, file",
    rule=_RULE,
)
RECIPIENTS_WAITING = _counter(
    "recipients_waiting_total",
    "Recipients told 452 4.5.3, to come again in a transaction of their own, by what parts them from an earlier one.",
    difference="block, tags, folder",
)
MESSAGES = _counter(
    "messages_total",
    "Messages that arrived whole, by verdict and rule; once for each verdict that recipients of it differ in.",
    action="accept, reject, defer, file",
    rule=_RULE,
)
OBSERVED = _counter(
    "policy_observed_total", "What observe mode kept from being done.", action="accept, reject, defer, file", rule=_RULE
)
SAMPLED = _counter(
    "policy_sampled_total", "Recipients that a rule of the envelope refuses and the policy's sample let in.", rule=_RULE
)
SPARED = _counter(
    "policy_spared_messages_total",
    "Messages that arrived whole although a rule of the envelope refuses them (observe mode, sample), by what the "
    "scanners say of their content: of these, `clean` are the measured false positives.",
    rule=_RULE,
    content=_CONTENT,
)
MESSAGE_SIZE = _octets("message_size_bytes", "Size of messages that arrived whole.")
MESSAGE_SECONDS = _seconds("message_duration_seconds", "From the end of data to our reply.")
DNSBL_QUERIES = _counter(
    "dnsbl_queries_total",
    "Questions to DNSBLs about clients, by list and outcome.",
    zone=_ZONE,
    outcome="listed, not_listed, timeout, servfail, refused, blocked, bad_answer, ill, error",
)
DNSBL_SECONDS = _seconds("dnsbl_query_duration_seconds", "Duration of one question to a DNSBL.", zone=_ZONE)
DNSBL_UNMATCHED = _counter("dnsbl_unmatched_codes_total", "Answers whose code no table entry matches.", zone=_ZONE)
DNSBL_HEALTHY = _gauge(
    "dnsbl_healthy",
    "livemin",
    "1 while the list's test points answer as they must, 0 while it is set aside.",
    zone=_ZONE,
)
DNSBL_SPARED = _counter(
    "dnsbl_spared_messages_total",
    "The messages of `mailguard_policy_spared_messages_total` by each list that listed their client.",
    zone=_ZONE,
    content=_CONTENT,
)
DNS_SECONDS = _seconds(
    "dns_query_duration_seconds", "Duration of one question to the resolver.", type="A, AAAA, PTR, MX, TXT, SOA"
)
DNS_CACHE = _counter("dns_cache_total", "Questions, by how they were answered.", result="hit, miss, joined")
SCANS = _counter(
    "scans_total",
    "Scans, by scanner and result.",
    scanner="clamav, spamassassin",
    result="clean, infected, scored, down, unscannable",
)
SCAN_SECONDS = _seconds("scan_duration_seconds", "Duration of a scan.", scanner="clamav, spamassassin")
SCANS_WAITING = _gauge(
    "scans_waiting",
    "livesum",
    "Messages that wait for a free connection to the scanner now.",
    scanner="clamav, spamassassin",
)
SPAM_RULES_UNKNOWN = _counter(
    "spam_rules_unclassified_total", "Hits of SpamAssassin rules that the taint list does not know."
)
SPAM_RULES_STALE = _gauge(
    "spam_rules_stale", "livemax", "1 while the taint list does not fit spamd's rules, so that every rule is tainted."
)
BACKEND_REPLIES = _counter(
    "backend_replies_total",
    "Replies of backends, by command and class.",
    backend=_BACKEND,
    command="connect, helo, starttls, xclient, rset, mail, rcpt, data, content",
    **{"class": "2 to 5, lost, timeout"},
)
BACKEND_SECONDS = _seconds(
    "backend_reply_duration_seconds", "Waiting for a backend's reply.", command="connect, rcpt, content"
)
BACKEND_CONNECTIONS = _counter(
    "backend_connections_total",
    "Connections that mail was given, by whether they were new.",
    backend=_BACKEND,
    how="new, reused",
)
BACKEND_UP = _gauge("backend_up", "livemin", "1 while the backend's breaker is closed.", backend=_BACKEND)
BACKEND_REPLAYS = _counter(
    "backend_replays_total", "Transactions replayed because a backend was lost.", result="ok, refused, failed"
)
JOURNAL_RECORDS = _counter(
    "journal_records_total",
    "Records for the journal, by what became of them: but for those written they are lost.",
    result="written, failed, overflow",
)
JOURNAL_OCTETS = _counter("journal_bytes_total", "Octets of records written to the journal.")
JOURNAL_ERRORS = _counter(
    "journal_errors_total", "Failures of the journal, by what failed.", operation="write, overflow, seal, expire"
)
JOURNAL_SIZE = _gauge("journal_size_bytes", "livemostrecent", "Size of all of the journal's files, as last looked at.")
SPOOL_FAILURES = _counter(
    "spool_failures_total", "Messages deferred because the spool's folder took or gave back no octets."
)
POLICY_LOADS = _counter("policy_loads_total", "Loads of a policy, that at the start included.", result="ok, refused")
POLICY_FINGERPRINT = _gauge(
    "policy_fingerprint",
    "livemostrecent",
    "The first 48 bits of the running policy's digest as a number: nodes with the same policy show the same.",
)
POLICY_LOADED = _gauge(
    "policy_load_timestamp_seconds", "livemostrecent", "When the running policy was loaded, as Unix time."
)
POLICY_SUCCESS = _gauge("policy_load_success", "livemostrecent", "1 where the last load of a policy succeeded.")
ERRORS = _counter("internal_errors_total", "Unexpected exceptions; each is in the log with its reference id.")
LOG_LINES_LOST = _counter("log_lines_lost_total", "Log lines that standard output or syslog did not take: a full disk?")
GENERATION = _gauge("generation", "livemax", "Generation of the workers that serve clients, counted from 1.")
OBSERVING = _gauge(
    "observing_until_timestamp_seconds",
    "livemax",
    "Until when `mailguard observe` keeps the policy from being enforced, as Unix time; 0: it is enforced.",
)
RESTARTS = _counter("process_restarts_total", "Processes that died and were replaced.", role="worker, admin")


def _looked_up(kind: str, name: str, help_: str, **labels: str) -> MetricSpec:
    """A metric that nobody counts: its values are found when somebody asks."""
    _declare(kind, name, help_, labels, "each")
    return METRICS[-1]


_PROCESS = {"role": "supervisor, admin, worker, loader", "slot": "of a worker: 0 to twice `workers`"}

PROCESS_MEMORY = _looked_up(
    "gauge",
    "process_resident_memory_bytes",
    "Memory of a process that is not swapped out; what processes share counts in each.",
    **_PROCESS,
)
PROCESS_SECONDS = _looked_up("counter", "process_cpu_seconds_total", "Processor time of a process.", **_PROCESS)


def from_the_start(counter: Counter, *series: tuple[str, ...]) -> None:
    """Show ``series``, each by its labels' values, before they count: `increase()` does not see a series' first value.

    Needed wherever an alert looks at what is rare. What depends on the policy is shown by who knows the policy.
    """
    for values in series:
        counter.labels(*values)


from_the_start(CONNECTIONS_REFUSED, ("slots",), ("client",), ("lag",), ("proxy",))
from_the_start(REPLIES, ("4", "rcpt"), ("4", "content"))
from_the_start(RECIPIENTS_WAITING, ("block",), ("tags",), ("folder",))
from_the_start(SCANS, *product(("clamav", "spamassassin"), ("down", "unscannable")))
from_the_start(JOURNAL_RECORDS, ("written",), ("failed",), ("overflow",))
from_the_start(JOURNAL_ERRORS, ("write",), ("overflow",), ("seal",), ("expire",))
from_the_start(POLICY_LOADS, ("ok",), ("refused",))
from_the_start(RESTARTS, ("worker",), ("admin",))
