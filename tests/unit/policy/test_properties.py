"""What holds for every policy that loads and for all facts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address
from itertools import product
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mailguard.facts import (
    Answer,
    Client,
    ClientAddress,
    Codes,
    Envelope,
    FactType,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    SpamResult,
    Stage,
    Unknown,
    VirusResult,
)
from mailguard.policy import CompiledPolicy
from mailguard.policy.conditions import Scope, parse_condition
from mailguard.policy.expression import Doubt, View, facts_of
from mailguard.policy.reading import Reading, Scales
from mailguard.policy.syntax import Faults
from mailguard.policy.truth import Members
from mailguard.policy_files import load
from mailguard.positions import Problems, Text, parse
from mailguard.verdict import Action, Verdict
from tests.unit.policy.evidence import SPAM, VIRUS, spam_may_become, virus_may_become
from tests.unit.policy.strategies import (
    ANY_CODES,
    ENVELOPES,
    EVERY_ATOM,
    HIDING,
    LOOSE_ATOMS,
    MESSAGES,
    blocking_stages,
    clients,
    conditions,
    stages,
)
from tests.unit.policy.support import LISTS, UNAVAILABLE, from_entries, rules

pytestmark = pytest.mark.slow

SHIPPED = sorted((Path(__file__).parents[3] / "policies").glob("*.yaml"))
DEFERRING = UNAVAILABLE.replace("ignore", "defer").replace("down: deliver", "down: defer")
WEIGHTS = "weights: {reverse_dns.missing: 1.5, helo.unresolvable: 2, early_talker: -3}\n"


@cache
def shipped(path: Path) -> CompiledPolicy:
    return load(path)


def compiled(stages_: tuple[str, str], unavailable: str) -> CompiledPolicy:
    """A random policy; one that does not load is no example."""
    try:
        return rules(*stages_, more=unavailable + LISTS + WEIGHTS)
    except Problems:
        assume(False)
        raise


def final(policy: CompiledPolicy, client: Client, envelope: Envelope, message: Message) -> Verdict:
    before = policy.envelope(client, envelope)
    return before if before.action.blocks else policy.content(client, envelope, message, before)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@given(client=clients(ANY_CODES), envelope=ENVELOPES, message=MESSAGES)
def test_no_facts_make_a_shipped_policy_fail(path: Path, client: Client, envelope: Envelope, message: Message) -> None:
    policy = shipped(path)
    verdict = final(policy, client, envelope, message)
    assert (verdict.reply is not None) == verdict.action.blocks
    assert (verdict.folder is not None) == (verdict.action is Action.FILE)
    assert verdict.action not in (Action.TAG, Action.GREYLIST)
    policy.unmatched(client)
    hash(policy.treatment(envelope.recipient, verdict))


def check_repute(policy: CompiledPolicy, client: Client, envelopes: Iterable[Envelope], message: Message) -> None:
    """Hold the decisions of a policy that knows ``client`` more each time against those of one that never saw it."""
    for envelope in envelopes:
        new = replace(policy, force=replace(policy.force), trial=policy.trial and replace(policy.trial))
        before = policy.envelope(client, envelope)
        verdicts = [(before, new.envelope(client, envelope))]
        if not before.action.blocks:
            after = [each.content(client, envelope, message, before) for each in (policy, new)]
            verdicts.append((after[0], after[1]))
        for known, unknown in verdicts:
            assert known == unknown
            assert list(known.trace.facts) == list(unknown.trace.facts)


SEVERAL = st.lists(
    st.builds(
        lambda envelope, hidden: replace(envelope, hidden=hidden),
        ENVELOPES,
        st.sampled_from([frozenset[str](), frozenset({"client.ip", "dnsbl.score", "early_talker"})]),
    ),
    min_size=2,
    max_size=4,
)


@given(stages_=stages(), client=clients(), envelopes=SEVERAL, message=MESSAGES)
def test_a_client_that_is_known_is_treated_as_one_that_is_not(
    stages_: tuple[str, str], client: Client, envelopes: list[Envelope], message: Message
) -> None:
    check_repute(compiled(stages_, DEFERRING), client, envelopes, message)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@given(client=clients(ANY_CODES), envelopes=SEVERAL, message=MESSAGES)
def test_a_client_that_is_known_is_treated_by_a_shipped_policy_as_one_that_is_not(
    path: Path, client: Client, envelopes: list[Envelope], message: Message
) -> None:
    check_repute(shipped(path), client, envelopes, message)


ADDRESS = ClientAddress.parse("198.18.0.1")
NAMED = Known(ReverseDns("client.example.org", True))
ENVELOPE = Envelope(
    Helo("client.example.org", False, Known(True)),
    Mailbox("a", "example.org"),
    Mailbox("b", "example.com"),
    Known(True),
)
MISSING = Unknown("a test says so")
CLEAN: Answer[Codes] = Known(frozenset())
BLACK = [Known(frozenset({IPv4Address("127.0.0.2")})), Known(frozenset()), MISSING]
WHITE = [Known(frozenset({IPv4Address("127.0.0.2")})), Known(frozenset()), MISSING]
TALKS = [Known(True), Known(False), MISSING]
SPAM_MOVES = [(a, b) for a, b in product(range(len(SPAM)), repeat=2) if spam_may_become(SPAM[a], SPAM[b])]
VIRUS_MOVES = [(a, b) for a, b in product(range(len(VIRUS)), repeat=2) if virus_may_become(VIRUS[a], VIRUS[b])]
CONFIGURED = st.sampled_from([DEFERRING, UNAVAILABLE, DEFERRING.replace("file", "deliver")])


@settings(max_examples=1200)
@given(
    stages_=blocking_stages(),
    unavailable=CONFIGURED,
    black=st.sampled_from(BLACK),
    white=st.sampled_from(WHITE),
    talks=st.sampled_from(TALKS),
)
def test_received_evidence_may_acquit_and_never_convicts(
    stages_: tuple[str, str], unavailable: str, black: Answer[Codes], white: Answer[Codes], talks: Answer[bool]
) -> None:
    """Of every policy that loads: no message is refused or deferred that would not be without its Received lines."""
    if "spam." not in stages_[1] and "virus." not in stages_[1]:
        return  # the same with every Received line
    try:
        policy = rules(*stages_, more=unavailable + LISTS + WEIGHTS)
    except Problems:
        return  # most: what would convict is refused
    client = _client(black, white, talks)
    before = policy.envelope(client, ENVELOPE)
    blocked = {
        (s, v): policy.content(client, ENVELOPE, Message(2048, virus, spam), before).action.blocks
        for (s, spam), (v, virus) in product(enumerate(SPAM), enumerate(VIRUS))
    }
    for (s, t), (v, w) in product(SPAM_MOVES, VIRUS_MOVES):
        assert blocked[s, v] or not blocked[t, w], (SPAM[s], VIRUS[v], "became", SPAM[t], VIRUS[w])


HIDDEN = (
    UNAVAILABLE
    + LISTS
    + (
        "lists: {some: [example.org, .example.net]}\n"
        "profiles: {normal: {junk_at: 5, word: malware}}\n"
        "recipients: [{match: ['*'], profile: normal}]\n"
    )
)


@given(
    loose=st.sampled_from(LOOSE_ATOMS),
    ways=st.lists(st.lists(st.sampled_from(HIDING), max_size=2), min_size=1, max_size=4),
    lack=st.booleans(),
    action=st.sampled_from(["reject", "defer"]),
)
def test_no_received_fact_can_be_hidden_from_the_compiler(
    loose: str, ways: list[list[str]], lack: bool, action: str
) -> None:
    """Neither within conditions, nor behind functions, lists and constants, nor through tags given by tags."""
    lines, condition = [], loose
    for number, way in enumerate(ways):
        for form in way:
            condition = form.format(f"({condition})")
        lines.append(f"{condition} => tag symbol=T{number}")
        condition = f"'T{number}' {'not in' if lack else 'in'} tags"
    lines.append(f"{condition} => {action}")
    with pytest.raises(Problems, match=rf"may not {action} by the tag T{len(ways) - 1}"):
        rules("", "\n".join(lines), more=HIDDEN)
    with pytest.raises(Problems, match="no reject may stand below it"):
        rules("", "\n".join([*lines[:-1], f"{condition} => accept", "early_talker => reject"]), more=HIDDEN)


SCOPE = Scope(
    Stage.CONTENT,
    {"at": FactType.NUMBER, "word": FactType.TEXT},
    {"some": from_entries(["example.org", ".example.net", "a@b.example", "198.18.0.0/15", "::/0"])},
)


@given(
    text=conditions(tuple(EVERY_ATOM), 4),
    client=clients(ANY_CODES),
    envelope=ENVELOPES,
    message=MESSAGES,
    doubt=st.sampled_from(Doubt),
)
def test_no_facts_make_a_condition_fail(
    text: str, client: Client, envelope: Envelope, message: Message, doubt: Doubt
) -> None:
    """Whatever functions and lists it asks; where nothing is missing or in doubt it is true or false."""
    reading = Reading(Scales(), client, envelope, message, Members())
    view = View(reading, {"at": 5.0, "word": "x"}, doubt)
    condition = parse_condition(text, SCOPE)
    assert condition.evaluate(view) in (True, False, None)
    if all(reading.value(fact.name) is not None for fact in facts_of(condition)):
        assert condition.evaluate(view) is not None


@settings(max_examples=400)
@given(stages_=stages(), spam=st.sampled_from(SPAM))
def test_a_missing_answer_never_gets_anybody_rejected(stages_: tuple[str, str], spam: Answer[SpamResult]) -> None:
    """Who is rejected with answers missing is blocked whatever those answers would have been."""
    policy = compiled(stages_, UNAVAILABLE)
    message = Message(2048, Known(VirusResult()), spam)
    outcomes = {
        answers: final(policy, _client(*answers), ENVELOPE, message) for answers in product(BLACK, WHITE, TALKS)
    }
    for answers, verdict in outcomes.items():
        if verdict.action is Action.REJECT and MISSING in answers:
            given_ = (
                [a] if a is not MISSING else every[:2] for a, every in zip(answers, (BLACK, WHITE, TALKS), strict=True)
            )
            assert all(outcomes[known].action.blocks for known in product(*given_))


def _client(black: Answer[Codes], white: Answer[Codes], talks: Answer[bool]) -> Client:
    return Client(ADDRESS, early_talker=talks, reverse_dns=NAMED, dnsbl={"black": black, "white": white, "grey": CLEAN})


@given(stages_=stages(), client=clients(), envelope=ENVELOPES, message=MESSAGES)
def test_postmaster_and_abuse_are_never_refused_nor_filed(
    stages_: tuple[str, str], client: Client, envelope: Envelope, message: Message
) -> None:
    policy = compiled(stages_, DEFERRING)
    for local in ("postmaster", "Abuse"):
        recipient = type(envelope.recipient)(local, "example.com")
        to_it = Envelope(envelope.helo, envelope.sender, recipient, envelope.sender_resolves)
        assert final(policy, client, to_it, message).action is Action.ACCEPT


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    try:
        document = parse(Text("any", text))
    except Problems as error:
        assert error.problems
    else:
        for problem in document.problems:
            assert problem.line >= 1
            assert problem.column >= 1


@given(
    st.text(st.sampled_from("abc.'\"()[]=<>!,1 -:{}\n\t"), max_size=40)
    | st.lists(
        st.sampled_from(["spam.score", "tags", "and", "or", "not", "in", "(", ")", ">=", "5", "'A'", "lists.x", "-"]),
        max_size=12,
    ).map(" ".join)
)
def test_no_condition_makes_the_compiler_fail(condition: str) -> None:
    try:
        parse_condition(condition, Scope(Stage.CONTENT, tags=frozenset({"A"})))
    except Faults as error:
        assert error.faults
        for fault in error.faults:
            assert 0 <= fault.span[0] <= fault.span[1] <= len(condition)
