"""Mutants of the relay."""

from __future__ import annotations

from tests.mutants.mutant import EXACT, NO_LOSS, PRIVATE, RELAY, SHARED, Mutant

_SHARES = ("tests/unit/relay/test_shares.py",)
_DELIVER = ("tests/unit/relay/test_deliver.py",)
_POOL = ("tests/unit/relay/test_pool.py",)
_TLS = ("tests/unit/relay/test_tls.py",)

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
        ' and not (command == "content" and self._body is not None)',
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
        """            self.doubtful = failure.fault != "closing"  # a 421 says that nothing was taken
            return self._none_left()""",
        """            self.doubtful = failure.fault != "closing"
            return None""",
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
        """            await self._stream.catch_up()
            check()""",
        """            await self._stream.catch_up()""",
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "gone-while-the-backend-thought-is-delivered",
        "mailguard/relay/backend.py",
        """        check()
        in_pieces = False""",
        """        in_pieces = False""",
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "cancelled-after-the-end-is-cut",
        "mailguard/relay/transaction.py",
        """            if self._ended:
                self._hear_out()""",
        """            if False:
                self._hear_out()""",
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
        "if held >= self._most:",
        "if False:",
        _SHARES,
    ),
    Mutant(
        SHARED,
        "a-silent-client-keeps-its-backend",
        "mailguard/relay/transaction.py",
        "rest(self._limits.backend_idle_timeout, self._leave)",
        "rest(86_400.0, self._leave)",
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
    Mutant(
        NO_LOSS,
        "a-lost-reply-is-a-250",
        "mailguard/relay/transaction.py",
        "return answer or self._none_left()",
        'return answer or reply("data_ok")',
        _DELIVER,
    ),
    Mutant(
        NO_LOSS,
        "the-last-piece-of-bdat-is-not-held-back",
        "mailguard/relay/conversation.py",
        """            held, self._held = self._held, piece
            return held
        self._begun""",
        """            held, self._held = self._held + piece, b""
            return held
        self._begun""",
        ("tests/unit/relay/test_conversation.py", "tests/unit/relay/test_deliver.py"),
    ),
    Mutant(
        NO_LOSS,
        "what-the-backend-does-not-know-is-left-out",
        "mailguard/relay/offer.py",
        "elif keyword in _OF_DSN:",
        "elif False:",
        ("tests/unit/relay/test_conversation.py",),
    ),
    Mutant(
        NO_LOSS,
        "a-dead-connection-that-waited-costs-a-message",
        "mailguard/relay/transaction.py",
        'if not waited or failure.fault == "silent" or self._aborted:',
        "if True:",
        _POOL,
    ),
    Mutant(
        EXACT,
        "an-unfinished-transaction-is-not-reset",
        "mailguard/relay/conversation.py",
        "        if unfinished:\n            self._say",
        "        if False:\n            self._say",
        ("tests/unit/test_both_ends.py", *_POOL),
    ),
    Mutant(
        PRIVATE,
        "an-answer-before-tls-is-one-in-tls",
        "mailguard/relay/conversation.py",
        "            if self.pending:\n                raise",
        "            if False:\n                raise",
        ("tests/unit/relay/test_conversation.py",),
    ),
    Mutant(
        PRIVATE,
        "what-was-offered-before-tls-counts",
        "mailguard/relay/conversation.py",
        """        self._tls = "none"
        self._say_hello()""",
        """        self._tls = "none"
        self._name_client()""",
        ("tests/unit/relay/test_conversation.py", *_TLS),
    ),
    Mutant(
        PRIVATE,
        "mail-goes-in-plain-text-where-tls-is-required",
        "mailguard/relay/conversation.py",
        """        elif self._tls == "required":
            raise BackendFailed("offers""",
        """        elif False:
            raise BackendFailed("offers""",
        _TLS,
    ),
    Mutant(
        PRIVATE,
        "required-tls-falls-back",
        "mailguard/relay/member.py",
        'if failure.fault != "tls" or self._backend.tls != "opportunistic":',
        'if failure.fault != "tls":',
        _TLS,
    ),
    Mutant(
        PRIVATE,
        "a-certificate-is-not-verified",
        "mailguard/relay/tls.py",
        "verified=backend.tls_name is not None",
        "verified=False",
        _TLS,
    ),
    Mutant(
        PRIVATE,
        "a-fingerprint-is-not-compared",
        "mailguard/relay/tls.py",
        "if self._wanted.isdisjoint(found):",
        "if False:",
        _TLS,
    ),
    Mutant(
        RELAY,
        "a-client-that-cannot-be-named-is-we",
        "mailguard/relay/conversation.py",
        "if self._naming is None and client is not None:",
        "if self._naming is None and client is not None and self.offer.xclient:",
        ("tests/unit/relay/test_conversation.py",),
    ),
    Mutant(
        RELAY,
        "a-clients-connection-carries-anothers-mail",
        "mailguard/relay/member.py",
        'reused = backend.client_identity == "none" and',
        "reused =",
        _POOL,
    ),
    Mutant(
        RELAY,
        "a-connection-carries-more-messages-than-it-may",
        "mailguard/relay/member.py",
        "more = dialogue.transactions < self._limits.max_messages_per_backend_connection",
        "more = True",
        _POOL,
    ),
    Mutant(
        SHARED,
        "a-backend-gets-more-connections-than-it-may",
        "mailguard/relay/member.py",
        "if self._connections >= self._backend.connections:",
        "if False:",
        _POOL,
    ),
)
