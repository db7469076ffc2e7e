"""Mutants of the SMTP face."""

from __future__ import annotations

from tests.mutants.mutant import BUG, CLIENT_ONLY, EXACT, EXPLAINED, NO_LOSS, Mutant

_DOT = ("tests/unit/smtp/test_dotreader.py",)
_CHUNK = ("tests/unit/smtp/test_chunkreader.py",)
_GRAMMAR = ("tests/unit/smtp/test_grammar.py",)
_LINES = ("tests/unit/smtp/test_lines.py",)
_CONVERSATION = ("tests/unit/smtp/test_conversation.py",)
_SERVER = ("tests/unit/smtp/test_server.py",)
_PROXY = ("tests/unit/net/test_proxy_protocol.py",)

_TLS = ("tests/unit/smtp/test_tls.py",)
_XCLIENT = ("tests/unit/smtp/test_xclient.py",)
MUTANTS: tuple[Mutant, ...] = (
    Mutant(EXACT, "lf-dot-crlf-ends", "mailguard/smtp/dotreader.py", r'b"\r\n.\r\n"', r'b"\n.\r\n"', _DOT),
    Mutant(
        EXACT,
        "bare-line-ends-pass",
        "mailguard/smtp/content.py",
        r'content.replace(CRLF, b"\n").replace(b"\r", b"\n").replace(b"\n", CRLF)',
        "content",
        (*_DOT, *_CHUNK),
    ),
    Mutant(
        EXACT,
        "dots-are-dropped-behind-bare-line-ends",
        "mailguard/smtp/dotreader.py",
        "content = raw.replace(_STUFFED, CRLF)",
        r'content = raw.replace(_STUFFED, CRLF).replace(b"\n.", b"\n")',
        _DOT,
    ),
    Mutant(
        EXACT,
        "an-end-cut-by-a-packet-is-missed",
        "mailguard/smtp/dotreader.py",
        "range(len(_END) - 1, 0, -1)",
        "range(len(_END) - 2, 0, -1)",
        _DOT,
    ),
    Mutant(
        EXACT,
        "a-bare-lf-hides-in-a-command",
        "mailguard/smtp/lines.py",
        r'rb"[\0\r\n]"',
        r'rb"[\0\r]"',
        _LINES,
    ),
    Mutant(
        EXACT,
        "control-characters-in-quotes",
        "mailguard/smtp/grammar.py",
        "_QUOTED: Final = bytes(range(0x20, 0x7F)) + _HIGH",
        "_QUOTED: Final = bytes(range(0x100))",
        _GRAMMAR,
    ),
    Mutant(
        EXACT,
        "a-path-that-is-not-utf8",
        "mailguard/smtp/grammar.py",
        'self._bad("not valid UTF-8")',
        "return",
        _GRAMMAR,
    ),
    Mutant(
        EXACT,
        "data-without-a-recipient",
        "mailguard/smtp/states.py",
        "_S.SENDER: {**_anywhere(_S.SENDER), _V.RSET: _S.READY, _V.RCPT: _S.RECIPIENTS},",
        "_S.SENDER: {**_anywhere(_S.SENDER), _V.RSET: _S.READY, _V.RCPT: _S.RECIPIENTS, _V.DATA: _S.CONTENT},",
        (*_CONVERSATION, "tests/dialogues"),
    ),
    Mutant(
        EXACT,
        "too-large-is-taken",
        "mailguard/smtp/conversation.py",
        "if self._reader.size > self._max_size:",
        "if False:",
        _CONVERSATION,
    ),
    Mutant(
        EXACT,
        "a-proxy-header-from-anybody",
        "mailguard/smtp/admission.py",
        "return any(peer.ip in network for network in trusted)",
        "return True",
        ("tests/unit/smtp/test_admission.py",),
    ),
    Mutant(EXACT, "a-cut-proxy-address", "mailguard/net/proxy_protocol.py", "2 * size + 4:", "2 * size:", _PROXY),
    Mutant(
        BUG,
        "an-exception-bounces",
        "mailguard/smtp/teller.py",
        'return self._bug("internal")',
        'return reply("policy_reject")',
        _SERVER,
    ),
    Mutant(
        BUG,
        "a-transaction-outlives-a-failed-reset",
        "mailguard/smtp/teller.py",
        'self._conversation.close(reply("internal_close"), End.INTERNAL)',
        "return",
        _SERVER,
    ),
    Mutant(
        NO_LOSS,
        "a-client-that-leaves-cuts-the-backend",
        "mailguard/smtp/server.py",
        "        asyncio.StreamReaderProtocol.connection_lost(self, error)",
        "        super().connection_lost(error)",
        _SERVER,
    ),
    Mutant(
        NO_LOSS,
        "half-a-message-is-a-message",
        "mailguard/smtp/conversation.py",
        "        self._close(End.LOST)",
        "        self._ask(Verb.END, EndOfData(self._reader.size)) if self.in_content else self._close(End.LOST)",
        _SERVER,
    ),
    Mutant(
        EXPLAINED,
        "our-own-refusals-bear-no-reference",
        "mailguard/smtp/server.py",
        "return Said(answer.with_reference(self._reference), stage, own=True)",
        "return Said(answer, stage, own=True)",
        ("tests/dialogues",),
    ),
    Mutant(
        EXPLAINED,
        "our-own-refusals-are-not-logged",
        "mailguard/smtp/server.py",
        'self._log("command refused", answer)',
        "pass",
        _SERVER,
    ),
    Mutant(
        EXPLAINED,
        "who-is-turned-away-gets-no-reference",
        "mailguard/smtp/server.py",
        "Said(refusal.reply.with_reference(self._reference)",
        "Said(refusal.reply",
        _SERVER,
    ),
    Mutant(
        EXACT,
        "plain-text-behind-starttls-is-carried-out",
        "mailguard/smtp/server.py",
        "self._conversation = self._conversation.in_tls()",
        "self._conversation = self._conversation.for_another_client()",
        _TLS,
    ),
    Mutant(
        EXACT,
        "ehlo-holds-behind-the-handshake",
        "mailguard/smtp/conversation.py",
        "        after.transactions = self.transactions",
        "        after.transactions, after.state = self.transactions, State.READY",
        ("tests/unit/smtp/test_handover.py",),
    ),
    Mutant(
        EXACT,
        "the-name-said-before-the-handshake-is-kept",
        "mailguard/session/story.py",
        "        self._hello = _NO_HELLO\n        self._questions.forget_helo()",
        "        self._questions.forget_helo()",
        ("tests/unit/session/test_encrypted.py",),
    ),
    Mutant(
        CLIENT_ONLY,
        "xclient-from-anybody",
        "mailguard/smtp/server.py",
        "xclient=is_trusted(peer.address, config.xclient_from)",
        "xclient=True",
        _XCLIENT,
    ),
    Mutant(
        CLIENT_ONLY,
        "what-xclient-told-in-plain-text-is-kept-in-tls",
        "mailguard/smtp/server.py",
        "config.starttls and not self._relayed",
        "config.starttls",
        _XCLIENT,
    ),
    Mutant(
        CLIENT_ONLY,
        "xclient-changes-no-address",
        "mailguard/smtp/admission.py",
        "peer = replace(peer, address=said.address or own.address, port=0, told=told)",
        "peer = replace(peer, port=0, told=told)",
        _XCLIENT,
    ),
)
