"""What came, what was done with it, and why: the page to begin with."""

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
from deploy.grafana.source.query import EVERYWHERE, PERIOD, count, gauge, quantile, rate, raw, share

_RULE = 'rule=~"$rule"'
_LET_IN = f'label_replace({count("policy_sampled_total", "rule", _RULE)}, "action", "sample", "", "")'
"""A row of its own in a table by rule and action: without an action it would join every row of its rule."""
_NOT_TAKEN = f'action=~"reject|defer",{_RULE}'
_NOT_ACCEPTED = f'action!="accept",{_RULE}'

_NOW = Row(
    "Now",
    (
        number(
            "Nodes that do not answer",
            "Nodes whose metrics Prometheus cannot fetch. Mail may still flow: look at the node itself.",
            f"count(up{{{EVERYWHERE}}} == 0) or vector(0)",
            steps=NEVER,
            alert="MailguardDown",
        ),
        number(
            "Backends without answer",
            "Backends whose breaker is open on some node. Without any backend mail is deferred, never lost.",
            f"count({raw('backend_up')} == 0) or vector(0)",
            steps=NEVER,
            alert="MailguardBackendDown",
        ),
        number(
            "Lists set aside",
            "DNS lists whose test points do not answer as they must. They count as unknown, so spam may come through.",
            f"count({raw('dnsbl_healthy')} == 0) or vector(0)",
            steps=at_least(1, 3),
            alert="MailguardListIll",
        ),
        number(
            "Scans that failed",
            "Scans of the period that gave no result: the scanner was down or could not read the message.",
            count("scans_total", where='result=~"down|unscannable"'),
            steps=Steps(GREEN, ((0.5, YELLOW),)),
            decimals=0,
            alert="MailguardScansUnknown",
        ),
        number(
            "Policy",
            "Whether the last load of a policy succeeded everywhere. Refused: the earlier one is still at work; "
            "`mailguard check` tells the line.",
            gauge("policy_load_success", across="min"),
            steps=ALWAYS_ONE,
            words={0: "refused", 1: "loaded"},
            silent="unknown",
            alert="MailguardPolicyLoadFailed",
        ),
        number(
            "Observing",
            "Nodes on which `mailguard observe` keeps the policy from being enforced: nothing is refused there.",
            f"count({raw('observing_until_timestamp_seconds')} > time()) or vector(0)",
            steps=Steps(GREEN, ((1, YELLOW),)),
            alert="MailguardObserving",
        ),
    ),
)

_PERIOD = Row(
    "In the period shown",
    (
        number(
            "Messages",
            "Messages that arrived whole; once for each verdict that recipients of one differ in.",
            count("messages_total"),
            decimals=0,
        ),
        number(
            "Recipients refused",
            "RCPT commands that policy refused.",
            count("recipients_total", where='action="reject"'),
            decimals=0,
        ),
        number(
            "Part of recipients refused",
            "A jump means a storm of spam, or a policy or a list that went wrong: see “Why”.",
            share("recipients_total", 'action="reject"', over=PERIOD),
            unit="percentunit",
            most=1,
            alert="MailguardRejectsJump",
        ),
        number(
            "Part of messages filed",
            "Messages that were taken and filed as spam.",
            share("messages_total", 'action="file"', over=PERIOD),
            unit="percentunit",
            most=1,
        ),
        number(
            "Part of messages deferred",
            "Messages that senders were told to bring again. More than a few: something that policy needs is not "
            "there.",
            share("messages_total", 'action="defer"', over=PERIOD),
            unit="percentunit",
            steps=at_least(0.02, 0.1),
            most=1,
            alert="MailguardDeferrals",
        ),
        number(
            "Internal errors",
            "Unexpected exceptions, each in the log as `internal error` with its reference id.",
            count("internal_errors_total"),
            steps=NEVER,
            decimals=0,
            alert="MailguardInternalErrors",
        ),
    ),
)

_CAME = Row(
    "What came",
    (
        Panel(
            "Connections, by how they ended",
            "`quit` is the good end. `lost` and `timeout` by the hundred are robots or a broken network; `internal` is "
            "a fault of mailguard's.",
            "stacked",
            (Query(rate("connections_total", "end"), "{{end}}"),),
            unit="cps",
        ),
        Panel(
            "Turned away before policy",
            "421 at once: no slot left (`slots`), too many of one client (`client`), a process that lags (`lag`), or a "
            "bad PROXY header (`proxy`: the load balancer is misconfigured, or a stranger speaks to its port).",
            "stacked",
            (Query(rate("connections_refused_total", "why"), "{{why}}"),),
            unit="cps",
            alert="MailguardTurnedAway",
        ),
        Panel(
            "Connections open, and slots",
            "At the line of slots strangers hear 421. The last twentieth is for relays of our own.",
            "lines",
            (
                Query(gauge("sessions_in_flight"), "open"),
                Query(gauge("connection_slots", where='who="anybody"'), "slots"),
            ),
            alert="MailguardSlotsUsed",
        ),
        Panel(
            "Size of messages",
            "Of messages that arrived whole.",
            "lines",
            (
                Query(quantile(0.5, "message_size_bytes"), "half are below"),
                Query(quantile(0.95, "message_size_bytes"), "95 % are below"),
            ),
            unit="bytes",
        ),
    ),
)

