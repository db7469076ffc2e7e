"""The mutants: at least one for each invariant of the architecture, and the tests that must see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One small change of the code: ``old``, found once in ``file``, becomes ``new``; one of ``tests`` must fail."""

    invariant: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_CLIENT = "DNSBL only on the connecting IP"
_DOUBT = "Doubt is for the sender"
_DNSBL = ("tests/unit/checks/test_dnsbl.py",)
_ANSWERS = ("tests/unit/checks/test_dnsbl_answers.py",)
_NAMES = ("tests/unit/checks/test_names_given.py",)

CHECKS: tuple[Mutant, ...] = (
    Mutant(
        _CLIENT,
        "dnsbl-takes-more-than-the-client",
        "mailguard/checks/dnsbl.py",
        "async def ask(self, address: ClientAddress, deadline: float)",
        "async def ask(self, address: ClientAddress, deadline: float, received: tuple[ClientAddress, ...] = ())",
        _DNSBL,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-failure-is-not-listed",
        "mailguard/checks/dnsbl_answers.py",
        'return _FAILURES[kind], Unknown(f"{kind}: {why}")',
        "return _FAILURES[kind], NOT_LISTED",
        _ANSWERS,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-refusal-is-a-listing",
        "mailguard/checks/dnsbl_answers.py",
        "if code in BLOCKED:",
        "if False:",
        _ANSWERS,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-any-address-is-a-listing",
        "mailguard/checks/dnsbl_answers.py",
        "if code not in LISTING:",
        "if False:",
        _ANSWERS,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-ill-list-still-counts",
        "mailguard/checks/dnsbl.py",
        """        if item.ill:
            metrics.DNSBL_QUERIES""",
        """        if False:
            metrics.DNSBL_QUERIES""",
        _DNSBL,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-silence-makes-ill",
        "mailguard/checks/dnsbl_health.py",
        "return Finding(Health.UNDECIDED, undecided) if undecided",
        "return Finding(Health.ILL, undecided) if undecided",
        _DNSBL,
    ),
    Mutant(
        _DOUBT,
        "a-failed-question-is-a-no",
        "mailguard/checks/existence.py",
        "return unknown(failure) if failure else Known(False)",
        "return Known(False)",
        _NAMES,
    ),
    Mutant(
        _DOUBT,
        "a-failed-forward-question-is-unconfirmed",
        "mailguard/checks/reverse_dns.py",
        "if isinstance(answer, Failed):",
        "if False:",
        _NAMES,
    ),
)

_NO_LOSS = "No mail is lost and none is invented"
_DELIVER = ("tests/unit/relay/test_deliver.py",)

