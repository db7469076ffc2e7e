"""A policy's document to a :class:`CompiledPolicy`: everything checked, all mistakes told at once, nothing half done.

In order: the form (``policy.schema``), names and tables (``policy.tables``), conditions with their types and stages
(``policy.rulebook``), what unknown answers mean, where evidence comes from (``policy.provenance``), what is hardly
meant (``policy.analysis``: warnings), and last the cases, its own and those beside it (``policy.suites``). Pure: the
lists that a policy includes are handed in by ``include``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from mailguard.facts import Source, Stage
from mailguard.policy import allowances, cases, provenance, tables
from mailguard.policy.analysis import Subject, analyse
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.keys import KeyReader, not_read, read_keys
from mailguard.policy.reading import Scales
from mailguard.policy.rulebook import Rulebook, loose_problems
from mailguard.policy.rules import Fallback, Rule, RuleSet, World, sources_of
from mailguard.policy.schema import PolicyFile
from mailguard.policy.suites import Suite, failures, read_suites
from mailguard.policy.treatment import Treatments
from mailguard.positions import Document, Problem, Problems, Text, validate

Rules = Mapping[Stage, list[Rule]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A policy in which nothing is wrong, with its cases, which are not run yet.

    Attributes:
        policy: it.
        document: where it stands.
        suites: its cases, its own first.
        read: what was read for it besides its own file, each by what it is and where.
    """

    policy: CompiledPolicy
    document: Document
    suites: tuple[Suite, ...]
    read: tuple[tuple[str, str], ...] = ()

    def tested(self) -> CompiledPolicy:
        """The policy.

        Raises:
            Problems: the cases that come out otherwise than expected.
        """
        if problems := failures(self.policy, self.suites):
            raise Problems(problems)
        return self.policy


def draft_policy(
    document: Document,
    include: Callable[[str], Text],
    beside: Iterable[Text] = (),
    key: KeyReader = not_read,
) -> Draft:
    """The policy in ``document``.

    Args:
        document: as written, parts and all.
        include: reads a list that it names.
        beside: files of cases beside it.
        key: reads a key that it names.

    Raises:
        Problems: everything wrong with all of them, what ``include`` raises with it.
    """
    suites, problems = read_suites(beside)
    try:
        schema = validate(document, PolicyFile)
    except Problems as error:
        raise Problems([*error.problems, *loose_problems(document), *problems]) from error
    policy, found = _compile(document, schema, include, key)
    suites = (Suite(document, tuple(schema.cases)), *suites)
    for suite in suites:
        problems += cases.check(suite.document, suite.cases, frozenset(schema.dnsbl))
    if problems := [*found, *problems]:
        raise Problems(problems)
    return Draft(replace(policy, cases=sum(len(suite.cases) for suite in suites)), document, suites)


def compile_policy(document: Document, include: Callable[[str], Text], beside: Iterable[Text] = ()) -> CompiledPolicy:
    """As :func:`draft_policy`, its cases passed.

    Raises:
        Problems: everything wrong with it; or, where nothing else is, the cases that fail.
    """
    return draft_policy(document, include, beside).tested()


def _compile(
    document: Document, schema: PolicyFile, include: Callable[[str], Text], key: KeyReader
) -> tuple[CompiledPolicy, list[Problem]]:
    problems: list[Problem] = []
    keys = read_keys(document, schema, key, problems)
    lists = tables.dnsbl_tables(document, schema, keys.found, problems)
    scales = Scales(lists, tables.weights(document, schema, problems), tuple(schema.virus.official))
    profiles = tables.profiles(document, schema, problems)
    address_lists = tables.address_lists(document, schema, include, problems)
    observed = schema.mode == "observe"
    book = Rulebook(document, observed, tables.constants(schema), address_lists, lists, problems)
    rules, tainted = provenance.check(document, book.stages(schema))
    problems += tainted
    fallbacks = tables.fallbacks(schema.unavailable)
    tables.check_fallbacks(document, fallbacks, _used(rules, scales), problems)
    everything = _world(rules, scales, fallbacks)
    force = _in_force(rules, scales, {} if observed else fallbacks)
    trial = None if force == everything else everything
    policy = CompiledPolicy(
        path=Path(document.text.file),
        digest="",
        description=schema.description,
        lists=tuple(t.zone for t in lists if t.zone.name not in keys.missing and Source.DNSBL in everything.sources),
        sources=everything.sources,
        wants_early_talker=_wants_early_talker(rules, scales),
        force=force,
        trial=trial,
        profiles=profiles,
        treatments=Treatments.of(force, trial),
        sample=tables.sample(document, schema, rules[Stage.ENVELOPE], problems),
        missing_keys=tuple(keys.missing.values()),
    )
    if problems:
        return policy, problems
    findings = analyse(Subject(document, schema, rules, scales, profiles, address_lists))
    warnings, allowed = allowances.part(document, schema.allow_warnings, [*keys.warnings, *findings])
    return replace(policy, warnings=warnings, allowed=allowed), problems


def _world(rules: Rules, scales: Scales, fallbacks: Mapping[Source, Fallback]) -> World:
    return World(scales, {stage: RuleSet.of(found, scales) for stage, found in rules.items()}, fallbacks)


def _in_force(rules: Rules, scales: Scales, fallbacks: Mapping[Source, Fallback]) -> World:
    """What is left without the lists and rules that are only observed."""
    lists = tuple(table for table in scales.lists if not table.observed)
    enforced = {stage: [rule for rule in found if rule.enforced] for stage, found in rules.items()}
    return _world(enforced, replace(scales, lists=lists), fallbacks)


def _used(rules: Rules, scales: Scales) -> dict[Source, str]:
    """Each source whose answer a rule needs, and the first such rule."""
    used: dict[Source, str] = {}
    for rule in chain.from_iterable(rules.values()):
        for source in sorted(sources_of(rule.facts, scales)):
            used.setdefault(source, rule.name)
    return used


def _wants_early_talker(rules: Rules, scales: Scales) -> bool:
    names = set(chain.from_iterable(rule.facts for rule in chain.from_iterable(rules.values())))
    return "early_talker" in names or ("client.score" in names and "early_talker" in scales.weights)
