"""Facts put through both stages of the engine, as a session does: the envelope's rules, then the content's.

Cases, explanations and what would flip a verdict all come here, so that each of them is the engine's word. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailguard.facts import Client, Envelope, Message
from mailguard.policy.engine import CompiledPolicy, Watch
from mailguard.verdict import Action, Verdict


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known for one recipient; ``message`` is None where no content came."""

    client: Client
    envelope: Envelope
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """How it went: the ``verdict`` in the end, and the envelope's and the content's own; None where none came."""

    verdict: Verdict
    envelope: Verdict
    content: Verdict | None = None


def course_of(policy: CompiledPolicy, facts: Facts, watch: Watch | None = None) -> Course:
    """What ``policy`` makes of ``facts``: the envelope's verdict where that ends it, else the content's, if any came.

    Where the content's rules let through what a rule of the envelope had accepted, that rule is the one that decided.
    ``watch`` is told of the rules in force, as they are tried.
    """
    before = policy.envelope(facts.client, facts.envelope, watch)
    if before.action.blocks or facts.message is None:
        return Course(before, before)
    after = policy.content(facts.client, facts.envelope, facts.message, before, watch)
    spoke = before.rule if after.action is Action.ACCEPT and not after.rule else after.rule
    return Course(replace(after, rule=spoke, observed=before.observed or after.observed), before, after)
