"""The cases of a policy: what they expect, how they come out, and why. They run before every load.

Cases stand in the policy itself and in files beside it; each such place is a :class:`Suite`. A case that comes out
otherwise is a :class:`Problem` at its ``expect``, which tells the weights that counted and the rules tried in both
stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mailguard.policy.cases import course, tried
from mailguard.policy.course import Course
from mailguard.policy.engine import POSTMASTER, CompiledPolicy
from mailguard.policy.schema import CaseEntry, CasesFile, Outcome
from mailguard.positions import Document, Problem, Problems, Text, parse, validate
from mailguard.verdict import Action, Verdict


@dataclass(frozen=True, slots=True)
class Suite:
    """The ``cases`` of one document."""

    document: Document
    cases: tuple[CaseEntry, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """How a case came out: ``line`` of ``file`` is where it stands, ``problem`` is None where it is as expected."""

    case: CaseEntry
    file: str
    line: int
    problem: Problem | None


def read_suites(texts: Iterable[Text]) -> tuple[tuple[Suite, ...], list[Problem]]:
    """The suites in files of cases, and what is wrong with their form."""
    suites: list[Suite] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            document = parse(text)
            suites.append(Suite(document, tuple(validate(document, CasesFile).cases)))
        except Problems as error:
            problems += error.problems
    return tuple(suites), problems


def results(policy: CompiledPolicy, suites: Iterable[Suite]) -> Iterator[Result]:
    """Every case, in order, and how it comes out."""
    for suite in suites:
        for index, case in enumerate(suite.cases):
            place = suite.document.place(("cases", index))
            yield Result(case, place.text.file, place.line, _problem(policy, suite.document, index, case))


def failures(policy: CompiledPolicy, suites: Iterable[Suite]) -> list[Problem]:
    """The cases that come out otherwise than expected."""
    return [result.problem for result in results(policy, suites) if result.problem is not None]


def _problem(policy: CompiledPolicy, document: Document, index: int, case: CaseEntry) -> Problem | None:
    went = course(policy, case.given)
    wrong = list(_differences(case.expect, went.verdict))
    steps = list(_explained(went)) if wrong else []
    if case.expect.observed is not None:
        unseen = [f"observed: {d}" for d in _differences(case.expect.observed, went.verdict.observed)]
        wrong += unseen
        steps += [f"observed: {step}" for step in _explained(course(tried(policy), case.given))] if unseen else []
    if not wrong:
        return None
    message = f"case '{case.name}' comes out otherwise: {'; '.join(wrong)}"
    return document.problem(("cases", index, "expect"), message, steps=tuple(steps))


def _differences(expected: Outcome, verdict: Verdict | None) -> Iterator[str]:
    """What differs, each as ``expected this, got that``."""
    if verdict is None:
        yield "expected something, got nothing"
        return
    wanted = {
        Action.REJECT: expected.reject,
        Action.DEFER: expected.defer,
        Action.FILE: expected.file,
        Action.ACCEPT: expected.accept,
    }
    action, detail = next((a, d) for a, d in wanted.items() if d is not None)
    if (action, detail) != (verdict.action, _detail(verdict)):
        yield f"expected {_told(action, detail)}, got {_told(verdict.action, _detail(verdict))}{_by(verdict)}"
    elif expected.rule is not None and expected.rule != verdict.rule:
        yield f"expected rule '{expected.rule}', got '{verdict.rule or 'none'}'"
    if expected.tags is not None and set(expected.tags) != set(verdict.tags):
        yield f"expected the tags {sorted(expected.tags)}, got {sorted(verdict.tags)}"


def _detail(verdict: Verdict) -> int | str | bool | None:
    if verdict.action is Action.ACCEPT:
        return True
    return verdict.reply.code if verdict.reply is not None else verdict.folder


def _told(action: Action, detail: int | str | bool | None) -> str:
    return str(action) if action is Action.ACCEPT else f"{action} {detail}"


def _by(verdict: Verdict) -> str:
    if verdict.rule == POSTMASTER:
        return " as postmaster and abuse are never refused nor filed"
    if verdict.rule.startswith("unavailable: "):
        return f" by what `unavailable` says of {verdict.rule.removeprefix('unavailable: ')}"
    return f" by rule '{verdict.rule}'" if verdict.rule else " as no rule decided"


_WORDS: Final = {True: "fired", False: "did not fire", None: "could not be told, for want of an answer"}


def _explained(went: Course) -> Iterator[str]:
    """The weights that counted, and the rules tried in both stages."""
    for weight in went.envelope.trace.weights:
        yield f"{weight.name} weighed {weight.weight:g}"
    yield from _rules("envelope", went.envelope)
    if went.content is not None:
        yield from _rules("content", went.content)
        spoke = any(outcome.fired for outcome in went.content.trace.rules)
        if spoke and went.envelope.action is Action.FILE and went.content.rule == went.envelope.rule:
            yield f"what the envelope files stays filed, here by rule '{went.envelope.rule}'"


def _rules(stage: str, verdict: Verdict) -> Iterator[str]:
    for outcome in verdict.trace.rules:
        yield f"{stage} rule '{outcome.rule}' {_WORDS[outcome.fired]}"
