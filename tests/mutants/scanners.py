"""Mutants of the scanners and of what is known of SpamAssassin's rules."""

from __future__ import annotations

from tests.mutants.mutant import DOUBT, RECEIVED, Mutant

_POINTS = ("tests/unit/spamrules/test_points.py",)
_CLAMD = ("tests/unit/scanners/test_clamav.py",)
_SPAMD = ("tests/unit/scanners/test_spamassassin.py",)
_EXCERPT = ("tests/unit/scanners/test_excerpt.py",)
_DERIVE = ("tests/unit/spamrules/test_derive.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        RECEIVED,
        "tainted-points-count",
        "mailguard/spamrules/points.py",
        "return math.floor((whole - taken) * 1000 + 1e-6) / 1000",
        "return math.floor(whole * 1000 + 1e-6) / 1000",
        _POINTS,
    ),
    Mutant(
        RECEIVED,
        "another-relay-is-the-client",
        "mailguard/scanners/spamassassin.py",
        "if output.relay == client and not any(client.ip in network for network in _SKIPPED):",
        "if not any(client.ip in network for network in _SKIPPED):",
        _SPAMD,
    ),
    Mutant(
        RECEIVED,
        "a-private-client-is-the-last-external-relay",
        "mailguard/scanners/spamassassin.py",
        "if output.relay == client and not any(client.ip in network for network in _SKIPPED):",
        "if output.relay == client:",
        _SPAMD,
    ),
    Mutant(
        RECEIVED,
        "received-lines-push-the-rest-behind-the-cut",
        "mailguard/scanners/excerpt.py",
        "head = _head_size(content)",
        "head = 1",
        _EXCERPT,
    ),
    Mutant(
        RECEIVED,
        "half-a-scan-convicts",
        "mailguard/scanners/spamassassin.py",
        "if names & ENDED_EARLY:",
        "if not names:",
        _SPAMD,
    ),
    Mutant(
        DOUBT,
        "what-was-cut-off-is-missing",
        "mailguard/scanners/spamassassin.py",
        "kinds = Evidence.CONTENT if body_cut else Evidence.WHOLE",
        "kinds = Evidence.WHOLE",
        _SPAMD,
    ),
    Mutant(
        DOUBT,
        "a-meta-may-want-what-was-cut-off",
        "mailguard/spamrules/derive.py",
        "    _add_absences(rules)\n    _spread(rules)",
        "    _spread(rules)",
        _DERIVE,
    ),
    Mutant(
        DOUBT,
        "a-dying-clamd-says-clean",
        "mailguard/scanners/clamav.py",
        'return Unknown(f"clamav: reply cut off: {_shown(octets)}" if octets else "clamav: closed without a reply")',
        "return Known(VirusResult())",
        _CLAMD,
    ),
    Mutant(
        DOUBT,
        "clamd-sees-first-what-the-client-wrote",
        "mailguard/scanners/clamav.py",
        "with content.with_head(TOP, 0) as mail:",
        'with content.with_head(b"", 0) as mail:',
        _CLAMD,
    ),
    Mutant(
        DOUBT,
        "clamd-gets-the-file-as-received",
        "mailguard/scanners/clamav.py",
        "yield copy.fileno()",
        "yield content.fileno()",
        _CLAMD,
    ),
    Mutant(
        DOUBT,
        "clamd-is-shown-less-than-the-message",
        "mailguard/scanners/clamav.py",
        "        await asyncio.sleep(0)\n",
        "        break\n",
        _CLAMD,
    ),
    Mutant(
        DOUBT,
        "clamds-ok-to-what-it-had-not-read-counts",
        "mailguard/scanners/clamav.py",
        'if cut and reply == b"stream: OK\\0":',
        "if False:",
        _CLAMD,
    ),
    Mutant(
        DOUBT,
        "what-is-over-clamds-limits-has-a-verdict",
        "mailguard/scanners/clamav.py",
        'if name.startswith("Heuristics.Limits.Exceeded"):',
        "if False:",
        _CLAMD,
    ),
)
