"""Mutants of the session and the worker: what holds only where all parts are together."""

from __future__ import annotations

from tests.mutants.mutant import BAD_POLICY, CLIENT_ONLY, EXPLAINED, NO_LOSS, RECEIVED, RELAY, Mutant

_SESSION = ("tests/unit/session",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        RELAY,
        "any-domain-is-ours",
        "mailguard/session/story.py",
        "        if is_ours(recipient, self._settings.relay_domains):\n",
        "        if True:\n",
        _SESSION,
    ),
    Mutant(
        RELAY,
        "postmaster-anywhere-is-ours",
        "mailguard/session/story.py",
        "    if not recipient.domain:\n        return",
        '    if not recipient.domain or recipient.local == "postmaster":\n        return',
        _SESSION,
    ),
    Mutant(
        RECEIVED,
        "received-fields-make-a-message-larger",
        "mailguard/session/story.py",
        'content.size - sum(map(len, head.named(b"received")))',
        "content.size",
        ("tests/unit/session/test_session.py",),
    ),
    Mutant(
        RELAY,
        "letters-that-look-alike-are-ours",
        "mailguard/caseless.py",
        "text.lower() if text.isascii() else text.translate(_LOWER)",
        "text.casefold()",
        ("tests/unit/test_caseless.py", "tests/unit/session/test_session.py"),
    ),
    Mutant(
        CLIENT_ONLY,
        "the-lists-are-asked-about-our-own-relays",
        "mailguard/session/questions.py",
        "        if self._own_relay:\n            question.close()\n            return\n",
        "",
        _SESSION,
    ),
    Mutant(
        NO_LOSS,
        "recipients-of-two-treatments-share-a-message",
        "mailguard/session/story.py",
        "if not transaction.fits(treatment):",
        "if False:",
        _SESSION,
    ),
    Mutant(
        NO_LOSS,
        "what-did-not-fit-is-delivered-cut",
        "mailguard/session/story.py",
        "if transaction.lost is not None or transaction.spool is None:",
        "if transaction.spool is None:",
        _SESSION,
    ),
    Mutant(
        NO_LOSS,
        "a-doubtful-delivery-is-not-written-down",
        "mailguard/session/record.py",
        "transaction.onward is not None and transaction.onward.doubtful",
        "False",
        _SESSION,
    ),
    Mutant(
        EXPLAINED,
        "a-refused-recipient-gets-no-reference",
        "mailguard/session/story.py",
        "        return answer.with_reference(transaction.reference)\n\n    def _refuse_foreign",
        "        return answer\n\n    def _refuse_foreign",
        _SESSION,
    ),
    Mutant(
        EXPLAINED,
        "a-refused-recipient-is-not-logged",
        "mailguard/session/story.py",
        "record.recipient_refused(transaction, recipient, answer, self._who(), verdict)",
        "pass",
        _SESSION,
    ),
    Mutant(
        BAD_POLICY,
        "a-policy-that-does-not-load-goes-live",
        "mailguard/worker.py",
        "len(problems.problems))\n            return False\n",
        "len(problems.problems))\n            return True\n",
        _SESSION,
    ),
    Mutant(
        BAD_POLICY,
        "a-policy-is-loaded-while-the-sessions-wait",
        "mailguard/worker.py",
        "await self._aside.run(lambda: load_for(self._settings), limit)",
        "load_for(self._settings)",
        _SESSION,
    ),
)
