"""A decision that was made, from its record in the journal: the same view as for a client of now.

The facts are the recorded ones. Where the policy is the one that decided, the engine is asked again and the reply is
the recorded one. Where it is another by now, what was decided then is told by the record alone, and what follows, the
flips too, is the present policy's word on the same facts. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mailguard.cli.explained import RECORDED, Answered, Explained, Setting
from mailguard.facts import FACTS
from mailguard.hindsight.recorded import facts_of
from mailguard.hindsight.shape import Unreadable
from mailguard.journal.form import Record
from mailguard.journal.telling import letter, notes
from mailguard.policy.course import Facts
from mailguard.policy.explanation import Explanation, explain
from mailguard.policy.flips import flips
from mailguard.replies import Origin, Reply
from mailguard.session.rehearsal import REFERENCE

_OTHERWISE: Final = (
    "The policy is the one that decided, but on these facts it says something else now: it was only observed then, or "
    "the client was let in as one of a sample. What follows is what it says."
)
_NOT_POLICY: Final = {
    Origin.BACKEND: "that was the word of the backend, not of the policy",
    Origin.MAILGUARD: "that was mailguard's own word, not the policy's",
}


class NothingToExplain(ValueError):
    """No policy was asked."""


def past(setting: Setting, record: Record) -> Explained:
    """The decision that ``record`` tells of.

    Raises:
        NothingToExplain: it is about no mail that a policy was asked about, or it is not of the form of records.
    """
    if "envelope" not in record:
        raise NothingToExplain(f"{record['ref']}: no policy was asked about this; `mailguard why` tells what happened")
    try:
        found = [Facts(each.client, each.envelope, each.message) for each in facts_of(record, setting.policy.lists)]
    except Unreadable as error:
        raise NothingToExplain(f"the record is not of the form that it should have: {error}") from error
    explanations = [explain(setting.policy, facts) for facts in found]
    changed = _changed(setting, record, explanations[0])
    return Explained(
        setting,
        str(record["client"]["ip"]),
        str(record["helo"]["name"]),
        str(record["sender"]),
        dict.fromkeys(FACTS, RECORDED),
        tuple(_answered(setting, record, each, current=not changed) for each in explanations),
        bool(record["client"]["own_relay"]),
        record["client"].get("dnsbl_seconds"),
        "\n\n".join(_story(record, bool(changed))),
        changed,
    )


def _story(record: Record, changed: bool) -> Iterator[str]:
    """What happened, in a sentence; all that was decided then, where the policy is another now."""
    yield letter(record).split("\n\n")[0]
    if changed:
        yield notes(record)


def _changed(setting: Setting, record: Record, now: Explanation) -> str:
    """Why what is explained is not what was decided; empty where it is."""
    digest = str(record.get("policy", ""))
    if digest != setting.policy.digest:
        return (
            f"It was decided by the policy with the digest {digest[:12]}. What follows is the word of the present one, "
            f"{setting.policy.digest[:12]}, on the same facts."
        )
    verdict = now.course.verdict
    then = record.get("content") or record["envelope"]
    return "" if (then["action"], then["folder"]) == (verdict.action.value, verdict.folder) else _OTHERWISE


def _answered(setting: Setting, record: Record, found: Explanation, *, current: bool) -> Answered:
    recipient = found.facts.envelope.recipient
    changes = tuple(flips(setting.policy, found.facts))
    if current:
        said, why = _recorded_reply(record)
        return Answered(recipient, said, why, found, changes)
    reply = found.course.verdict.reply
    return Answered(recipient, reply.with_reference(REFERENCE) if reply is not None else None, "", found, changes)


def _recorded_reply(record: Record) -> tuple[Reply, str]:
    """What the client was told, and why where that was not for the policy."""
    told: dict[str, Any] = record["reply"]
    said = Reply(told["code"], told["enhanced"], (told["text"],), origin=Origin(told["by"]))
    why = "" if said.positive else _NOT_POLICY.get(said.origin, "")
    return said.with_reference(record["ref"]), why
