"""One record judged again: what was done with it, what a policy would do now, and whether that can be told at all.

What was done stands in the record. What would be done is the engine's word on the same facts, with these bounds:

* A recipient that was refused sent no content: a policy that would take it now is known to that point alone.
* What was refused by the backend or by mailguard itself was not the policy's affair, and is left out.
* An answer that nobody asked for then, or a value under a pseudonym, is unknown. Where that leaves a rule undecided,
  what would be done is not known, and is not guessed.
* Mail that the sample let in counts as what the rules said of it: refused.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from mailguard.facts import NOT_ASKED, Source, Stage
from mailguard.hindsight.recorded import Facts, facts_of
from mailguard.hindsight.shape import Unreadable, event_of
from mailguard.hindsight.visible import Seen
from mailguard.journal.form import Record
from mailguard.policy.cases import tried
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.expression import View
from mailguard.policy.reading import Reading
from mailguard.policy.truth import Members
from mailguard.verdict import Action, Verdict

Decisions: TypeAlias = Sequence[Mapping[str, Any]]
"""The envelope's decision as recorded, and the content's where there was one."""

_MAIL: Final = frozenset({"message", "recipient"})
"""Events that are about mail."""
_EVERYBODY: Final = "*"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is done with the mail of one recipient.

    Attributes:
        action: ``accept``, ``file``, ``reject`` or ``defer``.
        folder: where it is filed.
        rule: that decided; empty where the rules came to their end.
        whole: whether its content was judged too, or did not matter.
    """

    action: str
    folder: str = ""
    rule: str = ""
    whole: bool = True

    @property
    def place(self) -> tuple[str, str]:
        """What its recipient notices."""
        return self.action, self.folder


@dataclass(frozen=True, slots=True)
class Again:
    """What a policy makes of recorded facts; ``lacking`` says which of them left it undecided, not written down."""

    outcome: Outcome
    lacking: tuple[str, ...] = ()


