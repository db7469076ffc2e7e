"""The parts of a policy that stand beside its rules, checked and made ready: lists, weights, profiles, fallbacks.

Each function takes what the schema read and adds what is wrong to ``problems``; what it returns is then still of use
for finding more mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import combinations
from typing import Final

from mailguard.caseless import lowered
from mailguard.facts import FACTS, DnsblZone, FactType, Source
from mailguard.policy import texts
from mailguard.policy.answers import BadCode, CodePattern, Listing, ListTable
from mailguard.policy.conditions import constant_type
from mailguard.policy.expression import Constant
from mailguard.policy.lists import AddressList, BadEntry, from_text
from mailguard.policy.rules import POSTMASTER_LABEL, Fallback, Profiles, RecipientMatch, Rule
from mailguard.policy.sample import Sample
from mailguard.policy.schema import DnsblEntry, ListFile, PolicyFile, ScannerUnavailable, UnavailableEntry
from mailguard.positions import Document, Path, Problem, Problems, Text, did_you_mean
from mailguard.secret import Secret
from mailguard.verdict import Action

_EVERYBODY: Final = "*"
_DEFAULT_PROFILE: Final = "default"
_ACTIONS: Final = {"defer": Action.DEFER, "file": Action.FILE, "deliver": Action.ACCEPT, "ignore": Action.ACCEPT}
_SUGGESTED: Final = {
    Source.CLAMAV: "{down: defer, unscannable: file}",
    Source.SPAMASSASSIN: "{down: deliver, unscannable: deliver}",
}


def dnsbl_tables(
    document: Document, schema: PolicyFile, keys: Mapping[str, Secret], problems: list[Problem]
) -> tuple[ListTable, ...]:
    """The lists with their tables of answers, and with their ``keys`` as far as these are at hand."""
    tables = [_table(document, name, entry, keys.get(name), problems) for name, entry in schema.dnsbl.items()]
    seen: dict[str, str] = {}
    for table in tables:
        first = seen.setdefault(table.zone.zone, table.zone.name)
        if first != table.zone.name:
            path: Path = ("dnsbl", table.zone.name, "zone")
            message = f"`{table.zone.zone}` is asked by the list `{first}` already"
            problems.append(document.problem(path, message, "one zone counts once: keep one of them"))
    return tuple(tables)


def _table(
    document: Document, name: str, entry: DnsblEntry, secret: Secret | None, problems: list[Problem]
) -> ListTable:
    path: Path = ("dnsbl", name)
    listings: list[Listing] = []
    for key, answer in entry.answers.items():
        try:
            pattern = CodePattern.parse(key)
        except BadCode as error:
            problems.append(document.key_problem((*path, "answers", key), str(error), error.hint))
            continue
        listings.append(Listing(pattern, answer.weight, answer.label or key, key))
    for one, other in combinations(listings, 2):
        if one.pattern.overlaps(other.pattern):
            message = f"`{other.key}` and `{one.key}` have answers in common"
            problems.append(document.key_problem((*path, "answers", other.key), message, "part them"))
    listings.sort(key=lambda listing: listing.pattern.rank)
    help_ = None
    if entry.help is not None:
        help_ = text_template(document, (*path, "help"), entry.help, ("client.ip",), problems)
    zone = DnsblZone(name, entry.shown, entry.ipv6, secret)
    return ListTable(zone, tuple(listings), help_, entry.mode == "observe")


def text_template(
    document: Document, path: Path, text: str, known: Collection[str], problems: list[Problem]
) -> texts.Template:
    """A text with facts in it; where it is written on one line, the column of a mistake is told."""
    template, faults = texts.parse(text, known)
    for start, end, message, hint in faults:
        if document.place(path).one_line:
            problems.append(document.span_problem(path, (start, end), message, hint))
        else:
            problems.append(document.problem(path, message, hint))
    return template


def weights(document: Document, schema: PolicyFile, problems: list[Problem]) -> dict[str, float]:
    """Weights of boolean facts about the client and its envelope."""
    weighable = [name for name, spec in FACTS.items() if spec.weighable]
    for name in schema.weights:
        path: Path = ("weights", name)
        if name not in FACTS:
            problems.append(document.key_problem(path, f"there is no fact `{name}`", did_you_mean(name, weighable)))
        elif name not in weighable:
            hint = f"these can: {', '.join(f'`{n}`' for n in weighable)}"
            message = f"`{name}` can't have a weight: only true-or-false facts of client and envelope can"
            problems.append(document.key_problem(path, message, hint))
    return {name: weight for name, weight in schema.weights.items() if name in weighable}


def address_lists(
    document: Document, schema: PolicyFile, include: Callable[[str], Text], problems: list[Problem]
) -> dict[str, AddressList]:
    """The address lists, inline ones and those in files."""
    result: dict[str, AddressList] = {}
    for name, entry in schema.lists.items():
        result[name] = AddressList()
        if isinstance(entry, ListFile):
            try:
                result[name], found = from_text(include(entry.file))
            except Problems as error:
                path: Path = ("lists", name, "file")
                hint = "the path is relative to the policy"
                found = [p if p.source_line else document.problem(path, p.message, hint) for p in error.problems]
            problems += found
        else:
            _inline(document, name, entry, result[name], problems)
    return result


def _inline(document: Document, name: str, entries: list[str], into: AddressList, problems: list[Problem]) -> None:
    for index, entry in enumerate(entries):
        try:
            into.add(entry)
        except BadEntry as error:
            problems.append(document.problem(("lists", name, index), str(error), error.hint))


def profiles(document: Document, schema: PolicyFile, problems: list[Problem]) -> Profiles:
    """Constants by profile, and who has which; without any, everybody has one without constants."""
    if not schema.profiles:
        for index, entry in enumerate(schema.recipients):
            problems.append(_no_profile(document, index, entry.profile, ()))
        everybody = RecipientMatch(frozenset({_EVERYBODY}), _DEFAULT_PROFILE)
        return Profiles({_DEFAULT_PROFILE: {}}, (everybody,))
    if POSTMASTER_LABEL in schema.profiles:
        message = f"`{POSTMASTER_LABEL}` stands for postmaster and abuse addresses in X-Mailguard-Folder"
        problems.append(document.key_problem(("profiles", POSTMASTER_LABEL), message, "choose another name"))
    _check_constants(document, schema, problems)
    matches = []
    for index, entry in enumerate(schema.recipients):
        if entry.profile not in schema.profiles:
            problems.append(_no_profile(document, index, entry.profile, tuple(schema.profiles)))
        _check_patterns(document, index, entry.match, problems)
        matches.append(RecipientMatch(frozenset(lowered(p) for p in entry.match), entry.profile))
    _check_everybody(document, matches, problems)
    return Profiles(schema.profiles, tuple(matches))


def _no_profile(document: Document, index: int, name: str, known: tuple[str, ...]) -> Problem:
    hint = did_you_mean(name, known) or "declare it in `profiles`"
    return document.problem(("recipients", index, "profile"), f"there is no profile `{name}`", hint)


def constants(schema: PolicyFile) -> dict[str, FactType]:
    """Names and types of the constants that profiles have: those of the first count."""
    first: Mapping[str, Constant] = next(iter(schema.profiles.values()), {})
    return {name: constant_type(value) for name, value in first.items()}


def _check_constants(document: Document, schema: PolicyFile, problems: list[Problem]) -> None:
    """Every profile has the same constants, each of one type: a rule must make sense for every recipient."""
    wanted = constants(schema)
    first = next(iter(schema.profiles))
    for profile, values in schema.profiles.items():
        path: Path = ("profiles", profile)
        for name in wanted.keys() - values.keys():
            message = f"profile `{profile}` has no `{name}`, as profile `{first}` has"
            problems.append(document.key_problem(path, message, "every profile has every constant"))
        for name in values.keys() - wanted.keys():
            message = f"profile `{first}` has no `{name}`, as this one has"
            problems.append(document.key_problem((*path, name), message, did_you_mean(name, wanted)))
        for name in wanted.keys() & values.keys():
            found = constant_type(values[name])
            if found is not wanted[name]:
                message = f"`{name}` is a {found} here, and a {wanted[name]} in profile `{first}`"
                problems.append(document.problem((*path, name), message))


def _check_patterns(document: Document, index: int, patterns: list[str], problems: list[Problem]) -> None:
    for position, pattern in enumerate(patterns):
        _, at, domain = pattern.rpartition("@")
        if pattern != _EVERYBODY and (not at or not domain or "*" in pattern or " " in pattern):
            hint = f"write `@{pattern}`" if not at and "." in pattern else "write @example.com, user@example.com or '*'"
            message = f"`{pattern}` matches no recipient"
            problems.append(document.problem(("recipients", index, "match", position), message, hint))


def _check_everybody(document: Document, matches: list[RecipientMatch], problems: list[Problem]) -> None:
    """The last entry, and no other, is for everybody."""
    everybody = [i for i, match in enumerate(matches) if _EVERYBODY in match.patterns]
    if not everybody:
        hint = "end the list with: - {match: ['*'], profile: NAME}"
        problems.append(
            document.key_problem(("recipients",), "`recipients` does not say what everybody else has", hint)
        )
    elif everybody[0] < len(matches) - 1:
        path: Path = ("recipients", everybody[0] + 1)
        message = "this is never reached: the entry above is for everybody"
        problems.append(document.problem((*path, "match"), message, "move the entry with '*' to the end"))


def fallbacks(entry: UnavailableEntry) -> dict[Source, Fallback]:
    """What unknown answers mean, by source, as far as the policy says."""
    result: dict[Source, Fallback] = {}
    for source in Source:
        said = getattr(entry, source.value)
        if isinstance(said, ScannerUnavailable):
            result[source] = Fallback(_ACTIONS[said.down], _ACTIONS[said.unscannable], said.folder)
        elif said is not None:
            result[source] = Fallback(_ACTIONS[said], Action.ACCEPT)
    return result


def check_fallbacks(
    document: Document, said: Mapping[Source, Fallback], used: Mapping[Source, str], problems: list[Problem]
) -> None:
    """Silence is refused: ``used``, each source that a rule needs an answer of with its name, must be spoken of."""
    for source, rule in used.items():
        if source not in said:
            message = f"`unavailable` does not say what a missing answer of {source} means, which rule '{rule}' needs"
            hint = f"add `{source}: {_SUGGESTED.get(source, 'ignore')}`"
            problems.append(document.key_problem(("unavailable",), message, hint))


def sample(document: Document, schema: PolicyFile, rules: Iterable[Rule], problems: list[Problem]) -> Sample:
    """Which refusals are let in; a sample of none is a mistake."""
    said = schema.sample
    if said.share and not any(rule.action is Action.REJECT for rule in rules):
        message = "`sample` lets in what the envelope's rules reject, and none of them does"
        problems.append(document.key_problem(("sample",), message, "remove it, or write a rule that rejects"))
    return Sample(said.share, said.folder)
