"""The mail server behind: whether it answers, what it answers, how long it takes."""

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

_BACKEND = 'backend=~"$backend"'
_LOST = 'class=~"lost|timeout"'

_NOW = Row(
    "Now",
    (
        number(
            "Backends without answer",
            "On some node the breaker is open. With another backend mail goes there; without one it is deferred.",
            f"count({raw('backend_up', where=_BACKEND)} == 0) or vector(0)",
            steps=NEVER,
            alert="MailguardNoBackend",
        ),
        number(
            "Messages given to backends",
            "Final dots that a backend answered with 2yz.",
            count("backend_replies_total", where=f'command="content",class="2",{_BACKEND}'),
            decimals=0,
        ),
        number(
            "Part of replies 4yz",
            "The backend is full, greylists, or its lookups fail: it must not greylist behind mailguard.",
            share("backend_replies_total", 'class="4"', of=_BACKEND, over=PERIOD),
            unit="percentunit",
            steps=at_least(0.02, 0.1),
            most=1,
            alert="MailguardDeferrals",
        ),
        number(
            "Part of replies 5yz",
            "Mostly recipients that do not exist.",
            share("backend_replies_total", 'class="5"', of=_BACKEND, over=PERIOD),
            unit="percentunit",
            most=1,
        ),
        number(
            "Replies that did not come",
            "Connections lost and times run out, in the period.",
            count("backend_replies_total", where=f"{_LOST},{_BACKEND}"),
            steps=Steps(GREEN, ((0.5, YELLOW), (20, RED))),
            decimals=0,
            alert="MailguardBackendDown",
        ),
        number(
            "Replays that failed",
            "A backend was lost in a transaction, and no other took it over: the sender was told to come again.",
            count("backend_replays_total", where='result="failed"'),
            steps=Steps(GREEN, ((0.5, YELLOW),)),
            decimals=0,
        ),
    ),
)

_ANSWERS = Row(
    "Answers",
    (
        Panel(
            "Whether backends answer",
            "The breaker of each, as the worst of all nodes sees it.",
            "states",
            (Query(gauge("backend_up", "backend", _BACKEND, across="min"), "{{backend}}"),),
            steps=ALWAYS_ONE,
            words={0: "no answer", 1: "up"},
            most=1,
            alert="MailguardBackendDown",
        ),
        Panel(
            "Replies, by class",
            "2yz and 3yz are the good ones; `lost` and `timeout` are none at all.",
            "stacked",
            (Query(rate("backend_replies_total", "class", _BACKEND), "{{class}}"),),
            unit="ops",
        ),
        Panel(
            "Replies that are not good, by command",
            "5yz at `rcpt`: unknown recipients. 4yz at `content`: the disk is full? `lost` at `connect`: it is "
            "not there.",
            "stacked",
            (
                Query(
                    rate("backend_replies_total", "command,class", f'class!~"2|3",{_BACKEND}'),
                    "{{class}} at {{command}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Replies, by backend",
            "How mail is spread where there are several.",
            "stacked",
            (Query(rate("backend_replies_total", "backend", _BACKEND), "{{backend}}"),),
            unit="ops",
        ),
    ),
)

_WAITING = Row(
    "Waiting",
    (
        Panel(
            "Waiting for a reply: 95 %",
            "`rcpt` long: the backend verifies recipients slowly. `content` long: its disk, or checks of its own.",
            "lines",
            (Query(quantile(0.95, "backend_reply_duration_seconds", "command"), "{{command}}"),),
            unit="s",
            steps=Steps(GREEN, ((10, YELLOW), (60, RED))),
            alert="MailguardBackendSlow",
        ),
        Panel(
            "Waiting for a reply: half",
            "The usual wait.",
            "lines",
            (Query(quantile(0.5, "backend_reply_duration_seconds", "command"), "{{command}}"),),
            unit="s",
        ),
        Panel(
            "Connections",
            "Connections are used again only where no client is named to the backend (neither PROXY nor XCLIENT).",
            "stacked",
            (Query(rate("backend_connections_total", "backend,how", _BACKEND), "{{backend}}: {{how}}"),),
            unit="cps",
        ),
        Panel(
            "Replays",
            "Transactions begun anew with another connection because a backend was lost.",
            "stacked",
            (Query(rate("backend_replays_total", "result"), "{{result}}"),),
            unit="ops",
        ),
    ),
)

BACKEND = Dashboard(
    "backend",
    "Backend",
    "The mail server behind: whether it answers, what it answers, how long it takes.",
    (_NOW, _ANSWERS, _WAITING),
    (Variable("backend", "Backend", "backend_replies_total", "Addresses of backends in the configuration."),),
)
