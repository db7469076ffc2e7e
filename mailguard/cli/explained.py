"""What `mailguard explain` has to tell: for each recipient the explanation, the reply, our fields, and what flips it.

Put together from what was heard (:mod:`mailguard.session.rehearsal`), what is given, and, for what nobody said, the
benign values of cases: each fact knows which. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mailguard import message
from mailguard.checks.helo import helo_is_address
from mailguard.config import Settings
from mailguard.facts import FACTS, Envelope, Helo, Known, Mailbox, Source, Stage
from mailguard.policy.cases import facts_of_case, overlaid
from mailguard.policy.compiler import Draft
from mailguard.policy.course import Facts
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.explanation import Explanation, explain
from mailguard.policy.expression import Condition
from mailguard.policy.flips import Flip, flips
from mailguard.policy.rules import Rule
from mailguard.policy.schema import Given
from mailguard.policy.treatment import Treatment
from mailguard.replies import Reply, reply
from mailguard.session.rehearsal import REFERENCE, Heard, Said
from mailguard.session.story import is_ours

ASKED: Final = "asked"
GIVEN: Final = "--given"
SAID: Final = "said"
ASSUMED: Final = "assumed"
RECORDED: Final = "recorded"
"""Where a fact is from: asked for now, given or said on the command line, as for mail without fault, or the journal."""

_ENVELOPE_OF_NOBODY: Final[Mapping[str, Mapping[str, Given]]] = {
    "helo": {"helo.name": str(FACTS["helo.name"].benign), "helo.is_address": False, "helo.unresolvable": False},
    "sender": {"sender.address": str(FACTS["sender.address"].benign), "sender.unresolvable": False},
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What it is explained with; ``config`` is None where there is only a policy."""

    settings: Settings
    draft: Draft
    config: Path | None

    @property
    def policy(self) -> CompiledPolicy:
        """The policy."""
        return self.draft.policy

    def condition(self, rule: Rule) -> str:
        """The condition of ``rule``, as it is written."""
        return str(self.draft.document.value((*rule.path, "if")))

    def text(self, rule: Rule, part: Condition) -> str:
        """A part of it."""
        return self.condition(rule)[slice(*part.span)]

    def place(self, rule: Rule) -> str:
        """Where ``rule`` stands."""
        return self.draft.document.told(rule.path)


@dataclass(frozen=True, slots=True)
class Answered:
    """One recipient.

    Attributes:
        recipient: it.
        reply: what the client is told, with a reference; None where the backend answers.
        why: why we reply so, where that is not the policy's word.
        explanation: of the verdict; None where the policy is not asked.
        flips: what would make it another, smallest first.
        fields: header fields that depend on the verdict, a line each; empty where no message is judged.
    """

    recipient: Mailbox
    reply: Reply | None
    why: str = ""
    explanation: Explanation | None = None
    flips: tuple[Flip, ...] = ()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """All of it.

    Attributes:
        origins: where each fact is from.
        own_relay: whether the client is a relay of ours.
        seconds: how long each list took.
        story: what a record says of the decision, for a past one.
        changed: why what follows is not what was decided then; empty where it is, or where this is no past decision.
    """

    setting: Setting
    client: str
    helo: str
    sender: str
    origins: Mapping[str, str]
    answered: tuple[Answered, ...]
    own_relay: bool = False
    seconds: Mapping[str, float] | None = None
    story: str = ""
    changed: str = ""


def explained(
    setting: Setting, said: Said, recipients: Sequence[Mailbox], given: Mapping[str, Given], heard: Heard | None
) -> Explained:
    """What is to be told of ``said``; ``heard`` is None where nobody was asked."""
    base = _base(setting.policy, said, heard)
    assumed = _assumed(said)
    mailboxes = recipients or [_anybody(setting.settings)]
    facts = [
        overlaid(overlaid(replace(base, envelope=_to(base.envelope, mailbox)), assumed), given) for mailbox in mailboxes
    ]
    refusal = heard.refusal if heard is not None else None
    first = facts[0]
    return Explained(
        setting,
        str(first.client.address),
        first.envelope.helo.name,
        str(first.envelope.sender) or "<>",
        _origins(setting.policy, said, given, asked=heard is not None, named=bool(recipients)),
        tuple(_answered(setting, facts, refusal)),
        heard is not None and heard.own_relay,
        heard.seconds if heard is not None else None,
    )


def _base(policy: CompiledPolicy, said: Said, heard: Heard | None) -> Facts:
    client, envelope, _ = facts_of_case(policy, {"client.ip": str(said.address)})
    sender = said.sender.mailbox if said.sender is not None else envelope.sender
    if heard is None:
        name = said.helo or envelope.helo.name
        helo = Helo(name, helo_is_address(name), Known(True))
        return Facts(client, replace(envelope, helo=helo, sender=sender))
    told = replace(envelope, helo=heard.helo, sender=sender, sender_resolves=heard.sender_resolves)
    return Facts(heard.client, told, heard.message)


def _assumed(said: Said) -> Mapping[str, Given]:
    nobody = {"helo": said.helo is None, "sender": said.sender is None}
    return {name: value for of, none in nobody.items() if none for name, value in _ENVELOPE_OF_NOBODY[of].items()}


