"""Facts in, verdict out: the rules of one stage, read top to bottom; the first that decides, decides.

Whether a rule fires depends on its condition and, where an answer is missing, on its action (policy.md, "Scores"):

* reject, defer: where the condition is true whatever the missing answer may be. Doubt is for the sender.
* accept with a rule that blocks below it: where it is true for the most favourable value that a score, a list's answer
  or a tag may have. A missing answer that is no matter of amount leaves it unfired, and what blocks below it then
  defers.
* everything else: where it is true when doubt weighs nothing.

After the last rule, ``unavailable`` says what a missing answer means that left a rule undecided.

Received evidence may acquit, never convict. ``policy.provenance`` has seen to that as far as answers are known; two
ways more lead over missing ones, and are closed here:

* A scanner that is up but too slow for this message may be so for its Received lines. Where a rule by Received evidence
  that lets through has no answer for that reason, no rule below it blocks: a deferral would only be the same again.
* Who is deferred by ``unavailable`` is decided without Received evidence: as though there were none of the rules that
  such evidence moves, but all their answers were missed (:meth:`_Decision._unavailable`). Else a message that they
  file would get past a dead virus scanner, and another not.

Postmaster and abuse are never refused nor filed, whatever the rules say (RFC 5321 4.5.1).

Pure, and it raises nothing for facts of the declared types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeAlias

from mailguard.facts import (
    NOTHING_HIDDEN,
    Answer,
    Client,
    Codes,
    DnsblZone,
    Envelope,
    Mailbox,
    Message,
    Source,
    Stage,
    Unknown,
    VirusResult,
)
from mailguard.policy.allowances import Allowed
from mailguard.policy.answers import ListTable, Reckoned
from mailguard.policy.expression import Constant, Doubt, View
from mailguard.policy.finding import Finding
from mailguard.policy.reading import Reading, virus_kind
from mailguard.policy.rules import Fallback, Profiles, Rule, World, always_reachable
from mailguard.policy.sample import NO_SAMPLE, Sample
from mailguard.policy.treatment import Treatment, Treatments
from mailguard.policy.truth import EMPTY, Members, Truth, conjunction, negation
from mailguard.positions import Problem
from mailguard.replies import Origin, Reply, printable, reply
from mailguard.verdict import Action, RuleOutcome, Trace, Verdict

POSTMASTER: Final = "postmaster"
"""What a verdict names as its rule where postmaster and abuse were spared."""
_CAREFUL: Final = {Action.DEFER: 0, Action.FILE: 1, Action.ACCEPT: 2}
"""What ``unavailable`` may say, the most careful first."""


_NO_CONSTANTS: Final[Mapping[str, Constant]] = {}

Watch: TypeAlias = Callable[[Rule, View], None]
"""Told of each rule as it is tried, with what its condition sees then: facts, constants, the tags given so far."""


class _Pass:
    """One pass through the rules of one stage in one world.

    Args:
        watch: told of each rule of which there will be an outcome, before it.
        free: only rules that no Received evidence moves give tags and let the message through, and none blocks.

    Attributes:
        decided: the rule that did.
        reach: whether the rules below are reached: None where an accept or file above is in doubt and did not fire.
        missed: sources whose missing answer may have left a rule undecided, where only free rules count.
        outcomes: of the rules tried.
    """

    decided: Rule | None = None
    reach: Truth = True
    missed: frozenset[Source] = frozenset()
    _spared = False

    def __init__(
        self,
        world: World,
        stage: Stage,
        reading: Reading,
        profile: Mapping[str, Constant],
        watch: Watch | None = None,
        *,
        free: bool = False,
    ) -> None:
        self._rules = world.stages[stage]
        self._reputes = world.reputes[stage]
        self._watch = watch
        self._reading = reading
        self._free = free
        self._careful = View(reading, profile)
        self.outcomes: list[RuleOutcome] = []

    def run(self) -> Self:
        """Try the rules in order; the pass itself is the result."""
        free, known = self._free, self._reading.repute.truths
        for position, rule in enumerate(self._rules.rules):
            if self._spared and rule.blocks:
                truth = None
            elif (name := rule.name) in known:
                truth = known[name]
            else:
                truth = self._truth(rule)
            if free and self._passes_over(rule, truth):
                continue
            if truth is False:  # whatever it would do, it does nothing
                if self.decided is None:
                    self._note(rule, truth)
            elif self._ends(rule, truth, position):
                break
        return self

    def _truth(self, rule: Rule) -> Truth:
        """Whether its condition holds; where that rests on the client alone, it is kept for the next time."""
        truth = rule.condition.evaluate(self._careful)
        if rule.name in self._reputes.rules:
            self._reading.repute.truths[rule.name] = truth
        return truth

    def _passes_over(self, rule: Rule, truth: Truth) -> bool:
        """Whether ``rule`` has no say where only free rules do; whose answer it lacks is noted all the same."""
        # Of a rule that Received evidence moves every source counts as missed: which ones truly left it undecided
        # may depend on that evidence, and so would then who is deferred.
        if truth is None or not rule.free:
            self.missed |= self._rules.sources[rule.name]
        return rule.blocks or not rule.free

    def _note(self, rule: Rule, fired: Truth) -> None:
        if self._watch is not None:
            self._watch(rule, self._careful)
        self.outcomes.append(rule.outcomes[fired])

    def _ends(self, rule: Rule, truth: Truth, position: int) -> bool:
        """Try ``rule``; True where nothing below matters any more: after a decision by doubt, its tags still do."""
        fired = self.decided is None and self._fires(rule, truth, position)
        if self.decided is None:
            self._note(rule, fired or truth)
        if not rule.decides:
            self._tag(rule, conjunction((self.reach if self.decided is None else None, truth)), fired)
        elif fired:
            self.decided = rule
        elif not rule.blocks:
            self.reach = conjunction((self.reach, negation(truth)))
            self._spared = self._spared or (truth is None and not rule.free and self._reading.unscannable)
        return truth is True and self.decided is not None and rule.decides

    def _fires(self, rule: Rule, truth: Truth, position: int) -> bool:
        if truth is not None or rule.blocks:
            return truth is True
        spares = rule.action is Action.ACCEPT and position < self._rules.last_block
        doubt = Doubt.FAVOURABLE if spares else Doubt.NOTHING
        return rule.condition.evaluate(View(self._reading, self._careful.profile, doubt)) is True

    def _tag(self, rule: Rule, truth: Truth, fired: bool) -> None:
        """Add the symbol of ``rule``: for certain, as possible, or as given where doubt weighs nothing."""
        symbol, tags = {rule.symbol or ""}, self._reading.tags
        self._reading.give(
            Members(
                tags.certain | symbol if truth is True else tags.certain,
                tags.possible | symbol if truth is not False or fired else tags.possible,
                tags.settled | symbol if fired else tags.settled,
            )
        )


class _Decided(NamedTuple):
    """What is done, and by which rule."""

    action: Action
    rule: str = ""
    reply: Reply | None = None
    folder: str | None = None


_LET_THROUGH: Final = _Decided(Action.ACCEPT)


class _Decision(_Pass):
    """A pass, and what comes of it."""

    def __init__(
        self, world: World, stage: Stage, reading: Reading, profile: Mapping[str, Constant], watch: Watch | None
    ) -> None:
        super().__init__(world, stage, reading, profile, watch)
        self._world = world
        self._stage = stage
        self._before = reading.tags

    def verdict(self, before: Verdict | None) -> Verdict:
        """What is done; ``before``: the envelope's verdict, where this is the content's."""
        result = self._of_rules()
        if before is not None:
            result = self._merged(result, before)
        if result.action is not Action.ACCEPT and always_reachable(self._reading.envelope.recipient):
            result = _Decided(Action.ACCEPT, POSTMASTER)
        action, rule, said, folder = result
        return Verdict(action, rule, said, folder, *_symbols(self._reading.tags), self._trace())

    def _trace(self) -> Trace:
        reading, repute = self._reading, self._reading.repute
        if repute.told:
            facts = {**repute.told, **reading.told(self._reputes.others)}
        else:
            facts = repute.told = reading.told(self._reputes.facts)
        return Trace(facts, reading.weights(), tuple(self.outcomes))

    @staticmethod
    def _merged(result: _Decided, before: Verdict) -> _Decided:
        """What the envelope filed stays filed there, whatever the content's rules let through or file."""
        if before.action is not Action.FILE or result.action.blocks:
            return result
        return _Decided(Action.FILE, before.rule, folder=before.folder)

    def _of_rules(self) -> _Decided:
        rule = self.decided
        if rule is not None and rule.blocks:
            return self._blocked(rule)
        missing = self._unavailable()
        if rule is None:
            return missing or _LET_THROUGH
        if missing is not None and missing.action is Action.DEFER:
            return missing
        return _Decided(rule.action, rule.name, folder=rule.folder)

    def _blocked(self, rule: Rule) -> _Decided:
        if rule.action is Action.REJECT and self.reach is None:
            return _Decided(
                Action.DEFER,
                rule.name,
                _unavailable("a rule above may have let it through, had no answer been missing"),
            )
        return _Decided(rule.action, rule.name, self._said(rule))

    def _said(self, rule: Rule) -> Reply | None:
        """The reply of a rule that blocks; where its text is of the client alone, the one made for it once."""
        said, known = rule.said, self._reading.repute.replies
        if said is None or rule.text is None or rule.name in known:
            return known.get(rule.name, said)
        said = said.saying((rule.text.render(self._reading.shown),))
        if rule.name in self._reputes.texts:
            known[rule.name] = said
        return said

    def _unavailable(self) -> _Decided | None:
        """What ``unavailable`` says of the answers that were missed, the most careful first.

        None where none was missed, or where a rule that no Received evidence moves lets the message through: the same
        with that evidence and without.
        """
        reading, fallbacks = self._reading, self._world.needed[self._stage]
        said = {s: (u, f) for s, f in fallbacks if (u := reading.unknown(s)) is not None}
        if not said:
            return None
        reading = reading.with_tags(self._before)
        free = _Pass(self._world, self._stage, reading, self._careful.profile, free=True).run()
        found = [(_CAREFUL[said[s][1].action(said[s][0].cause)], s) for s in free.missed & said.keys()]
        if free.decided is not None or not found:
            return None
        source = min(found)[1]
        return self._fallen_back(source, *said[source])

    @staticmethod
    def _fallen_back(source: Source, unknown: Unknown, fallback: Fallback) -> _Decided:
        action, name = fallback.action(unknown.cause), f"unavailable: {source}"
        if action is Action.DEFER:
            return _Decided(action, name, _unavailable(printable(f"{source}: {unknown.why}")))
        return _Decided(action, name, folder=fallback.folder if action is Action.FILE else None)