RELAY: tuple[Mutant, ...] = (
    Mutant(
        _NO_LOSS,
        "no-backend-is-a-250",
        "mailguard/relay/transaction.py",
        'return reply("backend_down").because("; ".join(self._causes))',
        'return reply("data_ok").because("; ".join(self._causes))',
        _DELIVER,
    ),
    Mutant(
        _NO_LOSS,
        "an-early-250-counts",
        "mailguard/relay/backend.py",
        'return self._refusal(await self._answer("content", self._limits.backend_reply_timeout))',
        'return await self._answer("content", self._limits.backend_reply_timeout)',
        _DELIVER,
    ),
    Mutant(
        _NO_LOSS,
        "a-refused-replay-is-delivered",
        "mailguard/relay/transaction.py",
        """        for answer in (first, *answers):
            if not answer.taken:""",
        """        for answer in (first, *answers):
            if False:""",
        _DELIVER,
    ),
    Mutant(
        _NO_LOSS,
        "lost-after-the-dot-is-sent-again",
        "mailguard/relay/transaction.py",
        """
                            break
""",
        """
                            continue
""",
        _DELIVER,
    ),
    Mutant(
        _NO_LOSS,
        "doubt-is-not-told",
        "mailguard/relay/transaction.py",
        'self.doubtful = failure.fault != "closing"',
        "self.doubtful = False",
        _DELIVER,
    ),
    Mutant(
        _NO_LOSS,
        "gone-before-the-dot-is-delivered",
        "mailguard/relay/transaction.py",
        """            self._check(gone)
            dialogue.end_content()""",
        """            dialogue.end_content()""",
        _DELIVER,
    ),
    Mutant(
        _NO_LOSS,
        "cancelled-after-the-dot-is-cut",
        "mailguard/relay/transaction.py",
        """            if self._dotted:
                task.add_done_callback""",
        """            if False:
                task.add_done_callback""",
        _DELIVER,
    ),
    Mutant(
        _NO_LOSS,
        "dots-are-not-stuffed",
        "mailguard/relay/stuffing.py",
        r'piece.replace(b"\n.", b"\n..")',
        "piece",
        ("tests/unit/relay/test_stuffing.py",),
    ),
    Mutant(
        _NO_LOSS,
        "dots-are-not-stuffed-between-pieces",
        "mailguard/relay/stuffing.py",
        'return b"." + stuffed if at_line_start else stuffed',
        "return stuffed",
        ("tests/unit/relay/test_stuffing.py",),
    ),
    Mutant(
        "Never an open relay",
        "the-backend-takes-us-for-the-client",
        "mailguard/relay/identity.py",
        "return Introduction(identity.header, identity.ehlo)",
        "return Introduction(LOCAL, identity.ehlo)",
        ("tests/unit/relay/test_identity.py", "tests/unit/relay/test_envelope.py"),
    ),
    Mutant(
        "Never an open relay",
        "an-open-backend-is-used",
        "mailguard/relay/member.py",
        "return not self.open_relay and self._breaker.admit()",
        "return self._breaker.admit()",
        ("tests/unit/relay/test_open_relay.py",),
    ),
)

_FORGED = ("tests/unit/message/test_forged.py",)
_COMPOSE = ("tests/unit/message/test_compose.py",)

MESSAGE: tuple[Mutant, ...] = (
    Mutant(
        _NO_LOSS,
        "the-head-replaces-one-octet-too-many",
        "mailguard/spool.py",
        "max(0, skip - len(self._head))",
        "max(0, skip + 1 - len(self._head))",
        ("tests/unit/test_spool.py", *_COMPOSE),
    ),
    Mutant(
        _NO_LOSS,
        "fields-of-others-are-unfolded",
        "mailguard/message/head.py",
        'return b"".join(self.fields)',
        'return b"".join(self.fields).replace(b"\\r\\n\\t", b" ")',
        _COMPOSE,
    ),
    Mutant(
        _NO_LOSS,
        "text-at-once-joins-our-fields",
        "mailguard/message/head.py",
        'return Head((), 0, b"\\r\\n" if octets else b"")',
        "return Head((), 0)",
        _COMPOSE,
    ),
    Mutant(
        _NO_LOSS,
        "a-full-disk-is-passed-over",
        "mailguard/spool.py",
        'raise SpoolFull(f"spool file: {error}") from error',
        "return",
        ("tests/unit/test_spool.py",),
    ),
    Mutant(
        _NO_LOSS,
        "a-truncated-spool-is-delivered",
        "mailguard/spool.py",
        'raise SpoolLost(f"spool file ends at octet {start}")',
        "break",
        ("tests/unit/test_spool.py",),
    ),
    Mutant(
        "Only we write our fields",
        "a-blank-before-the-colon-hides-a-field",
        "mailguard/message/head.py",
        "name.translate(_LOWER, _NOT_IN_NAMES)",
        "name.translate(_LOWER)",
        _FORGED,
    ),
    Mutant(
        "Only we write our fields",
        "a-comment-hides-the-authserv-id",
        "mailguard/message/forged.py",
        "start = _skip_cfws(value, 0)",
        "start = 0",
        _FORGED,
    ),
    Mutant(
        "Received evidence never blocks",
        "the-scanners-do-not-see-the-client",
        "mailguard/message/compose.py",
        "return fields.return_path(sender) + transmission.received() + head.octets + head.separator",
        "return fields.return_path(sender) + head.octets + head.separator",
        _COMPOSE,
    ),
)

MUTANTS: tuple[Mutant, ...] = CHECKS + RELAY + MESSAGE
