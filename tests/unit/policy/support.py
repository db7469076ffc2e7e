"""A policy from text, and decisions about given facts, for the tests of the policy language."""

from __future__ import annotations

from textwrap import dedent

from mailguard.policy import CompiledPolicy, compile_policy
from mailguard.policy.cases import decide
from mailguard.policy.lists import AddressList
from mailguard.policy.schema import Given
from mailguard.positions import Problems, Text, parse
from mailguard.verdict import Verdict

UNAVAILABLE = """
unavailable:
  dnsbl: ignore
  reverse_dns: ignore
  helo: ignore
  sender: ignore
  clamav: {down: defer, unscannable: file}
  spamassassin: {down: deliver, unscannable: deliver}
"""
LISTS = """
dnsbl:
  black: {zone: black.example, answers: {127.0.0.2: {weight: 4, label: SPAM}, 127.0.0.3: {weight: 6}}}
  grey: {zone: grey.example, answers: {127.0.0.2: {weight: 2.5}}}
  white: {zone: white.example, answers: {127.0.0.1: {weight: -1}, 127.0.0.2: {weight: -4}}}
"""


def from_entries(entries: list[str]) -> AddressList:
    """An address list of ``entries``."""
    result = AddressList()
    for entry in entries:
        result.add(entry)
    return result


def no_files(name: str) -> Text:
    raise AssertionError(f"no file is included here, and {name} was asked for")


def policy(text: str) -> CompiledPolicy:
    """The policy that ``text`` is, without its first line, the version."""
    return compile_policy(parse(Text("policy.yaml", "mailguard_policy: 1\n" + dedent(text))), no_files)


def rules(envelope: str = "", content: str = "", more: str = UNAVAILABLE + LISTS) -> CompiledPolicy:
    """A policy of rules, one a line: ``condition => action [argument]``; each is named by its number and stage."""
    return policy(dedent(more) + "rules:\n" + _stage("envelope", envelope) + _stage("content", content))


def _stage(stage: str, lines: str) -> str:
    found = [line.strip() for line in dedent(lines).splitlines() if line.strip()]
    entries = [_rule(f"{stage} {number}", line) for number, line in enumerate(found, 1)]
    return f"  {stage}:\n" + "\n".join(entries) + "\n" if entries else f"  {stage}: []\n"


def _rule(name: str, line: str) -> str:
    condition, _, action = line.partition(" => ")
    then, *arguments = action.split()
    quoted = condition.replace("'", "''")
    extra = [f"{key}: {value}" for key, value in (argument.split("=") for argument in arguments)]
    if then == "file" and not any(e.startswith("folder") for e in extra):
        extra.append("folder: Junk")
    return f"    - {{name: {name}, if: '{quoted}', then: {then}{''.join(', ' + e for e in extra)}}}"


def told(verdict: Verdict) -> str:
    """A verdict in short: ``reject 554``, ``file Junk``, ``accept``."""
    detail = verdict.reply.code if verdict.reply else verdict.folder
    return f"{verdict.action} {detail}" if detail else str(verdict.action)


def outcome(compiled: CompiledPolicy, **given: Given) -> str:
    """What a policy makes of given facts; ``__`` in a name stands for a dot."""
    return told(decide(compiled, {name.replace("__", "."): value for name, value in given.items()}))


def refusals(text: str) -> list[str]:
    """What is wrong with a policy: ``line:column: message``."""
    try:
        policy(text)
    except Problems as error:
        return [f"{p.line}:{p.column}: {p.message}" for p in error.problems]
    return []
