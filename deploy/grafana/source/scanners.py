"""ClamAV and SpamAssassin: what they found, how often they gave no result, how long they took."""

from __future__ import annotations

from deploy.grafana.source.model import (
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
from deploy.grafana.source.query import PERIOD, count, gauge, quantile, rate, share

_UNKNOWN = 'result=~"down|unscannable"'

_PERIOD = Row(
    "In the period shown",
    (
        number("Scans", "By both scanners.", count("scans_total"), decimals=0),
        number(
            "Infected",
            "Messages in which ClamAV found something.",
            count("scans_total", where='result="infected"'),
            decimals=0,
        ),
        number(
            "ClamAV: part without a result",
            "What policy does then is its rule `unavailable: clamav`.",
            share("scans_total", _UNKNOWN, of='scanner="clamav"', over=PERIOD),
            unit="percentunit",
            steps=at_least(0.001, 0.05),
            most=1,
            alert="MailguardScansUnknown",
        ),
        number(
            "SpamAssassin: part without a result",
            "What policy does then is its rule `unavailable: spamassassin`.",
            share("scans_total", _UNKNOWN, of='scanner="spamassassin"', over=PERIOD),
            unit="percentunit",
            steps=at_least(0.001, 0.05),
            most=1,
            alert="MailguardScansUnknown",
        ),
        number(
            "Taint list out of date",
            "Yes: the taint list does not fit spamd's rules, so that every rule counts as one that may have looked at "
            "Received. Less is refused than could be: fetch the rules anew and reload.",
            gauge("spam_rules_stale", across="max"),
            steps=NEVER,
            words={0: "no", 1: "yes"},
            alert="MailguardSpamRulesStale",
        ),
        number(
            "Hits of rules without class",
            "Rules that the taint list does not know; each is in the log as `spam_rule`.",
            count("spam_rules_unclassified_total"),
            steps=Steps(GREEN, ((0.5, YELLOW),)),
            decimals=0,
            alert="MailguardSpamRulesStale",
        ),
    ),
)

_RESULTS = Row(
    "Results",
    (
        Panel(
            "ClamAV, by result",
            "`down`: clamd was not reached or did not answer in time (restarting? reloading its database?). "
            "`unscannable`: it did not look at all of the message.",
            "stacked",
            (Query(rate("scans_total", "result", 'scanner="clamav"'), "{{result}}"),),
            unit="ops",
            alert="MailguardScannerDown",
        ),
        Panel(
            "SpamAssassin, by result",
            "`down`: spamd was not reached, all its children are busy, or it did not answer in time.",
            "stacked",
            (Query(rate("scans_total", "result", 'scanner="spamassassin"'), "{{result}}"),),
            unit="ops",
            alert="MailguardScannerDown",
        ),
        Panel(
            "Part of scans without a result",
            "Over 0 for long: start the scanner; `mailguard doctor` tries it with EICAR and GTUBE.",
            "lines",
            (Query(share("scans_total", _UNKNOWN, "scanner"), "{{scanner}}"),),
            unit="percentunit",
            steps=Steps(GREEN, ((0.001, YELLOW), (0.05, RED))),
            most=1,
            alert="MailguardScannerDown",
        ),
        Panel(
            "What policy did for want of a source",
            "Messages that `unavailable: SOURCE` decided.",
            "stacked",
            (Query(rate("messages_total", "rule,action", 'rule=~"unavailable: .+"'), "{{rule}}: {{action}}"),),
            unit="ops",
        ),
    ),
)

_DURATION = Row(
    "Duration",
    (
        Panel(
            "ClamAV: duration of a scan",
            "It grows while clamd reads a new database, and with archives.",
            "lines",
            tuple(
                Query(quantile(part, "scan_duration_seconds", where='scanner="clamav"'), f"{part:.0%} are below")
                for part in (0.5, 0.95, 0.99)
            ),
            unit="s",
            steps=Steps(GREEN, ((10, YELLOW), (30, RED))),
            alert="MailguardScannerQueueing",
        ),
        Panel(
            "SpamAssassin: duration of a scan",
            "Seconds rather than a fraction of one: its DNS questions wait for a dead resolver, or children are "
            "too few.",
            "lines",
            tuple(
                Query(quantile(part, "scan_duration_seconds", where='scanner="spamassassin"'), f"{part:.0%} are below")
                for part in (0.5, 0.95, 0.99)
            ),
            unit="s",
            steps=Steps(GREEN, ((10, YELLOW), (30, RED))),
            alert="MailguardScannerQueueing",
        ),
        Panel(
            "Waiting for a scanner",
            "Messages that wait for a free connection to it now. A queue that stays: more children for it, or more "
            "`connections` in the settings.",
            "lines",
            (Query(gauge("scans_waiting", "scanner"), "{{scanner}}"),),
            alert="MailguardScannerQueueing",
        ),
        Panel(
            "Scans, by scanner",
            "How many a second each scanner answers.",
            "lines",
            (Query(rate("scans_total", "scanner"), "{{scanner}}"),),
            unit="ops",
        ),
    ),
)

SCANNERS = Dashboard(
    "scanners",
    "Scanners",
    "ClamAV and SpamAssassin: what they found, how often they gave no result, how long they took.",
    (_PERIOD, _RESULTS, _DURATION),
)
