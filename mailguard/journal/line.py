"""The line of the log that a record makes: shorter, in words, one value a field. Pure.

Log and journal say the same because the one is made of the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

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
_AS_THEY_ARE: Final[Mapping[str, tuple[str, ...]]] = {
    "recipient": ("sender", "recipient", "backend"),
    "message": ("sender", "recipients", "size", "backend", "message_id", "digest"),
}
"""By event, what a line says as the record does."""
_Line: TypeAlias = dict[str, Any]
Words: TypeAlias = tuple[str, list[str]]
"""Of a client: its confirmed name, what lists say of it."""


def log_line(record: Record, client: Mapping[str, object] | None = None) -> dict[str, object]:
    """The fields of the log, ``event`` and ``ref`` first, none that is empty; :data:`mailguard.log.FIELDS` says what
    they mean.

    ``client``: what :func:`client_fields` says of this client, where somebody has asked already.
    """
    event = record["event"]
    line = {"event": event, "ref": record["ref"], **(client or client_fields(record))}
    for name in _AS_THEY_ARE.get(event, ()):
        value = record.get(name)
        if value or value == 0:
            line[name] = value
    if "envelope" in record:
        _decided(line, record["envelope"], record.get("content"))
    if record.get("others"):
        _others(line, record)
    if "virus" in record:
        _scanned(line, record)
    if "end" in record:
        line["end"] = record["end"]
    if "reply" in record:
        _replied(line, record["reply"])
    return line


def is_unknown(answer: object) -> bool:
    """Whether ``answer`` is that there is none."""
    return isinstance(answer, dict) and "unknown" in answer


def _unknown(answer: Mapping[str, Any]) -> str:
    return f"unknown({answer['unknown']})"


def client_fields(record: Record, words: Words | None = None) -> dict[str, Any]:
    """Those that say who the client is; none where ``record`` is about none.

    ``words``: what :func:`words_of` says of it, where somebody has asked already.
    """
    client = record.get("client")
    if client is None:
        return {}
    fields = {"client": client["ip"]}
    if "helo" in record:  # else nothing more is known of it
        (reverse, lists), helo, tls = words or words_of(client), record["helo"]["name"], record["tls"]
        if reverse:
            fields["reverse"] = reverse
        if helo:
            fields["helo"] = helo
        if tls:
            fields["tls"] = f"{tls['version']}/{tls['cipher']}"
        if lists:
            fields["dnsbl"] = lists
    return fields


def words_of(client: Mapping[str, Any]) -> Words:
    """What a line says of a client alone."""
    reverse = client["reverse"]
    confirmed = "confirmed" in reverse and reverse["confirmed"]
    return reverse["name"] if confirmed else "", _lists(client["dnsbl"])


def _lists(answers: Mapping[str, Any]) -> list[str]:
    """What is worth a word: ``zen=127.0.0.4`` where listed, ``zen=unknown(timeout)`` where unknown."""
    return [
        f"{name}={_unknown(answer) if isinstance(answer, dict) else '+'.join(answer)}"
        for name, answer in answers.items()
        if answer
    ]


def _decided(line: _Line, envelope: Mapping[str, Any], content: Mapping[str, Any] | None) -> None:
    """What was decided last, and why; where something is observed, that explains: it holds all that counts."""
    last = content or envelope
    observed = _kept_from(envelope["observed"], last["observed"])
    line["action"] = last["action"]
    if last["rule"]:
        line["rule"] = last["rule"]
    if last["folder"]:
        line["folder"] = last["folder"]
    if weights := (observed or last)["weights"]:
        line["weights"] = list(map(_weight, weights, weights.values()))
    if facts := _facts(envelope, content):
        line["facts"] = facts
    if observed:
        line["observed"] = f"{observed['action']} {observed['rule']}"


@lru_cache(maxsize=_KEPT)
def _weight(name: str, weight: float) -> str:
    return f"{name}={weight:g}"


def _others(line: _Line, record: Record) -> None:
    """Those whom the decision is not about: ``bob@example.com: file Junk, looks like spam``."""
    others = [(", ".join(each["recipients"]), told(each["content"])) for each in record["others"]]
    if found := [f"{who}: {what}" for who, what in others if what != told(record["content"])]:
        line["others"] = found


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


def _scanned(line: _Line, record: Record) -> None:
    if (virus := record.get("virus")) is not None:
        line["virus"] = _unknown(virus) if is_unknown(virus) else virus["name"] or "clean"
        if kind := virus.get("kind"):
            line["virus_kind"] = kind
    if (spam := record.get("spam")) is None:
        return
    if is_unknown(spam):
        line["spam"] = _unknown(spam)
        return
    line["spam"], line["spam_content"] = spam["score"], spam["content_score"]
    line["spam_received"] = round(spam["score"] - spam["content_score"], 3)
    if rules := _spam_rules(spam):
        line["spam_rules"] = rules


def _spam_rules(spam: Mapping[str, Any]) -> list[str]:
    """``BAYES_99=3.5``, and ``RCVD_IN_X=1.2/received`` where the rule may look at Received; the weightiest first."""
    hits = sorted(spam["rules"].items(), key=lambda hit: (-abs(hit[1]), hit[0]))[:MAX_SPAM_RULES]
    tainted = set(spam["tainted"])
    return [f"{name[:MAX_VALUE]}={points:g}{'/received' * (name in tainted)}" for name, points in hits]


def _replied(line: _Line, answer: Mapping[str, Any]) -> None:
    line["reply"] = f"{answer['code']} {answer['enhanced']} {answer['text']}".replace("  ", " ")
    if answer["code"] >= 400:
        line["refused_by"] = answer["by"]
    if answer["cause"]:
        line["cause"] = answer["cause"]