def _unavailable(cause: str) -> Reply:
    return reply("unavailable").because(cause).said_by(Origin.POLICY)


def _symbols(tags: Members) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those given, and those in doubt."""
    if tags is EMPTY:
        return (), ()
    return tuple(sorted(tags.settled)), tuple(sorted(tags.doubtful))


@dataclass(frozen=True)
class CompiledPolicy:
    """A policy ready to decide; immutable, so that a session keeps the one that it began with.

    Attributes:
        path: the file that it was read from.
        digest: SHA-256 of that file and all that it includes, in hexadecimal.
        description: its own words about itself.
        lists: whom to ask about a client: none whose key is missing.
        sources: whose answers it needs at all.
        wants_early_talker: whether the greeting must wait a little to tell.
        force: what is in force.
        trial: what would be, were everything in force that is only observed; None where nothing is observed.
        profiles: constants by recipient.
        treatments: which recipients may share a transaction.
        sample: which of those that it refuses at the envelope are let in.
        cases: how many cases of its own it has passed.
        warnings: what it says that is hardly meant.
        allowed: what it says that is warned of elsewhere, and is meant here.
        missing_keys: what to say of each list whose key is not at hand.
    """

    path: Path
    digest: str
    description: str
    lists: tuple[DnsblZone, ...]
    sources: frozenset[Source]
    wants_early_talker: bool
    force: World
    trial: World | None
    profiles: Profiles
    treatments: Treatments
    sample: Sample = NO_SAMPLE
    cases: int = 0
    warnings: tuple[Finding, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    missing_keys: tuple[Problem, ...] = ()

    @cached_property
    def zones(self) -> tuple[tuple[str, str], ...]:
        """Each list that is asked: its name, its DNS zone."""
        return tuple([(each.name, each.zone) for each in self.lists])

    @property
    def tables(self) -> tuple[ListTable, ...]:
        """Every list with what its answers mean, those that are only observed, and those that cannot be asked."""
        return (self.trial or self.force).scales.lists

    @cached_property
    def only_observed(self) -> CompiledPolicy:
        """The same as it were with ``mode: observe`` at its top: only rules that say ``mode: enforce`` do anything."""
        everything = self.trial or self.force
        calm = everything.insisted()
        treatments = Treatments.of(calm, everything)
        return replace(self, force=calm, trial=everything, treatments=treatments)

    def profile(self, recipient: Mailbox) -> str:
        """The name of the profile of ``recipient``."""
        return self.profiles.name(recipient)

    def virus_kind(self, virus: VirusResult) -> str:
        """The fact ``virus.kind`` of ``virus``."""
        return virus_kind(virus.name, self.force.scales.official)

    def defers_without(self, source: Source) -> bool:
        """Whether mail waits while ``source`` is down."""
        fallback = self.force.fallbacks.get(source)
        return source in self.force.sources and fallback is not None and fallback.down is Action.DEFER

    def envelope(self, client: Client, envelope: Envelope, watch: Watch | None = None) -> Verdict:
        """What the envelope's rules decide about one recipient; ``watch`` is told of the rules in force."""
        verdict = self._envelope(self.force, client, envelope, watch)
        if self.trial is None:
            return verdict
        return _observed(verdict, self._envelope(self.trial, client, envelope))

    def sampled(self, client: Client, verdict: Verdict) -> Verdict:
        """``verdict``, the envelope's, or what is done in its place where the sample lets ``client`` in."""
        return self.sample.spared(verdict, client.address, self.digest)

    def content(
        self, client: Client, envelope: Envelope, message: Message, before: Verdict, watch: Watch | None = None
    ) -> Verdict:
        """What is done with the message for one recipient; ``before``: the envelope's verdict, not a blocking one.

        ``watch`` is told of the rules in force.
        """
        verdict = self._content(self.force, client, envelope, message, before, watch)
        if self.trial is None:
            return verdict
        tried = self._envelope(self.trial, client, envelope)
        if tried.action.blocks:  # told and counted at the envelope: this content would never have come
            return verdict
        return _observed(verdict, self._content(self.trial, client, envelope, message, tried))

    def _envelope(self, world: World, client: Client, envelope: Envelope, watch: Watch | None = None) -> Verdict:
        repute = world.reputes[Stage.ENVELOPE].of(client, envelope.hidden)
        reading = Reading(world.scales, client, envelope, None, EMPTY, repute)
        return self._decided(world, Stage.ENVELOPE, reading, watch).verdict(None)

    def _content(
        self,
        world: World,
        client: Client,
        envelope: Envelope,
        message: Message,
        before: Verdict,
        watch: Watch | None = None,
    ) -> Verdict:
        repute = world.reputes[Stage.CONTENT].of(client, envelope.hidden)
        reading = Reading(world.scales, client, envelope, message, _tags(before), repute)
        return self._decided(world, Stage.CONTENT, reading, watch).verdict(before)

    def _decided(self, world: World, stage: Stage, reading: Reading, watch: Watch | None) -> _Decision:
        constants = self.profiles.of(reading.envelope.recipient) if world.stages[stage].profiled else _NO_CONSTANTS
        return _Decision(world, stage, reading, constants, watch).run()

    def treatment(self, recipient: Mailbox, envelope_verdict: Verdict) -> Treatment:
        """Equal for two recipients only where every content gets one verdict for both (policy.md)."""
        name = self.profile(recipient)
        return self.treatments.treatment(recipient, envelope_verdict, name, self.profiles.constants[name])

    def unmatched(self, client: Client) -> tuple[tuple[str, IPv4Address], ...]:
        """Lists and the codes they answered that their tables do not know: they weigh nothing, and are counted."""
        return self._reckoned(client).unmatched

    def white_lists(self, client: Client) -> tuple[tuple[str, Answer[Codes]], ...]:
        """Zone and answer of each list that was asked about ``client`` and can only speak for it."""
        return self._reckoned(client).white

    def _reckoned(self, client: Client) -> Reckoned:
        return (self.trial or self.force).reputes[Stage.ENVELOPE].of(client, NOTHING_HIDDEN).reckoned


def _tags(verdict: Verdict) -> Members:
    if not (verdict.tags or verdict.doubtful_tags):
        return EMPTY
    given, doubtful = frozenset(verdict.tags), frozenset(verdict.doubtful_tags)
    return Members(given - doubtful, given | doubtful, given)


def _observed(verdict: Verdict, tried: Verdict) -> Verdict:
    """``verdict`` with what would have been done, where that is something else."""
    same = (tried.action, tried.folder) == (verdict.action, verdict.folder)
    return verdict if same else replace(verdict, observed=tried)