_DONE = Row(
    "What was done",
    (
        Panel(
            "Messages, by verdict",
            "What policy decided of messages that arrived whole: accept, file, reject, defer.",
            "stacked",
            (Query(rate("messages_total", "action"), "{{action}}"),),
            unit="ops",
            alert="MailguardNoMail",
        ),
        Panel(
            "Recipients, by verdict",
            "Most refusals are made here, before any content is sent.",
            "stacked",
            (Query(rate("recipients_total", "action"), "{{action}}"),),
            unit="ops",
        ),
        Panel(
            "Replies that were not 2yz or 3yz",
            "4yz: come again; 5yz: refused; by stage. Many 4yz at `connect`: no slots. At `content`: scanners or "
            "backend.",
            "stacked",
            (Query(rate("replies_total", "class,stage", 'class=~"4|5"'), "{{class}}yz at {{stage}}"),),
            unit="ops",
        ),
        Panel(
            "From the end of data to our reply",
            "What a sender waits after the final dot: scanners and backend. Senders give up at 10 minutes (RFC 5321 "
            "4.5.3.2.6).",
            "lines",
            (
                Query(quantile(0.5, "message_duration_seconds"), "half are below"),
                Query(quantile(0.95, "message_duration_seconds"), "95 % are below"),
                Query(quantile(0.99, "message_duration_seconds"), "99 % are below"),
            ),
            unit="s",
            steps=Steps(GREEN, ((30, YELLOW), (120, RED))),
            alert="MailguardSlow",
        ),
    ),
)

_WHY = Row(
    "Why",
    (
        Panel(
            "Rules: what each did in the period",
            "Recipients and messages that each rule decided, what it would have done if it were enforced, and whom the "
            "policy's sample let in although it refuses. `none`: the rules came to their end.",
            "table",
            (
                Query(count("recipients_total", "rule,action", _RULE), "recipients"),
                Query(count("messages_total", "rule,action", _RULE), "messages"),
                Query(count("policy_observed_total", "rule,action", _RULE), "only observed"),
                Query(_LET_IN, "let in as a sample"),
            ),
            width=24,
            decimals=0,
            alert="MailguardRuleFalsePositives",
        ),
        Panel(
            "Recipients refused or deferred, by rule",
            "The ten rules that did most. One that jumps alone: look at its lists, then at the last reload (the mark).",
            "stacked",
            (
                Query(
                    f"topk(10, {rate('recipients_total', 'rule', _NOT_TAKEN)})",
                    "{{rule}}",
                ),
            ),
            unit="ops",
            alert="MailguardRejectsJump",
        ),
        Panel(
            "Messages not simply accepted, by rule",
            "`unavailable: SOURCE` means that a rule needed what could not be had.",
            "stacked",
            (
                Query(
                    f"topk(10, {rate('messages_total', 'rule,action', _NOT_ACCEPTED)})",
                    "{{rule}}: {{action}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Measured false positives, by rule",
            "Of the messages that a rule refuses and that came in all the same (its sample, observe mode): the part "
            "that looks clean to both scanners. Empty: not measurable.",
            "lines",
            (
                Query(
                    share(
                        "policy_spared_messages_total", 'content="clean"', "rule", f'content!="unknown",{_RULE}', PERIOD
                    ),
                    "{{rule}}",
                ),
            ),
            unit="percentunit",
            steps=at_least(0.02, 0.1),
            most=1,
            silent="not measurable",
            alert="MailguardRuleFalsePositives",
        ),
        Panel(
            "What observing kept from being done",
            "By rule, in `mode: observe` or during `mailguard observe`: what enforcing would do.",
            "stacked",
            (Query(rate("policy_observed_total", "rule,action", _RULE), "{{rule}}: {{action}}"),),
            unit="ops",
        ),
        Panel(
            "Recipients told to come again alone",
            "452 4.5.3, by what parts them from an earlier recipient of the same message.",
            "stacked",
            (Query(rate("recipients_waiting_total", "difference"), "{{difference}}"),),
            unit="ops",
        ),
    ),
)

OVERVIEW = Dashboard(
    "overview",
    "Overview",
    "What came, what was done with it, and why. Begin here; the other pages are linked above.",
    (_NOW, _PERIOD, _CAME, _DONE, _WHY),
    (Variable("rule", "Rule", "recipients_total", "Rules of the policy, for the panels of “Why”."),),
)
