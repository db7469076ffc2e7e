"""What each DNS list is good for: how much it hits, how often it does not answer, how long it takes."""

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
    Variable,
    at_least,
    number,
)
from deploy.grafana.source.query import PERIOD, count, gauge, quantile, rate, raw, share

_ZONE = 'zone=~"$zone"'
_UNKNOWN = 'outcome!~"listed|not_listed"'
_JUDGED = f'content!="unknown",{_ZONE}'
_FALSE = share("dnsbl_spared_messages_total", 'content="clean"', "zone", _JUDGED, PERIOD)

_TEXT = """\
**What metrics cannot tell, the journal does.** Which clients *only this* list knew, and how far two lists overlap,
needs each message's whole record, not sums (a metric of each pair of lists would have as many series as their square):

    mailguard lists --since 7d

**False positives** are shown as measured: of the mail that policy would refuse and that came in all the same (its
`sample`, observe mode), how much looks clean to both scanners. Without any such mail they are *not measurable*, and
nothing is shown.
"""

_NOW = Row(
    "Now",
    (
        number(
            "Lists set aside",
            "Their test points do not answer as they must; they count as unknown until they do.",
            f"count({raw('dnsbl_healthy', where=_ZONE)} == 0) or vector(0)",
            steps=NEVER,
            alert="MailguardListIll",
        ),
        number("Questions", "About clients, in the period.", count("dnsbl_queries_total", where=_ZONE), decimals=0),
        number(
            "Listed",
            "Answers that list the client.",
            count("dnsbl_queries_total", where=f'outcome="listed",{_ZONE}'),
            decimals=0,
        ),
        number(
            "Part without an answer",
            "Of all questions to lists: timeouts, errors, refusals, lists set aside.",
            share("dnsbl_queries_total", _UNKNOWN, of=_ZONE, over=PERIOD),
            unit="percentunit",
            steps=at_least(0.01, 0.1),
            most=1,
            alert="MailguardListSilent",
        ),
        number(
            "Codes that no table knows",
            "The list has a new code: look at its own pages, and add the code to the policy.",
            count("dnsbl_unmatched_codes_total", where=_ZONE),
            steps=Steps(GREEN, ((0.5, YELLOW),)),
            decimals=0,
            alert="MailguardUnknownCodes",
        ),
        number(
            "Slowest list, 95 %",
            "Senders wait for the slowest list, up to the policy's bound.",
            f"max({quantile(0.95, 'dnsbl_query_duration_seconds', 'zone', _ZONE, PERIOD)})",
            unit="s",
            steps=at_least(1, 3),
            silent="not asked",
            alert="MailguardListSilent",
        ),
    ),
)

_VALUE = Row(
    "Each list's value",
    (
        Panel(
            "Lists in the period",
            "Part listed: of all questions, how often it lists the client. Part unknown: how often it was asked "
            "in vain. "
            "A list that lists (nearly) nobody costs time for nothing; one that lists (nearly) everybody is broken or "
            "was shut down.",
            "table",
            (
                Query(count("dnsbl_queries_total", "zone", _ZONE), "questions"),
                Query(count("dnsbl_queries_total", "zone", f'outcome="listed",{_ZONE}'), "listed"),
                Query(
                    share("dnsbl_queries_total", 'outcome="listed"', "zone", _ZONE, PERIOD),
                    "part listed",
                    "percentunit",
                ),
                Query(share("dnsbl_queries_total", _UNKNOWN, "zone", _ZONE, PERIOD), "part unknown", "percentunit"),
                Query(quantile(0.5, "dnsbl_query_duration_seconds", "zone", _ZONE, PERIOD), "half are below", "s"),
                Query(quantile(0.95, "dnsbl_query_duration_seconds", "zone", _ZONE, PERIOD), "95 % are below", "s"),
                Query(count("dnsbl_spared_messages_total", "zone", _JUDGED), "came in all the same"),
                Query(_FALSE, "of these clean", "percentunit"),
                Query(count("dnsbl_unmatched_codes_total", "zone", _ZONE), "codes unknown to us"),
                Query(gauge("dnsbl_healthy", "zone", _ZONE, across="min"), "well (1) or set aside (0)"),
            ),
            width=16,
        ),
        Panel(
            "Unique hits and overlap",
            "Where to find what no metric can tell.",
            "text",
            text=_TEXT,
            width=8,
        ),
        Panel(
            "Part of clients that are listed",
            "Of answers. A jump on one list alone while nothing else changes: the list went wrong (some answer "
            "“everybody” when they are closed down).",
            "lines",
            (
                Query(
                    share("dnsbl_queries_total", 'outcome="listed"', "zone", f'outcome=~"listed|not_listed",{_ZONE}'),
                    "{{zone}}",
                ),
            ),
            unit="percentunit",
            most=1,
            alert="MailguardListSurge",
        ),
        Panel(
            "Hits",
            "Answers that list the client, by list.",
            "stacked",
            (Query(rate("dnsbl_queries_total", "zone", f'outcome="listed",{_ZONE}'), "{{zone}}"),),
            unit="ops",
        ),
        Panel(
            "Measured false positives",
            "Of the messages that policy refuses, that came in all the same (its sample, observe mode) and whose "
            "client the list lists: the part that looks clean to both scanners. Empty: not measurable.",
            "lines",
            (Query(_FALSE, "{{zone}}"),),
            unit="percentunit",
            steps=Steps(GREEN, ((0.02, YELLOW), (0.1, RED))),
            most=1,
            silent="not measurable",
            alert="MailguardListFalsePositives",
        ),
        Panel(
            "What false positives are measured on",
            "Messages of listed clients that came in although policy refuses them, by what the scanners say of their "
            "content.",
            "stacked",
            (Query(rate("dnsbl_spared_messages_total", "content", _ZONE), "{{content}}"),),
            unit="ops",
        ),
        Panel(
            "Let in as a sample",
            "Recipients that a rule refuses and the policy's sample let in and filed: what false positives are "
            "measured "
            "on. Empty: the policy has no sample, so they are not measurable.",
            "stacked",
            (Query(rate("policy_sampled_total", "rule"), "{{rule}}"),),
            unit="ops",
            alert="MailguardListFalsePositives",
        ),
        Panel(
            "Refused at the envelope, by rule",
            "What the lists together lead to.",
            "stacked",
            (Query(rate("recipients_total", "rule", 'action="reject"'), "{{rule}}"),),
            unit="ops",
        ),
    ),
)

