"""The shipped policies as an administrator changes them: further lists asked, Spamhaus asked with a key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailguard.policy.cases import decide
from mailguard.policy.coverage import cover
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy_files import draft, load

POLICIES = Path(__file__).parents[3] / "policies"
NAMES = ("default", "observe", "strict")
_SETTING = re.compile(r"^( *)#(?! \S)", re.MULTILINE)
"""A setting that is commented out: behind the ``#`` stands none or more than one blank, and one in front of prose."""
_PUBLIC = "    zone: zen.spamhaus.org\n"
_KEYED = re.compile(r'^    #(zone: "\{key\}.*|key: .*)$', re.MULTILINE)


def whole(name: str) -> str:
    return (POLICIES / f"{name}.yaml").read_text()


def with_key(text: str) -> str:
    """``text`` with Spamhaus asked by a key, as its comments say."""
    assert text.count(_PUBLIC) == 1
    changed, count = _KEYED.subn(r"    \1", text.replace(_PUBLIC, ""))
    assert count == 2
    return changed.replace("/etc/mailguard/dqs.key", "dqs.key")


def with_all_lists(text: str) -> str:
    """``text`` with every list that is commented out, in force at once."""
    begin, end = text.index("  # More lists."), text.index("  # Not here:")
    more = _SETTING.sub(r"\1", text[begin:end]).replace("    mode: observe\n", "")
    return text[:begin] + more + text[end:]


def loaded(folder: Path, text: str) -> CompiledPolicy:
    path = folder / "policy.yaml"
    path.write_text(text)
    return load(path)


def assert_no_list_refuses_alone(policy: CompiledPolicy) -> None:
    for table in policy.tables:
        for listing in table.listings:
            code = ".".join(str(low) for low, _ in listing.pattern.octets)
            verdict = decide(policy, {f"dnsbl.{table.zone.name}": code})
            assert not (verdict.observed or verdict).action.blocks


@pytest.mark.parametrize("name", NAMES)
def test_with_a_key(name: str, tmp_path: Path) -> None:
    (tmp_path / "dqs.key").write_text("k7qf3mzxw2vbn5trd8shj4c6pa\n")
    (tmp_path / "dqs.key").chmod(0o640)
    policy = loaded(tmp_path, with_key(whole(name)))
    assert policy.warnings == ()
    zen = next(zone for zone in policy.lists if zone.name == "zen")
    assert (zen.zone, zen.asked) == ("zen.dq.spamhaus.net", "k7qf3mzxw2vbn5trd8shj4c6pa.zen.dq.spamhaus.net")
    assert_no_list_refuses_alone(policy)


def test_with_all_the_lists_that_it_names(tmp_path: Path) -> None:
    policy = loaded(tmp_path, with_all_lists(whole("default")))
    names = [zone.name for zone in policy.lists]
    assert names == ["zen", "spamcop", "dnswl", "psbl", "mailspike", "barracuda", "spamrats"]
    assert policy.trial is None
    assert policy.warnings == ()
    assert all(table.help is not None for table in policy.tables if not table.white)
    assert_no_list_refuses_alone(policy)


def test_further_lists_begin_as_observed(tmp_path: Path) -> None:
    text = whole("default")
    begin, end = text.index("  # More lists."), text.index("  # Not here:")
    assert text[begin:end].count("  #  mode: observe\n") == text[begin:end].count("  #  zone: ") == 4


@pytest.mark.parametrize("name", NAMES)
def test_its_cases_exercise_all_of_it(name: str) -> None:
    found = draft(POLICIES / f"{name}.yaml")
    covered = cover(found.policy, found.document, found.suites)
    assert (list(covered.idle), list(covered.loose)) == ([], [])
    assert covered.rules
    assert covered.thresholds


def test_the_same_lists_weigh_the_same_in_all_three() -> None:
    tables = [load(POLICIES / f"{name}.yaml").tables for name in NAMES]
    assert tables[0] == tables[1] == tables[2]
