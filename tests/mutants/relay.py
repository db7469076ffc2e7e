"""Mutants of the relay."""

from __future__ import annotations

from tests.mutants.mutant import NO_LOSS, RELAY, SHARED, Mutant

_SHARES = ("tests/unit/relay/test_shares.py",)
_DELIVER = ("tests/unit/relay/test_deliver.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        NO_LOSS,
        "no-backend-is-a-250",
        "mailguard/relay/transaction.py",
        'return reply("backend_down").because("; ".join(self._causes))',
        'return reply("data_ok").because("; ".join(self._causes))',
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "an-early-250-counts",
        "mailguard/relay/conversation.py",
        ' and not (command == "content" and self.in_content)',
        "",
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "a-refused-replay-is-delivered",
        "mailguard/relay/transaction.py",
        """        for answer in (first, *answers):
            if not answer.taken:""",
        """        for answer in (first, *answers):
            if False:""",
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "lost-after-the-end-is-sent-again",
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
        NO_LOSS,
        "doubt-is-not-told",
        "mailguard/relay/transaction.py",
        'self.doubtful = failure.fault != "closing"',
        "self.doubtful = False",
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "gone-before-the-end-is-delivered",
        "mailguard/relay/backend.py",
        """        check()
        return None if""",
        """        return None if""",
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "cancelled-after-the-end-is-cut",
        "mailguard/relay/transaction.py",
        """            if self._ended:
                task.add_done_callback""",
        """            if False:
                task.add_done_callback""",
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "dots-are-not-stuffed",
        "mailguard/relay/stuffing.py",
        r'piece.replace(b"\n.", b"\n..")',
        "piece",
        ("tests/unit/relay/test_stuffing.py",),
    ),
    Mutant(
        NO_LOSS,
        "dots-are-not-stuffed-between-pieces",
        "mailguard/relay/stuffing.py",
        'return b"." + stuffed if at_line_start else stuffed',
        "return stuffed",
        ("tests/unit/relay/test_stuffing.py",),
    ),
    Mutant(
        RELAY,
        "the-backend-takes-us-for-the-client",
        "mailguard/relay/identity.py",
        "return Introduction(identity.header, identity.ehlo)",
        "return Introduction(LOCAL, identity.ehlo)",
        ("tests/unit/relay/test_identity.py", "tests/unit/relay/test_envelope.py"),
    ),
    Mutant(
        RELAY,
        "an-open-backend-is-used",
        "mailguard/relay/member.py",
        "return not self.open_relay and self._breaker.admit()",
        "return self._breaker.admit()",
        ("tests/unit/relay/test_open_relay.py",),
    ),
    Mutant(
        SHARED,
        "one-client-may-hold-every-backend-connection",
        "mailguard/relay/shares.py",
        "if self._held[key] >= self._most:",
        "if False:",
        _SHARES,
    ),
    Mutant(
        SHARED,
        "a-silent-client-keeps-its-backend",
        "mailguard/relay/transaction.py",
        "loop.call_later(self._limits.backend_idle_timeout, self._leave)",
        "loop.call_later(86_400.0, self._leave)",
        _SHARES,
    ),
    Mutant(
        SHARED,
        "a-share-is-never-given-back",
        "mailguard/relay/transaction.py",
        "self._shares.give_back(self._identity.address)",
        "pass",
        _SHARES,
    ),
)
