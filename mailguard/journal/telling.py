"""A record told in words: first what a postmaster can send to a sender who asks, then what is for the postmaster alone.

The letter says what was refused, what we answered, who sent it, what decided, and what the sender can do. The notes
hold private causes, every fact and rule, and what the scanners found. What somebody else wrote is made printable: it
ends on a terminal. Pure; a field that a record lacks is not told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from textwrap import fill
from typing import Any, Final

from mailguard.journal.form import Record
from mailguard.journal.line import is_unknown, told

WIDTH: Final = 78
INDENT: Final = "    "
_UNAVAILABLE: Final = "unavailable: "
_POSTMASTER: Final = "postmaster"

_EVENTS: Final = {
    "command refused": "we refused a command of a client",
    "connection": "we turned a connection away",
    "internal error": "an error of our own kept us from taking mail, and the sender was asked to come again",
}
_DONE: Final = {"accept": "took", "file": "took", "defer": "deferred", "reject": "refused"}


def letter(record: Record) -> str:
    """What can be sent to the sender."""
    return _joined(
        [
            _what(record),
            _reply(record),
            _sender(record),
            _decision(record),
            _lists(record),
            _advice(record),
        ]
    )


def notes(record: Record) -> str:
    """What is for the postmaster alone."""
    return _joined(
        [
            _observed(record),
            _others(record),
            _found(record),
            _rules(record),
            _facts(record),
            _scans(record),
            _way(record),
        ]
    )


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def shown(text: object) -> str:
    """``text`` without what a terminal might obey."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def _paragraph(text: str, indent: str = "") -> str:
    return fill(shown(text), WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _listed(title: str, lines: Iterable[str]) -> str:
    """A title and indented lines below it; nothing for no line."""
    found = [_paragraph(line, INDENT) for line in lines]
    return "\n".join([_paragraph(title), *found]) if found else ""


# --- the letter -------------------------------------------------------------------------------------------------


def _what(record: Record) -> str:
    what = _EVENTS.get(record["event"]) or _mail(record)
    return _paragraph(f"Reference {record['ref']}: on {_time(record)}, {what}.")


def _time(record: Record) -> str:
    try:
        return f"{datetime.fromisoformat(record['time']):%A, %d %B %Y, at %H:%M:%S UTC}"
    except ValueError:
        return str(record["time"])


def _mail(record: Record) -> str:
    done = _DONE.get(record.get("verdict", ""), "saw")
    recipients = record.get("recipients") or [record.get("recipient", "")]
    filed = _filed(record) if record.get("verdict") == "file" else ""
    what = "a message" if record["event"] == "message" else "mail"
    return f"we {done} {what} from {record.get('sender', '')} to {', '.join(filter(None, recipients))}{filed}"


def _filed(record: Record) -> str:
    """Where, and for whom where that is not for all."""
    folder, others = (record.get("content") or {}).get("folder"), record.get("others") or ()
    if not others:
        return f", and filed it in {folder}" if folder else ""
    apart = {recipient for other in others for recipient in other["recipients"]}
    first = [recipient for recipient in record.get("recipients", ()) if recipient not in apart]
    filed = [(first, folder), *((other["recipients"], other["content"]["folder"]) for other in others)]
    return "".join(f", and filed it in {where} for {', '.join(who)}" for who, where in filed if where)


def _reply(record: Record) -> str:
    reply = record.get("reply")
    if not reply:
        return ""
    refused = reply["code"] >= 400
    said = f"{reply['code']} {reply['enhanced']} {reply['text']}".replace("  ", " ")
    return _listed("The sending server was told:", [said + (f" ({record['ref']})" if refused else "")])


def _sender(record: Record) -> str:
    client = record.get("client")
    if not client:
        return ""
    named = f", called itself {helo!r}" if (helo := (record.get("helo") or {}).get("name")) else ""
    ours = "; it is a relay of ours, about which nobody was asked" if client.get("own_relay") else ""
    return _paragraph(f"The connection came from {client['ip']}{_name(client.get('reverse'))}{named}{ours}.")


def _name(reverse: Any) -> str:
    if is_unknown(reverse) or not isinstance(reverse, dict):
        return ""
    if not reverse.get("name"):
        return ", which has no name in the DNS"
    leads = "leads" if reverse.get("confirmed") else "does not lead"
    return f", whose name in the DNS is {reverse['name']} ({leads} back to that address)"


def _decision(record: Record) -> str:
    reply, decision = record.get("reply") or {}, record.get("content") or record.get("envelope")
    if reply.get("by") == "backend" and reply.get("code", 0) >= 400:
        return _paragraph("That was the word of our mail server, behind the filter, which only passed it on.")
    if not decision or (reply.get("by") == "mailguard" and reply.get("code", 0) >= 400):
        return ""
    weights = (f"{weight:+g}  {name}" for name, weight in decision.get("weights", {}).items())
    counted = _listed("What counted:", weights) if reply.get("code", 0) >= 400 else ""
    return _joined([_paragraph(_rule(decision.get("rule", ""))), counted])


def _rule(rule: str) -> str:
    if not rule:
        return "No rule of our policy objected."
    if rule == _POSTMASTER:
        return "Postmaster and abuse are always reachable, whatever the rules of our policy say."
    if rule.startswith(_UNAVAILABLE):
        asked = rule.removeprefix(_UNAVAILABLE)
        return f"An answer was missing ({asked}), and what our policy says of that case decided."
    return f"The rule {rule!r} of our policy decided."


def _lists(record: Record) -> str:
    client = record.get("client") or {}
    answers = client.get("dnsbl") or {}
    title = f"What DNS lists said of {client.get('ip')}; of no other address was any of them asked:"
    return "" if client.get("own_relay") else _listed(title, (f"{n}: {_answer(a)}" for n, a in answers.items()))


def _answer(answer: Any) -> str:
    if is_unknown(answer):
        return "gave no answer, which did not count against the sender"
    return f"listed ({', '.join(answer)})" if answer else "not listed"


def _advice(record: Record) -> str:
    verdict, reply = record.get("verdict"), record.get("reply") or {}
    if record["event"] == "internal error" or verdict == "defer":
        return _paragraph("That is not final: the sending server keeps the message and tries again by itself.")
    if verdict != "reject":
        return ""
    listed = [name for name, answer in ((record.get("client") or {}).get("dnsbl") or {}).items() if _convicts(answer)]
    if reply.get("by") == "policy" and listed:
        return _paragraph(
            "That is final: the message goes back to its sender. Whoever runs the sending server can ask the lists "
            "above why it is listed, and how it is removed; then the message can be sent again. Where that cannot "
            "wait, postmaster is reachable here from anywhere."
        )
    return _paragraph("That is final: the message goes back to its sender. Postmaster is reachable here from anywhere.")


def _convicts(answer: Any) -> bool:
    return bool(answer) and not is_unknown(answer)


# --- the notes --------------------------------------------------------------------------------------------------


def _stages(record: Record) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for stage in ("envelope", "content"):
        if decision := record.get(stage):
            yield stage, decision


def _observed(record: Record) -> str:
    lines = []
    for stage, decision in _stages(record):
        if tried := decision.get("observed"):
            why = " (the policy's sample let it in)" if decision.get("sampled") else ""
            lines.append(f"{stage}: {tried['action']}, by {tried['rule'] or 'no rule'!r}{why}")
    return _listed("Only observed, and not done:", lines)


def _others(record: Record) -> str:
    """What is not told of the first recipient and those treated like it."""
    lines = []
    for other in record.get("others", ()):
        tried = other["content"]["observed"]
        kept = f"; only observed: {told(tried)}" if tried else ""
        lines.append(f"{', '.join(other['recipients'])} ({other['profile']}): {told(other['content'])}{kept}")
    return _listed("Other recipients, of whom policy decided by itself:", lines)


def _found(record: Record) -> str:
    causes = [(record.get("reply") or {}).get("cause"), record.get("exception")]
    unknown = ((n, a) for n, a in ((record.get("client") or {}).get("dnsbl") or {}).items() if is_unknown(a))
    lists = (f"{name}: {answer['unknown']}" for name, answer in unknown)
    return _listed("Private causes:", [*filter(None, causes), *lists])


def _rules(record: Record) -> str:
    words = {True: "yes", False: "no", None: "an answer was missing"}
    tried = (
        f"{stage}: {rule['rule']}: {words.get(rule['fired'], '?')}"
        for stage, decision in _stages(record)
        for rule in decision.get("rules", ())
    )
    return _listed("Rules that were tried, in order:", tried)


def _facts(record: Record) -> str:
    facts = {name: value for _, decision in _stages(record) for name, value in decision.get("facts", {}).items()}
    return _listed("What they looked at:", (f"{n} = {'unknown' if v is None else v}" for n, v in facts.items()))


def _scans(record: Record) -> str:
    lines = []
    if virus := record.get("virus"):
        found = f"{virus['name']} ({virus['kind']})" if virus.get("name") else "clean"
        lines.append(f"ClamAV: {_no_answer(virus) or found}")
    if spam := record.get("spam"):
        lines.append(f"SpamAssassin: {_no_answer(spam) or _points(spam)}")
    return _listed("What the scanners said:", lines)


def _no_answer(answer: Mapping[str, Any]) -> str:
    return f"no answer ({answer['unknown']})" if is_unknown(answer) else ""


def _points(spam: Mapping[str, Any]) -> str:
    tainted = set(spam.get("tainted", ()))
    hits = sorted(spam.get("rules", {}).items(), key=lambda hit: (-abs(hit[1]), hit[0]))
    rules = ", ".join(f"{name} {points:+g}{' (may look at Received)' * (name in tainted)}" for name, points in hits)
    return f"{spam['score']:g} points, {spam['content_score']:g} without what may rest on Received: {rules}"


def _way(record: Record) -> str:
    lines = [
        f"{words}: {record[name]}"
        for name, words in (
            ("size", "octets"),
            ("message_id", "Message-ID"),
            ("backend", "backend"),
            ("digest", "may have been delivered nevertheless; SHA-256 of the message"),
            ("policy", "digest of the policy"),
        )
        if record.get(name)
    ]
    took = ", ".join(f"{part} {seconds:g}" for part, seconds in record.get("seconds", {}).items())
    return _listed("Besides:", [*lines, *([f"seconds: {took}"] if took else [])])