class Judged(StrEnum):
    """How judging a record again came out."""

    SAME = "same"
    OTHER_RULE = "other rule"
    CHANGED = "changed"
    UNKNOWN = "unknown"
    ELSEWHERE = "elsewhere"
    """It was not the policy that decided."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Compared:
    """One record: ``before`` and ``now`` where its mail changes (of the first recipient that it changes for)."""

    judged: Judged
    before: Outcome | None = None
    now: Outcome | None = None
    recipient: str = ""
    lacking: tuple[str, ...] = ()


class Judge:
    """Judges records under ``policy``; ``enforced``: as though nothing were only observed, then and now."""

    def __init__(self, policy: CompiledPolicy, enforced: bool = False) -> None:
        self._policy = tried(policy) if enforced else policy
        self._enforced = enforced
        world = policy.trial or policy.force
        self._lists = tuple(table.zone for table in world.scales.lists)
        self._used = frozenset(name for stage in world.stages.values() for name in stage.facts)
        self._seen = Seen(self._policy, self.again)

    def compare(self, record: Record) -> Compared | None:
        """``record`` judged again; None where it is about no mail."""
        try:
            if event_of(record) not in _MAIL:
                return None
            facts = self.facts(record)
            if not _is_the_policys(record):
                return Compared(Judged.ELSEWHERE)
            before = self._befores(record)
            return _worst([self._compared(next(before), each) for each in facts])
        except Unreadable:
            return Compared(Judged.UNREADABLE)

    def facts(self, record: Record) -> Iterator[Facts]:
        """The facts in ``record``, which is checked at the call, as this policy wants them, for each recipient.

        Raises:
            Unreadable: it lacks what its version has, or something there is not of its type.
        """
        return facts_of(record, self._lists)

    def _compared(self, before: Outcome, facts: Facts) -> Compared:
        again = self._seen.of(facts)
        if again.lacking:
            return Compared(Judged.UNKNOWN, lacking=again.lacking)
        now = again.outcome
        if now.place == before.place:
            return Compared(Judged.SAME if now.rule == before.rule else Judged.OTHER_RULE)
        return Compared(Judged.CHANGED, before, now, str(facts.envelope.recipient))

    def _befores(self, record: Record) -> Iterator[Outcome]:
        """What was done, for each recipient in order."""
        for decisions in decisions_of(record):
            yield before(decisions, self._enforced)

    # --- what would be done -------------------------------------------------------------------------------------------

    def again(self, facts: Facts) -> Again:
        """What the policy decides on ``facts``."""
        client, envelope, message = facts.client, facts.envelope, facts.message
        verdicts = [self._policy.envelope(client, envelope)]
        if message is not None and not verdicts[0].action.blocks:
            verdicts.append(self._policy.content(client, envelope, message, verdicts[0]))
        last = verdicts[-1]
        whole = last.action.blocks or message is not None
        outcome = Outcome(last.action.value, last.folder or "", last.rule, whole)
        lacking = tuple(self._lacking(facts))
        return Again(outcome, lacking if lacking and self._is_doubtful(facts, verdicts) else ())

    def _is_doubtful(self, facts: Facts, verdicts: Sequence[Verdict]) -> bool:
        """Whether a missing answer left one of the rules open that were tried."""
        if self._profile_hidden(facts):
            return True
        world, profile = self._policy.force, self._policy.profiles.of(facts.envelope.recipient)
        for stage, verdict in zip(Stage, verdicts, strict=False):
            tags = Members.exactly(verdict.tags)
            view = View(Reading(world.scales, facts.client, facts.envelope, facts.message, tags), profile)
            names = {outcome.rule for outcome in verdict.trace.rules}
            rules = (rule for rule in world.stages[stage].rules if rule.name in names)
            if any(rule.condition.evaluate(view) is None for rule in rules):
                return True
        return False

    def _lacking(self, facts: Facts) -> Iterator[str]:
        """What the policy looks at and nobody wrote down."""
        hidden = facts.envelope.hidden & self._used
        yield from (f"{name} is under a pseudonym" for name in sorted(hidden))
        if self._profile_hidden(facts) and "recipient.address" not in hidden:
            yield "recipient.address is under a pseudonym"
        if Source.DNSBL in self._policy.sources:
            answers = facts.client.dnsbl.items()
            yield from (f"the list {name} was not asked" for name, answer in answers if answer == NOT_ASKED)
        unasked = {source for source, answer in _answers(facts) if answer == NOT_ASKED}
        yield from (f"{source} was not asked" for source in sorted(unasked & self._policy.sources))
        if self._policy.wants_early_talker and facts.client.early_talker == NOT_ASKED:
            yield "early_talker was not looked at"

    def _profile_hidden(self, facts: Facts) -> bool:
        """Whether the recipient's profile can't be told, for its address is hidden."""
        matches = self._policy.profiles.recipients
        hidden = "recipient.address" in facts.envelope.hidden
        return hidden and bool(matches) and _EVERYBODY not in matches[0].patterns


def _answers(facts: Facts) -> Iterator[tuple[Source, object]]:
    yield Source.REVERSE_DNS, facts.client.reverse_dns
    yield Source.HELO, facts.envelope.helo.resolves
    if not facts.envelope.sender.is_null:
        yield Source.SENDER, facts.envelope.sender_resolves
    if facts.message is not None:
        yield Source.CLAMAV, facts.message.virus
        yield Source.SPAMASSASSIN, facts.message.spam


# --- what was done ----------------------------------------------------------------------------------------------------


def _is_the_policys(record: Record) -> bool:
    """Whether what was done was the policy's word; what was let in is."""
    reply = record.get("reply") or {}
    elsewhere = reply.get("code", 0) >= 400 and reply.get("by") != "policy"
    return not elsewhere and ("content" if record["event"] == "message" else "envelope") in record


def decisions_of(record: Record) -> Iterator[Decisions]:
    """The decisions for each recipient of ``record``, in their order.

    Raises:
        Unreadable: it lacks what its version has.
    """
    try:
        first = _decisions(record)
        apart = {name: _decisions(party) for party in record.get("others", ()) for name in party["recipients"]}
        recipients = record["recipients"] if "recipients" in record else (record["recipient"],)
        yield from (apart.get(recipient, first) for recipient in recipients)
    except (AttributeError, KeyError, TypeError) as error:
        raise Unreadable(f"{record['ref']}: {error!r}") from error


def _decisions(party: Mapping[str, Any]) -> Decisions:
    return [party[stage] for stage in ("envelope", "content") if stage in party]


def refusal_spared(envelope: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The refusal at the envelope that observe mode or the sample kept from being done; None where there was none."""
    observed: Mapping[str, Any] | None = envelope.get("observed")
    return observed if observed and Action(observed["action"]).blocks else None


def before(decisions: Decisions, enforced: bool) -> Outcome:
    """What was done by ``decisions``; ``enforced``: what would have been, were nothing only observed.

    Raises:
        Unreadable: they lack what they should have.
    """
    try:
        last, spared = decisions[-1], refusal_spared(decisions[0])
        if spared and (enforced or decisions[0].get("sampled")):
            last = spared
        elif enforced:
            last = last.get("observed") or last
        return Outcome(last["action"], last["folder"] or "", last["rule"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(repr(error)) from error


_ORDER: Final = (Judged.CHANGED, Judged.UNKNOWN, Judged.OTHER_RULE, Judged.SAME)


def _worst(compared: list[Compared]) -> Compared:
    """What is told of a message of several recipients: a change before a doubt before none."""
    return min(compared, key=lambda each: _ORDER.index(each.judged), default=Compared(Judged.SAME))
