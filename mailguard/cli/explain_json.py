"""`mailguard explain --json`: all that the tables show, and every flip, as one object.

A truth is ``true``, ``false`` or ``null``, where it cannot be told.
"""

from __future__ import annotations

from typing import Any

from mailguard.cli.explain_table import doubt
from mailguard.cli.explained import Answered, Explained, Setting
from mailguard.policy.explanation import Counted, Explanation, Tried
from mailguard.replies import Reply
from mailguard.verdict import Verdict


def written(told: Explained) -> dict[str, Any]:
    """All of it."""
    policy = told.setting.policy
    return {
        "client": told.client,
        "helo": told.helo,
        "sender": told.sender,
        "own_relay": told.own_relay,
        "policy": str(policy.path),
        "digest": policy.digest,
        "changed": told.changed or None,
        "recipients": [_answered(each, told) for each in told.answered],
    }


def _answered(each: Answered, told: Explained) -> dict[str, Any]:
    found = each.explanation
    return {
        "recipient": str(each.recipient),
        "reply": _reply(each.reply),
        "why": each.why or None,
        "fields": list(each.fields),
        "explanation": _explanation(found, told) if found is not None else None,
        "flips": [
            {
                "what": flip.change.what,
                "about": flip.change.about,
                "given": dict(flip.change.given),
                "weight": flip.change.weight,
                "verdict": _verdict(flip.course.verdict),
            }
            for flip in each.flips
        ],
    }


def _reply(reply: Reply | None) -> dict[str, Any] | None:
    if reply is None:
        return None
    lines = reply.encode().decode("ascii").splitlines()
    return {"code": reply.code, "enhanced": reply.enhanced, "by": reply.origin.value, "lines": lines}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "action": verdict.action.value,
        "code": verdict.reply.code if verdict.reply is not None else None,
        "folder": verdict.folder,
        "rule": verdict.rule or None,
        "tags": list(verdict.tags),
        "observed": _verdict(verdict.observed) if verdict.observed is not None else None,
    }


def _explanation(found: Explanation, told: Explained) -> dict[str, Any]:
    return {
        "profile": found.profile,
        "verdict": _verdict(found.course.verdict),
        "facts": [
            {
                "name": each.evidence.name,
                "value": None if each.evidence.unknown else each.evidence.value,
                "provenance": each.evidence.provenance.name.lower(),
                "from": told.origins.get(each.evidence.name, ""),
                "why": each.why or None,
            }
            for each in found.shown
        ],
        "weights": [_counted(each, told) for each in found.counted],
        "stages": [
            {
                "stage": stage.stage.name.lower(),
                "verdict": _verdict(stage.verdict),
                "rules": [_tried(each, told.setting) for each in stage.tried],
                "not_tried": [rule.name for rule in stage.untried],
            }
            for stage in found.stages
        ],
        "observed": _explanation(found.observed, told) if found.observed is not None else None,
    }


def _counted(each: Counted, told: Explained) -> dict[str, Any]:
    return {
        "name": each.name,
        "zone": each.zone or None,
        "codes": {str(code): label or None for code, label in each.codes},
        "unknown": each.unknown or None,
        "weight": each.weight.settled,
        "least": each.weight.low,
        "most": each.weight.high,
        "only_observed": each.observed,
        "seconds": (told.seconds or {}).get(each.name) if each.zone else None,
    }


def _tried(each: Tried, setting: Setting) -> dict[str, Any]:
    return {
        "name": each.rule.name,
        "action": each.rule.action.value,
        "where": setting.place(each.rule),
        "condition": setting.condition(each.rule),
        "truth": each.truth,
        "fired": each.fired,
        "doubt": doubt(each) or None,
        "parts": [
            {
                "text": setting.text(each.rule, part.condition),
                "truth": part.truth,
                "facts": {fact.name: None if fact.unknown else fact.value for fact in part.facts},
            }
            for part in each.parts
        ],
    }
