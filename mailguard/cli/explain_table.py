"""`mailguard explain` for people: tables of facts, weights and rules, then the verdict, the reply and what flips it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mailguard.cli.explained import Answered, Explained, Setting
from mailguard.journal.telling import shown
from mailguard.policy.explanation import Counted, Explanation, Shown, StageTold, Tried
from mailguard.policy.flips import Flip
from mailguard.verdict import Action, Verdict

MAX_FLIPS: Final = 8
"""Flips that are shown; JSON has all."""
_TRUTH: Final = {True: Text("true", "green"), False: Text("false", "dim"), None: Text("unknown", "yellow")}
_INDENT: Final = (0, 0, 0, 2)


def show(told: Explained, console: Console) -> None:
    """Write all of it to ``console``."""
    for line in _head(told):
        console.print(Text(shown(line)))
    first = next((each.explanation for each in told.answered if each.explanation is not None), None)
    if first is not None:
        _titled(console, "Facts", _facts(first.shown, told))
        if first.counted:
            _titled(console, "Weights", _weights(first.counted, told))
    for each in told.answered:
        _recipient(each, told, console)


def _titled(console: Console, title: str, table: Table) -> None:
    console.print()
    console.print(Text(title, "bold"))
    console.print(Padding(table, _INDENT))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "counts" else "left")
    return table


def _row(table: Table, *cells: str | Text) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else Text(shown(cell)) for cell in cells))


def _head(told: Explained) -> Iterable[str]:
    named = f", called {told.helo}" if told.helo else ""
    yield f"Client {told.client}{named}, mail from {told.sender}"
    policy = told.setting.policy
    observed = ", some of it only observed" if policy.trial is not None else ""
    yield f"Policy {policy.path}, digest {policy.digest[:12]}{observed}"
    if told.own_relay:
        yield "It is a relay of ours (`own_relays`): nobody was asked about it"
    if told.story:
        yield ""
        yield from told.story.splitlines()
    if told.changed:
        yield ""
        yield told.changed


# --- facts and weights ------------------------------------------------------------------------------------------------


def _facts(facts: Iterable[Shown], told: Explained) -> Table:
    table = _table("fact", "value", "provenance", "from")
    for each in facts:
        evidence = each.evidence
        value = Text("unknown", "yellow") if evidence.unknown else Text(shown(evidence.value) or "(empty)")
        if each.why:
            value.append(f": {shown(each.why)}", "dim")
        _row(table, evidence.name, value, evidence.provenance.name.lower(), told.origins.get(evidence.name, ""))
    return table


def _weights(counted: Iterable[Counted], told: Explained) -> Table:
    table = _table("counts", "what", "because")
    for each in counted:
        seconds = (told.seconds or {}).get(each.name) if each.zone else None
        took = f" ({seconds * 1000:.0f} ms)" if seconds is not None else ""
        _row(table, _counts(each), each.name, f"{_because(each, told)}{took}")
    return table


def _counts(counted: Counted) -> Text:
    if counted.unknown:
        return Text("?", "yellow")
    weight = counted.weight.settled
    return Text(f"{weight:+g}" if weight else "0", "bold" if weight else "dim")


def _because(counted: Counted, told: Explained) -> str:
    codes = ", ".join(f"{code} is {label}" if label else f"{code} stands in no table" for code, label in counted.codes)
    said = codes if counted.codes else ("not listed" if counted.zone else "")
    if counted.unknown:
        low = counted.weight.low
        said = f"{'void' if counted.codes else 'unknown'}: {counted.unknown}; 0, and {low:g} where it may refuse"
    elif not counted.zone:
        said = "true" if counted.weight.settled else "false"
    observed = "; only observed" if counted.observed else ""
    return f"{counted.zone}: {said}{observed}" if counted.zone else f"{said}{observed}"


# --- a recipient ------------------------------------------------------------------------------------------------------


def _recipient(each: Answered, told: Explained, console: Console) -> None:
    console.print()
    found = each.explanation
    profile = f", profile {found.profile}" if found is not None else ""
    console.rule(Text(shown(f"to {each.recipient}{profile}"), "bold"), align="left", characters="-", style="dim")
    if found is not None:
        _stages(found, told.setting, console)
        if found.observed is not None:
            console.print(Text("\nWere everything in force that is only observed:", "bold"))
            _stages(found.observed, told.setting, console)
    _verdict(each, console)
    if found is not None:
        _flips(each.flips, console)


def _stages(found: Explanation, setting: Setting, console: Console) -> None:
    for stage in found.stages:
        _titled(console, f"Rules of the {stage.stage.name.lower()}", _rules(stage, setting))
        if stage.untried:
            names = ", ".join(f"'{rule.name}'" for rule in stage.untried)
            console.print(Padding(Text(shown(f"not tried any more: {names}"), "dim"), _INDENT))


def _rules(stage: StageTold, setting: Setting) -> Table:
    table = _table("", "rule and condition", "seen")
    table.show_header = False
    for tried in stage.tried:
        action = tried.rule.action.value
        _row(table, _fired(tried), Text(shown(f"{tried.rule.name}: {action}"), "bold"), setting.place(tried.rule))
        if len(tried.parts) > 1:
            _row(table, "", Text(shown(f"if {setting.condition(tried.rule)}"), "dim"), "")
        for part in tried.parts:
            seen = ", ".join(f"{fact.name} = {fact.value or '(empty)'}" for fact in part.facts)
            _row(table, _TRUTH[part.truth], f"  {setting.text(tried.rule, part.condition)}", seen)
    if not stage.tried:
        _row(table, "", "no rule is in force here", "")
    return table


def _fired(tried: Tried) -> Text:
    return {True: Text("FIRES", "bold green"), False: Text("no", "dim"), None: Text("unknown", "yellow")}[tried.fired]


def doubt(tried: Tried) -> str:
    """What doubt about the condition of a rule meant; empty where there was none."""
    if tried.truth is not None:
        return ""
    if tried.fired is None:
        return "it cannot be told, and doubt is for the sender"
    if tried.rule.action is Action.ACCEPT:
        return "it cannot be told, and what lets mail through has the benefit of the doubt"
    return "it cannot be told, and a missing answer weighs nothing here"


# --- verdict ----------------------------------------------------------------------------------------------------------


def outcome(verdict: Verdict, judged: bool) -> str:
    """A verdict in words; ``judged``: whether there was a message."""
    if verdict.reply is not None:
        return f"{verdict.action.value} {verdict.reply.code}"
    if verdict.folder is not None:
        return f"file {verdict.folder}"
    return "accept" if judged else "accept, as far as the envelope goes"


def decided_by(verdict: Verdict) -> str:
    """What decided."""
    return f"by '{verdict.rule}'" if verdict.rule else "as no rule decided"


def _verdict(each: Answered, console: Console) -> None:
    found = each.explanation
    console.print()
    if found is not None:
        verdict = found.course.verdict
        judged = found.course.content is not None
        console.print(Text(shown(f"Verdict: {outcome(verdict, judged)}, {decided_by(verdict)}"), "bold"))
        for tried in (tried for stage in found.stages for tried in stage.tried if doubt(tried)):
            console.print(Padding(Text(shown(f"'{tried.rule.name}': {doubt(tried)}"), "yellow"), _INDENT))
        if verdict.observed is not None:
            would = f"observed only: {outcome(verdict.observed, True)}, {decided_by(verdict.observed)}"
            console.print(Padding(Text(shown(would)), _INDENT))
    if each.why:
        console.print(Padding(Text(shown(each.why)), _INDENT))
    console.print(Text("The client is told:", "bold"))
    lines = each.reply.encode().decode("ascii").splitlines() if each.reply is not None else [_BACKENDS]
    for line in lines:
        console.print(Text(f"  {shown(line)}"), soft_wrap=True)
    if each.fields:
        console.print(Text("Fields for the backend:", "bold"))
        for field in each.fields:
            for line in field.splitlines():
                console.print(Text(f"  {shown(line)}"), soft_wrap=True)


_BACKENDS: Final = "what the backend says; mailguard itself says nothing"


def _flips(found: tuple[Flip, ...], console: Console) -> None:
    console.print(Text("What would flip it:", "bold"))
    if not found:
        console.print(Padding(Text("no single piece of evidence"), _INDENT))
        return
    table = _table("what", "then")
    table.show_header = False
    for flip in found[:MAX_FLIPS]:
        _row(table, flip.change.what, Text(shown(flipped(flip))))
    if len(found) > MAX_FLIPS:
        _row(table, f"and {len(found) - MAX_FLIPS} more (--json)", "")
    console.print(Padding(table, _INDENT))


def flipped(flip: Flip) -> str:
    """What becomes of mail then."""
    verdict = flip.course.verdict
    would = f"; observed only: {outcome(verdict.observed, True)}" if verdict.observed is not None else ""
    return f"{outcome(verdict, flip.course.content is not None)} {decided_by(verdict)}{would}"
