"""Mutants of message surgery and spool."""

from __future__ import annotations

from tests.mutants.mutant import NO_LOSS, RECEIVED, Mutant

_FORGED = ("tests/unit/message/test_forged.py",)
_COMPOSE = ("tests/unit/message/test_compose.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        NO_LOSS,
        "the-head-replaces-one-octet-too-many",
        "mailguard/spool.py",
        "max(0, skip - len(self._head))",
        "max(0, skip + 1 - len(self._head))",
        ("tests/unit/test_spool.py", *_COMPOSE),
    ),
    Mutant(
        NO_LOSS,
        "fields-of-others-are-unfolded",
        "mailguard/message/head.py",
        'return b"".join(piece.octets for piece in self.pieces)',
        'return b"".join(piece.octets for piece in self.pieces).replace(b"\\r\\n\\t", b" ")',
        _COMPOSE,
    ),
    Mutant(
        NO_LOSS,
        "text-at-once-joins-our-fields",
        "mailguard/message/head.py",
        'return Head((), 0, b"\\r\\n" if octets else b"")',
        "return Head((), 0)",
        _COMPOSE,
    ),
    Mutant(
        NO_LOSS,
        "a-full-disk-is-passed-over",
        "mailguard/spool.py",
        'raise SpoolFull(f"{self._folder.name}: {error.strerror or error}") from error',
        "return",
        ("tests/unit/test_spool.py",),
    ),
    Mutant(
        NO_LOSS,
        "a-truncated-spool-is-delivered",
        "mailguard/spool.py",
        'raise SpoolLost(f"spool file ends at octet {start}")',
        "break",
        ("tests/unit/test_spool.py",),
    ),
    Mutant(
        "Only we write our fields",
        "a-blank-before-the-colon-hides-a-field",
        "mailguard/message/sought.py",
        "name.translate(_LOWER, _NOT_IN_NAMES)",
        "name.translate(_LOWER)",
        _FORGED,
    ),
    Mutant(
        "Only we write our fields",
        "a-nul-in-a-name-hides-a-field",
        "mailguard/message/sought.py",
        "return _IDLE.join(",
        'return b"".join(',
        _FORGED,
    ),
    Mutant(
        "Only we write our fields",
        "our-name-in-other-letters-is-not-ours",
        "mailguard/message/our_name.py",
        """return normalize("NFKC", normalize("NFKC", label.casefold()).casefold())""",
        "return label",
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
        RECEIVED,
        "the-scanners-do-not-see-the-client",
        "mailguard/message/compose.py",
        "return fields.return_path(sender) + transmission.received() + head.octets + head.separator",
        "return fields.return_path(sender) + head.octets + head.separator",
        _COMPOSE,
    ),
)
