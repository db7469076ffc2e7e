"""Mutants of the policy language."""

from __future__ import annotations

from tests.mutants.mutant import BAD_POLICY, DOUBT, EXPLAINED, RECEIVED, Mutant

_ENGINE = ("tests/unit/policy/test_engine.py",)
_PROVENANCE = ("tests/unit/policy/test_provenance.py",)
_PROPERTIES = ("tests/unit/policy/test_properties.py",)
_TABLES = ("tests/unit/policy/test_tables.py",)
_PASS = "mailguard/policy/engine.py"
_ANALYSIS = "mailguard/policy/provenance.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        RECEIVED,
        "a-reject-may-name-a-received-fact",
        _ANALYSIS,
        "self.problems += [self._problem(mention) for mention in mentions]",
        "pass",
        _PROVENANCE,
    ),
    Mutant(
        RECEIVED,
        "a-reject-may-hide-behind-a-rule",
        _ANALYSIS,
        "if self._above is not None:",
        "if False:",
        _PROVENANCE,
    ),
    Mutant(
        RECEIVED,
        "a-reject-may-hide-behind-a-tag",
        _ANALYSIS,
        "if source is not None and rule.symbol is not None:",
        "if False:",
        _PROPERTIES,
    ),
    Mutant(
        RECEIVED,
        "any-signature-is-content",
        _ANALYSIS,
        "narrowed = narrowed or any(",
        "narrowed = True or any(",
        _PROPERTIES,
    ),
    Mutant(
        RECEIVED,
        "heuristics-are-malware",
        "mailguard/policy/reading.py",
        'return "heuristic"',
        'return "malware"',
        _TABLES,
    ),
    Mutant(
        RECEIVED,
        "received-evidence-keeps-a-deferral-away",
        _PASS,
        "if rule.tainted and not self._pass.overtaken:",
        "if False:",
        _PROPERTIES,
    ),
    Mutant(
        RECEIVED,
        "received-evidence-tells-who-was-missed",
        _PASS,
        "if truth is None or rule.tainted:",
        "if truth is None:",
        _PROPERTIES,
    ),
    Mutant(
        DOUBT,
        "an-unknown-list-weighs-nothing-where-it-may-block",
        "mailguard/policy/answers.py",
        "return Range(min(0.0, *weights), max(0.0, *weights), 0.0)",
        "return Range(0.0, 0.0, 0.0)",
        _ENGINE,
    ),
    Mutant(
        DOUBT,
        "an-impossible-answer-does-not-void-the-rest",
        "mailguard/policy/answers.py",
        "if code not in LOOPBACK or code in ERROR_CODES:",
        "if False:",
        _TABLES,
    ),
    Mutant(
        DOUBT,
        "what-may-be-true-blocks",
        _PASS,
        "if truth is not None or rule.action.blocks:\n            return truth is True",
        "if truth is not None or rule.action.blocks:\n            return truth is not False",
        _ENGINE,
    ),
    Mutant(
        DOUBT,
        "a-rule-above-that-lacks-an-answer-spares-nobody",
        _PASS,
        "if rule.action is Action.REJECT and self._pass.reach is None:",
        "if False:",
        _ENGINE,
    ),
    Mutant(
        DOUBT,
        "a-doubtful-tag-blocks",
        _PASS,
        "tags.certain | symbol if truth is True else tags.certain",
        "tags.certain | symbol if fired else tags.certain",
        _ENGINE,
    ),
    Mutant(
        DOUBT,
        "a-tag-withheld-in-doubt-is-not-possible",
        _PASS,
        "self._tag(rule, conjunction((None, truth)), fired=False)",
        "pass",
        _ENGINE,
    ),
    Mutant(
        DOUBT,
        "an-accept-takes-doubt-for-nothing",
        _PASS,
        "self._favourable if spares else self._nothing",
        "self._nothing",
        _ENGINE,
    ),
    Mutant(
        DOUBT,
        "a-missing-answer-is-no-matter",
        _PASS,
        "return self._unavailable() or Verdict(Action.ACCEPT)",
        "return Verdict(Action.ACCEPT)",
        _ENGINE,
    ),
    Mutant(
        BAD_POLICY,
        "failing-cases-are-passed-over",
        "mailguard/policy/compiler.py",
        "problems or list(cases.failures(document, policy, schema.cases))",
        "problems",
        ("tests/unit/policy/test_broken.py",),
    ),
    Mutant(
        BAD_POLICY,
        "a-key-twice-is-taken",
        "mailguard/positions/reader.py",
        "            if name in entries:",
        "            if False:",
        ("tests/unit/policy/test_broken.py",),
    ),
    Mutant(
        EXPLAINED,
        "a-trace-leaves-out-what-was-tried",
        _PASS,
        "tuple(self._pass.outcomes),",
        "(),",
        _ENGINE,
    ),
)