_HEALTH = Row(
    "Health",
    (
        Panel(
            "Lists by their test points",
            "RFC 5782 5: 127.0.0.2 must be listed, 127.0.0.1 must not. Set aside until both are so again.",
            "states",
            (Query(gauge("dnsbl_healthy", "zone", _ZONE, across="min"), "{{zone}}"),),
            steps=ALWAYS_ONE,
            words={0: "set aside", 1: "well"},
            most=1,
            alert="MailguardListIll",
        ),
        Panel(
            "Part of questions without an answer",
            "By list. A list that is unknown neither condemns nor clears anybody.",
            "lines",
            (Query(share("dnsbl_queries_total", _UNKNOWN, "zone", _ZONE), "{{zone}}"),),
            unit="percentunit",
            steps=Steps(GREEN, ((0.01, YELLOW), (0.1, RED))),
            most=1,
            alert="MailguardListSilent",
        ),
        Panel(
            "Questions without an answer, by why",
            "`blocked`: the list does not serve our resolver (a public one?) or wants a key. `ill`: it is set aside. "
            "`timeout`, `servfail`: the way there. `bad_answer`: not a code of a list.",
            "stacked",
            (
                Query(
                    f"{rate('dnsbl_queries_total', 'zone,outcome', f'{_UNKNOWN},{_ZONE}')} > 0", "{{zone}}: {{outcome}}"
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Duration of a question",
            "95 % of the questions are answered within this.",
            "lines",
            (Query(quantile(0.95, "dnsbl_query_duration_seconds", "zone", _ZONE), "{{zone}}"),),
            unit="s",
            steps=Steps(GREEN, ((1, YELLOW), (3, RED))),
        ),
    ),
)

_RESOLVER = Row(
    "The resolver",
    (
        Panel(
            "Duration of a question to the resolver",
            "95 %, by type. All types slow at once: the resolver or its network, not a list.",
            "lines",
            (Query(quantile(0.95, "dns_query_duration_seconds", "type"), "{{type}}"),),
            unit="s",
            steps=Steps(GREEN, ((1, YELLOW), (3, RED))),
        ),
        Panel(
            "How questions were answered",
            "`hit`: known already; `joined`: somebody was asking the same; `miss`: the resolver was asked.",
            "stacked",
            (Query(rate("dns_cache_total", "result"), "{{result}}"),),
            unit="ops",
        ),
    ),
)

LISTS = Dashboard(
    "lists",
    "Lists",
    "Each DNS list: what it hits, how often it does not answer, how long it takes, and whether it is well.",
    (_NOW, _VALUE, _HEALTH, _RESOLVER),
    (Variable("zone", "List", "dnsbl_queries_total", "The policy's names of its lists."),),
)
