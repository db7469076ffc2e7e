"""The line of the log that a record makes: shorter, in words, one value a field. Pure.

Log and journal say the same because the one is made of the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from mailguard.journal.form import Record
from mailguard.verdict import Action

MAX_SPAM_RULES: Final = 40
"""SpamAssassin rules in one line, the weightiest; a message may hit hundreds."""

MAX_VALUE: Final = 200
"""Characters of one fact's value or one rule's name."""

_KEPT: Final = 1024
"""Words that are kept: a policy has few weights, and most of its facts are the same for many clients."""

_APART: Final = frozenset(',"')
_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode
_AS_THEY_ARE: Final = ("sender", "recipient", "recipients", "size", "backend", "message_id", "digest")


def log_line(record: Record, client: Mapping[str, object] | None = None) -> dict[str, object]:
    """The fields of the log, ``ref`` first; :data:`mailguard.log.FIELDS` says what they mean.

    ``client``: what :func:`client_fields` says of this client, where somebody has asked already.
    """
    line: dict[str, object] = {"ref": record["ref"], **(client or client_fields(record))}
    for name in _AS_THEY_ARE:
        if name in record:
            line[name] = record[name]
    if "envelope" in record:
        line |= _decision(record["envelope"], record.get("content"))
    if record.get("others"):
        line |= _others(record)
    if "virus" in record:
        line |= _scans(record)
    if "end" in record:
        line["end"] = record["end"]
    if "reply" in record:
        line |= _reply(record["reply"])
    return line


def is_unknown(answer: object) -> bool:
    """Whether ``answer`` is that there is none."""
    return isinstance(answer, dict) and "unknown" in answer


def _unknown(answer: Mapping[str, Any]) -> str:
    return f"unknown({answer['unknown']})"


def client_fields(record: Record) -> dict[str, object]:
    """Those that say who the client is; none where ``record`` is about none."""
    client = record.get("client")
    if client is None:
        return {}
    if "helo" not in record:  # nothing more is known of it
        return {"client": client["ip"]}
    reverse, tls = client["reverse"], record["tls"]
    confirmed = "confirmed" in reverse and reverse["confirmed"]
    return {
        "client": client["ip"],
        "reverse": reverse["name"] if confirmed else "",
        "helo": record["helo"]["name"],
        "tls": f"{tls['version']}/{tls['cipher']}" if tls else "",
        "dnsbl": _lists(client["dnsbl"]),
    }


def _lists(answers: Mapping[str, Any]) -> list[str]:
    """What is worth a word: ``zen=127.0.0.4`` where listed, ``zen=unknown(timeout)`` where unknown."""
    return [
        f"{name}={_unknown(answer) if isinstance(answer, dict) else '+'.join(answer)}"
        for name, answer in answers.items()
        if answer
    ]


def _decision(envelope: Mapping[str, Any], content: Mapping[str, Any] | None) -> dict[str, object]:
    """What was decided last, and why; where something is observed, that explains: it holds all that counts."""
    last = content or envelope
    observed = _kept_from(envelope["observed"], last["observed"])
    weights = (observed or last)["weights"]
    return {
        "action": last["action"],
        "rule": last["rule"],
        "folder": last["folder"],
        "weights": list(map(_weight, weights, weights.values())),
        "facts": _facts(envelope, content),
        "observed": f"{observed['action']} {observed['rule']}" if observed else "",
    }


@lru_cache(maxsize=_KEPT)
def _weight(name: str, weight: float) -> str:
    return f"{name}={weight:g}"


def _others(record: Record) -> dict[str, object]:
    """Those whom the decision is not about: ``bob@example.com: file Junk, looks like spam``."""
    others = [(", ".join(each["recipients"]), told(each["content"])) for each in record["others"]]
    found = [f"{who}: {what}" for who, what in others if what != told(record["content"])]
    return {"others": found} if found else {}


def told(decision: Mapping[str, Any]) -> str:
    """What was decided, and by what rule, in a few words."""
    return ", ".join(filter(None, (f"{decision['action']} {decision['folder'] or ''}".rstrip(), decision["rule"])))


def _kept_from(first: Mapping[str, Any] | None, last: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What observe mode kept from being done: what would have ended it at the envelope, else what is last."""
    return first if first and Action(first["action"]).blocks else last


def _facts(envelope: Mapping[str, Any], content: Mapping[str, Any] | None) -> list[str]:
    """``name=value`` of each fact that a rule looked at."""
    values: Mapping[str, str | None] = (envelope["observed"] or envelope)["facts"]
    if content:
        values = {**values, **(content["observed"] or content)["facts"]}
    return list(map(_fact, values, values.values()))


@lru_cache(maxsize=_KEPT)
def _fact(name: str, value: str | None) -> str:
    """A value that holds commas or quotes stands in quotes."""
    word = "unknown" if value is None else value[:MAX_VALUE]
    return f"{name}={word if _APART.isdisjoint(word) else _quoted(word)}"


def _scans(record: Record) -> dict[str, object]:
    found: dict[str, object] = {}
    if (virus := record.get("virus")) is not None:
        found["virus"] = _unknown(virus) if is_unknown(virus) else virus["name"] or "clean"
        found["virus_kind"] = virus.get("kind", "")
    if (spam := record.get("spam")) is not None:
        found |= {"spam": _unknown(spam)} if is_unknown(spam) else _spam(spam)
    return found


def _spam(spam: Mapping[str, Any]) -> dict[str, object]:
    return {
        "spam": spam["score"],
        "spam_content": spam["content_score"],
        "spam_received": round(spam["score"] - spam["content_score"], 3),
        "spam_rules": _spam_rules(spam),
    }


def _spam_rules(spam: Mapping[str, Any]) -> list[str]:
    """``BAYES_99=3.5``, and ``RCVD_IN_X=1.2/received`` where the rule may look at Received; the weightiest first."""
    hits = sorted(spam["rules"].items(), key=lambda hit: (-abs(hit[1]), hit[0]))[:MAX_SPAM_RULES]
    tainted = set(spam["tainted"])
    return [f"{name[:MAX_VALUE]}={points:g}{'/received' * (name in tainted)}" for name, points in hits]


def _reply(answer: Mapping[str, Any]) -> dict[str, object]:
    said = f"{answer['code']} {answer['enhanced']} {answer['text']}".replace("  ", " ")
    refused_by = answer["by"] if answer["code"] >= 400 else ""
    return {"reply": said, "refused_by": refused_by, "cause": answer["cause"]}
