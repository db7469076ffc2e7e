"""Examples for each command: its ``--help`` ends in them, and mailguard(1) has them. One place, none twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Example(NamedTuple):
    """A command line, and what it is for."""

    line: str
    purpose: str


EXAMPLES: Final[Mapping[str, tuple[Example, ...]]] = {
    "serve": (
        Example("mailguard serve", "the service, by /etc/mailguard/mailguard.yaml"),
        Example("mailguard serve --config try/mailguard.yaml", "another one beside it, by other settings"),
    ),
    "reload": (Example("mailguard check && mailguard reload", "take what was changed, if it is in order"),),
    "drain": (Example("mailguard drain", "before maintenance: mail under way is finished, then it ends"),),
    "observe": (
        Example("mailguard observe --for 2h", "stop refusing mail while you look at a complaint"),
        Example("mailguard observe --off", "enforce the policy again"),
    ),
    "status": (Example("mailguard status", "is it running, and by which policy?"),),
    "check": (
        Example("mailguard check", "what stands in /etc/mailguard, before a reload"),
        Example("mailguard check --policy new.yaml --strict", "a policy alone, warnings being errors"),
        Example("mailguard check --policy new.yaml --provenance", "what each of its rules rests on"),
    ),
    "test": (
        Example("mailguard test policy.yaml", "run its cases, and tell what none exercises"),
        Example("mailguard test policy.yaml --verbose", "every rule with its cases"),
    ),
    "explain": (
        Example(
            "mailguard explain --ip 198.18.7.7 --helo mail.example.org --from a@example.org --to b@example.com",
            "what would happen to such mail, and by which rule",
        ),
    ),
    "doctor": (
        Example("mailguard doctor", "everything, as the user that runs mailguard"),
        Example("mailguard doctor --only clamav --only spamassassin", "the scanners alone"),
        Example("mailguard doctor --nagios --timeout 50", "one line for monitoring"),
    ),
    "why": (
        Example("mailguard why 7XK2M9QBD-2", "the story behind the reference in a refusal"),
        Example("mailguard why 7XK2M9QBD-2 --letter", "only what its sender may read"),
    ),
    "search": (
        Example("mailguard search --since 2d --from @example.org --verdict reject", "what we refused of a domain"),
        Example("mailguard search --ip 198.18.7.0/24 --json", "all of a network, for machines"),
    ),
    "replay": (Example("mailguard replay --policy new.yaml --since 14d", "what a changed policy would have done"),),
    "lists": (Example("mailguard lists --since 30d", "which DNS lists are worth their questions"),),
    "demo": (
        Example("mailguard demo --once", "the main job with real servers, and the table"),
        Example("mailguard demo --break clamd", "the same with clamd stopped"),
    ),
    "profiles": (
        Example("mailguard profiles", "who has which profile"),
        Example("mailguard profiles --export /etc/exim4/profiles", "the same, for Exim"),
    ),
    "config show": (
        Example("mailguard config show --changed", "all that is not the default, and where it stands"),
        Example("mailguard config show --json", "every setting, for machines"),
    ),
    "completion": (
        Example("mailguard completion bash > /etc/bash_completion.d/mailguard", "for all users of bash"),
        Example("mailguard completion zsh > ~/.zfunc/_mailguard", "for one user of zsh"),
        Example("mailguard completion fish > ~/.config/fish/completions/mailguard.fish", "for one user of fish"),
    ),
    "schema": (Example("mailguard schema policy > policy.schema.json", "for an editor that knows JSON Schema"),),
    "reference": (Example("mailguard reference --check", "in a source tree: are the pages those of this code?"),),
    "spamrules derive": (
        Example(
            "mailguard spamrules derive /usr/share/spamassassin /etc/spamassassin --write taint.json",
            "a taint list of these rules",
        ),
    ),
    "spamrules show": (Example("mailguard spamrules show BAYES_99", "why this rule is tainted, or is not"),),
}
"""By command; of a group, by its name and the command's."""


def epilogue(command: str) -> str:
    """How the help of ``command`` ends, in rich's markup; empty where it has no example."""
    lines = [f"  [bold]{example.line}[/bold]\n      {example.purpose}" for example in EXAMPLES.get(command, ())]
    return "\n".join(["Such as:", *lines]) if lines else ""
