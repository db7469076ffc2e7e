"""``--given FACT=VALUE``: facts in the vocabulary of a policy's cases, checked by what checks those.

A value is written as in a case: ``true``, ``9.1``, ``127.0.0.4``, ``[127.0.0.2, 127.0.0.4]``, ``unknown``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mailguard.policy import cases
from mailguard.policy.schema import CasesFile, Given
from mailguard.positions import Document, Problem, Problems, Text, parse, validate


class BadGiven(ValueError):
    """What is wrong with one of them, with what would be right."""


def read_given(written: Iterable[str], lists: frozenset[str]) -> dict[str, Given]:
    """The facts that are ``written`` on the command line; ``lists`` are the names of the policy's.

    Raises:
        BadGiven: one of them is none, has no such value, or is given twice.
    """
    found: dict[str, Given] = {}
    for each in written:
        name, equals, _ = each.partition("=")
        if not (name and equals):
            raise BadGiven(f"--given {each}: write FACT=VALUE, such as spam.score=9 or dnsbl.NAME=127.0.0.4")
        if name in found:
            raise BadGiven(f"--given {each}: `{name}` is given twice; several answers of a list stand in [ ]")
        found |= _one(each, lists)
    return found


def _one(written: str, lists: frozenset[str]) -> Mapping[str, Given]:
    name, _, value = written.partition("=")
    key = name.replace("'", "''")
    case = f"  - name: given\n    expect: {{accept: true}}\n    given:\n      '{key}': {value}\n"
    try:
        document = parse(Text("--given", f"mailguard_cases: 1\ncases:\n{case}"))
        entry = validate(document, CasesFile).cases[0]
        problems = list(_problems(document, entry.given)) or list(cases.check(document, [entry], lists))
    except Problems as error:
        problems = error.problems
    if problems:
        first = problems[0]
        raise BadGiven(f"--given {written}: {first.message}" + (f"; {first.hint}" if first.hint else ""))
    return entry.given


def _problems(document: Document, given: Mapping[str, Given]) -> Iterator[Problem]:
    """A value that is more than one fact."""
    if len(given) != 1:
        yield document.problem(("cases", 0, "given"), "this is no value of one fact", "a text is written in quotes")
