"""The taint list: what each rule of one set of rule files may look at, and whether it fits the spamd that answered.

A list is derived from rule files (:meth:`TaintList.derive`) or read from data (:meth:`TaintList.load`); the package
ships one, derived from the rules of Debian's spamassassin package. It carries the digest of the files, and the versions
by which a reply of spamd shows that other rules are in force.

Units: none. Failure: :class:`BadTaintList` for data that is no such list; a rule that a list does not hold is tainted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from typing import Any, Final

from mailguard.spamrules.definitions import RuleFile, update_versions
from mailguard.spamrules.derive import derive_rules
from mailguard.spamrules.evals import Review
from mailguard.spamrules.evidence import Evidence

SHIPPED: Final = "known_rules.json"
"""The shipped list, beside this module."""

REVIEWED_SERIES: Final = "4.0."
"""The versions of SpamAssassin whose eval functions were reviewed (:mod:`.evals`)."""

_FORMAT: Final = 1
_UNKNOWN: Final = Review(Evidence.RECEIVED, "not in the list")


class BadTaintList(ValueError):
    """The data is no taint list; the text says what is wrong."""


def digest(files: Iterable[RuleFile]) -> str:
    """SHA-256, in lower-case hexadecimal, of the names and texts of ``files`` in order."""
    sha = hashlib.sha256()
    for file in files:
        text = file.text.encode("latin-1", "replace")
        sha.update(f"{file.name}\0{len(text)}\0".encode())
        sha.update(text)
    return sha.hexdigest()


@dataclass(frozen=True, slots=True)
class TaintList:
    """What each rule may look at.

    Attributes:
        rules: by name.
        digest: of the files that it was derived from.
        rules_version: what spamd reports as ``_RULESVERSION_`` while it runs these files.
        spamassassin: the one version that it holds for, or empty: derived from live files, for every reviewed version.
    """

    rules: Mapping[str, Review]
    digest: str
    rules_version: str
    spamassassin: str = ""

    @classmethod
    def derive(cls, files: Sequence[RuleFile], spamassassin: str = "") -> TaintList:
        """The list of the rules that ``files`` define, in SpamAssassin's load order."""
        return cls(derive_rules(files), digest(files), update_versions(files), spamassassin)

    @classmethod
    def none(cls) -> TaintList:
        """The list that knows no rule and fits no spamd: every rule is tainted."""
        return cls({}, "", "", "none")

    @classmethod
    def load(cls, text: str | None = None) -> TaintList:
        """The list that ``text`` holds (:meth:`dump`), or the shipped one.

        Raises:
            BadTaintList: the text is no list.
        """
        if text is None:
            text = package_files(__package__).joinpath(SHIPPED).read_text("ascii")
        try:
            data = json.loads(text)
        except ValueError as error:
            raise BadTaintList(f"no JSON: {error}") from error
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            raise BadTaintList(f"no taint list of format {_FORMAT}")
        return cls._from_data(data)

    @classmethod
    def _from_data(cls, data: dict[str, Any]) -> TaintList:
        try:
            rules = {name: Review(Evidence(int(bits)), str(reason)) for name, (bits, reason) in data["rules"].items()}
            return cls(rules, str(data["digest"]), str(data["rules_version"]), str(data["spamassassin"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadTaintList(f"not a whole taint list: {type(error).__name__}: {error}") from error

    def dump(self) -> str:
        """The list as JSON, one rule a line, in order, so that two lists can be compared by eye."""
        head = {
            "format": _FORMAT,
            "spamassassin": self.spamassassin,
            "rules_version": self.rules_version,
            "digest": self.digest,
        }
        lines = [
            f"  {json.dumps(name)}: {json.dumps([int(found.evidence), found.reason])}"
            for name, found in sorted(self.rules.items())
        ]
        fields = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
        return "{\n" + fields + '"rules": {\n' + ",\n".join(lines) + "\n}}\n"

    def classify(self, rule: str) -> Review:
        """What ``rule`` may look at, and why; a rule that the list does not hold looks at Received."""
        return self.rules.get(rule, _UNKNOWN)

    def tainted(self, rules: Iterable[str], granted: Evidence) -> frozenset[str]:
        """Those of ``rules`` that may look at more than ``granted``."""
        return frozenset(rule for rule in rules if self.classify(rule).evidence & ~granted)

    def fits(self, spamassassin: str, rules_version: str) -> bool:
        """Whether a spamd that reports these versions runs the rules of this list, as far as versions can tell."""
        if rules_version != self.rules_version:
            return False
        if self.spamassassin:
            return spamassassin == self.spamassassin
        return spamassassin.startswith(REVIEWED_SERIES)