def _anybody(settings: Settings) -> Mailbox:
    return Mailbox("user", settings.relay_domains[0].removeprefix("."))


def _to(envelope: Envelope, recipient: Mailbox) -> Envelope:
    return replace(envelope, recipient=recipient)


# --- replies ----------------------------------------------------------------------------------------------------------


def _answered(setting: Setting, facts: Sequence[Facts], refusal: Reply | None) -> Iterator[Answered]:
    """Each recipient, in the order of RCPT: one that is to be treated otherwise than those before waits."""
    taken: dict[Treatment, Explanation] = {}
    waiting: dict[int, str] = {}
    found: list[Explanation | None] = []
    for number, each in enumerate(facts):
        ours = setting.config is None or is_ours(each.envelope.recipient, setting.settings.relay_domains)
        explanation = explain(setting.policy, each) if ours else None
        found.append(explanation)
        if explanation is not None and not explanation.course.envelope.action.blocks:
            treatment = setting.policy.treatment(each.envelope.recipient, explanation.course.envelope)
            apart = next((why for before in taken if (why := treatment.apart(before)) is not None), None)
            if apart is not None:
                waiting[number] = apart.words
            else:
                taken.setdefault(treatment, explanation)
    folder = message.filing({treatment.label: each.course.verdict.folder for treatment, each in taken.items()})
    for number, (each, explanation) in enumerate(zip(facts, found, strict=True)):
        yield _one(setting, each, explanation, refusal, folder, waiting.get(number, ""))


def _one(
    setting: Setting,
    facts: Facts,
    explanation: Explanation | None,
    refusal: Reply | None,
    folder: str | None,
    wait: str,
) -> Answered:
    recipient = facts.envelope.recipient
    if explanation is None:
        foreign = reply("not_our_domain", domain=recipient.domain or recipient.local)
        return Answered(recipient, foreign.with_reference(REFERENCE), "its domain is not among `relay_domains`")
    verdict = explanation.course.verdict
    changes = tuple(flips(setting.policy, facts))
    if wait:
        return Answered(recipient, reply("other_profile").with_reference(REFERENCE), wait, explanation, changes)
    if refusal is not None and not explanation.course.envelope.action.blocks:
        why = "the message is refused for its header section, whatever the policy says"
        return Answered(recipient, refusal.with_reference(REFERENCE), why, explanation, changes)
    said = verdict.reply.with_reference(REFERENCE) if verdict.reply is not None else None
    fields = _fields(setting.settings, facts, explanation, folder) if said is None else ()
    return Answered(recipient, said, "", explanation, changes, fields)


def _fields(settings: Settings, facts: Facts, explanation: Explanation, folder: str | None) -> tuple[str, ...]:
    """The lines of the fields for the backend that depend on scanners and verdict."""
    if facts.message is None:
        return ()
    came_from = message.Origin(settings.hostname, facts.client.address, facts.envelope.helo.name)
    way = message.Transmission(came_from, REFERENCE, message.protocol(extended=True), datetime.now(UTC))
    tags = explanation.course.verdict.tags
    octets = message.for_backend(message.parse_head(b""), way, facts.message, folder=folder, tags=tags)
    fields = octets.decode("ascii", "replace").replace("\r\n\t", "\n    ").replace("\r\n", "\r").split("\r")
    return tuple(field for field in fields if field.startswith("X-") and not field.startswith("X-Mailguard-Id"))


# --- origins ----------------------------------------------------------------------------------------------------------


def _origins(
    policy: CompiledPolicy, said: Said, given: Mapping[str, Given], *, asked: bool, named: bool
) -> dict[str, str]:
    """Where each fact is from."""
    origins = {name: _origin(name, said, asked=asked, named=named) for name in FACTS}
    for name, spec in FACTS.items():
        if spec.source is Source.DNSBL or name == "client.score":
            origins[name] = _of_lists(
                {zone.name for zone in policy.lists}, given, origins[name], summed=name == "client.score"
            )
        elif name in given or _group(name) in {_group(each) for each in given}:
            origins[name] = GIVEN
    return origins


def _of_lists(lists: set[str], given: Mapping[str, Given], otherwise: str, *, summed: bool) -> str:
    """Where what lists say is from; ``summed`` with what others say."""
    told = {name for name in lists if f"dnsbl.{name}" in given}
    if not told:
        return otherwise
    return GIVEN if told == lists and not summed else f"{otherwise}, {GIVEN}"


def _group(name: str) -> str:
    """What is one answer with the fact ``name``: the scanners' and reverse DNS's facts come together."""
    group = name.partition(".")[0]
    return group if group in ("virus", "spam", "reverse_dns") else name


def _origin(name: str, said: Said, *, asked: bool, named: bool) -> str:
    spoken = {"helo": said.helo is not None, "sender": said.sender is not None, "recipient": named, "client": True}
    group, spec = name.partition(".")[0], FACTS[name]
    if not spoken.get(group, True) or name == "early_talker":
        return ASSUMED
    if spec.stage is Stage.CONTENT and said.content is None:
        return ASSUMED
    if spec.source is not None or name == "client.score":
        return ASKED if asked else ASSUMED
    return SAID
