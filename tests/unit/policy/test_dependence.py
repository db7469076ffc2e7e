"""What each rule rests on, and that it may do just what the compiler lets it do."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.facts import Provenance
from mailguard.policy.dependence import Dependence, dependences
from mailguard.positions import Problems
from mailguard.verdict import Action
from tests.unit.policy.strategies import stages
from tests.unit.policy.support import LISTS, UNAVAILABLE, rules

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WEIGHTS = "weights: {reverse_dns.missing: 1.5, helo.unresolvable: 2}\n"
ACTIONS = ("accept", "file", "tag symbol=NEW", "reject", "defer")


def of(envelope: str = "", content: str = "") -> list[Dependence]:
    return list(dependences(rules(envelope, content, UNAVAILABLE + LISTS + WEIGHTS)))


def based(rule: Dependence) -> list[str]:
    return [f"{b.provenance.name.lower()} {b.fact}{f' by {b.tag}' if b.tag else ''}" for b in rule.bases]


def test_a_rule_rests_on_the_facts_of_its_condition() -> None:
    (rule,) = of("sender.is_null and early_talker => defer")
    assert based(rule) == ["connection early_talker", "envelope sender.is_null"]
    assert rule.provenances == (Provenance.CONNECTION, Provenance.ENVELOPE)
    (rule,) = of("true => accept")
    assert (based(rule), rule.provenances) == ([], ())


def test_and_on_what_these_are_made_of() -> None:
    (rule,) = of("client.score >= 3 => file")
    assert based(rule) == [
        "envelope client.score",
        "connection dnsbl.score",
        "connection reverse_dns.missing",
        "envelope helo.unresolvable",
    ]


def test_and_on_what_gave_its_tags() -> None:
    first, second, third = of(
        "dnsbl.score >= 4 => tag symbol=A", "'A' in tags and spam.score > 3 => tag symbol=B\n'B' in tags => file"
    )
    assert based(first) == ["connection dnsbl.score"]
    assert based(second) == ["received spam.score", "connection dnsbl.score by A"]
    assert based(third) == ["connection dnsbl.score by B", "received spam.score by B"]


def test_a_received_fact_is_content_where_it_can_only_be_hidden() -> None:
    malware, guess = of(
        "", "virus.kind == 'malware' and virus.name != 'X' => reject\nvirus.status == 'infected' => file"
    )
    assert based(malware) == ["content virus.name", "content virus.kind"]
    assert based(guess) == ["received virus.status"]
    (other,) = of("", "virus.kind != 'malware' => file")
    assert based(other) == ["received virus.kind"]


def test_what_it_may_do_and_why_no_more() -> None:
    spam, large, dull = of(
        "", "spam.content_score >= 5 => reject\nmessage.size > 9000 => defer\nspam.score >= 3 => file"
    )
    assert (spam.may, spam.because) == (
        (Action.TAG, Action.REJECT, Action.DEFER),
        ("no accept or file: Received headers would decide who gets to rule 'content 2' below",),
    )
    assert (len(large.may), large.because) == (5, ())
    assert (dull.may, dull.because) == (
        (Action.ACCEPT, Action.FILE, Action.TAG),
        ("no reject or defer: Received headers can make it true",),
    )
    _, below = of("", "spam.score >= 3 => file\nmessage.size > 9000 => file")
    assert below.because == ("no reject or defer: Received headers decide who gets past rule 'content 1' above",)


def test_the_compiler_lets_it_do_just_that() -> None:
    """Any rule with any other action: it loads where it may have it, and is refused for Received headers elsewhere."""
    seen: Counter[bool] = Counter()

    @settings(max_examples=250)
    @given(stages_=stages(), data=st.data())
    def holds(stages_: tuple[str, str], data: st.DataObject) -> None:
        found = [one for one in _dependences(*stages_) if one.rule.symbol is None]
        assume(found)
        rule, action = data.draw(st.sampled_from(found)), data.draw(st.sampled_from(ACTIONS))
        assert rule.rule.action in rule.may
        may = action.partition(" ")[0] in rule.may
        assert _loads(*_changed(stages_, rule.rule.name, action)) is may
        seen[may] += 1

    holds()
    assert min(seen[True], seen[False]) > 20


def _dependences(envelope: str, content: str) -> list[Dependence]:
    try:
        return of(envelope, content)
    except Problems:
        return []


def _changed(stages_: tuple[str, str], name: str, action: str) -> list[str]:
    """The stages with another action for one rule."""
    stage, _, number = name.partition(" ")
    texts = {"envelope": stages_[0].split("\n"), "content": stages_[1].split("\n")}
    lines = texts[stage]
    lines[int(number) - 1] = f"{lines[int(number) - 1].partition(' => ')[0]} => {action}"
    return ["\n".join(lines) for lines in texts.values()]


def _loads(envelope: str, content: str) -> bool:
    try:
        of(envelope, content)
    except Problems as error:
        assert all("Received" in problem.message for problem in error.problems)
        return False
    return True


def check(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["check", "--policy", "policies/strict.yaml", *arguments])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


class TestTheCommand:
    def test_a_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(ROOT)
        monkeypatch.setenv("COLUMNS", "150")
        rows = check("--provenance").split("\n\n")
        assert rows[0].startswith("policies/strict.yaml: ok, ")
        assert rows[1].split() == ["rule", "rests", "on", "Received", "headers", "can", "it", "may"]
        (row,) = [row for row in rows if row.startswith("spam from a dial-up")]
        assert "content: spam.content_score" in row
        assert "tag DIALUP, connection: dnsbl.labels" in row
        assert "make it false" in row
        assert len(rows) == 2 + 12

    def test_in_a_narrow_terminal_no_name_of_a_fact_is_broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(ROOT)
        monkeypatch.setenv("COLUMNS", "80")
        shown = check("--provenance")
        for rule in json.loads(check("--provenance", "--json"))["rules"]:
            for fact in rule["facts"]:
                assert fact["name"] in shown
        assert max(map(len, shown.split("\n\n", 1)[1].splitlines())) <= 80

    def test_objects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(ROOT)
        found = json.loads(check("--provenance", "--json"))
        assert (found["problems"], found["warnings"], len(found["rules"])) == ([], [], 12)
        spam = found["rules"][-1]
        line = spam.pop("line")
        assert "name: looks like spam" in (ROOT / "policies/strict.yaml").read_text().split("\n")[line - 1]
        assert spam == {
            "name": "looks like spam",
            "file": "policies/strict.yaml",
            "stage": "content",
            "action": "file",
            "mode": "enforce",
            "provenance": ["received"],
            "facts": [{"name": "spam.score", "provenance": "received", "tag": None}],
            "received_may": ["make_it_true", "make_it_false"],
            "may": ["accept", "file", "tag"],
            "because": ["no reject or defer: Received headers can make it true"],
        }

    def test_problems_and_warnings_as_objects(self, tmp_path: Path) -> None:
        path = tmp_path / "policy.yaml"
        path.write_text("mailguard_policy: 1\nrules: {envelope: [{name: a, if: sender.is_null, then: reject}]}\n")
        result = CliRunner().invoke(app, ["check", "--policy", str(path), "--json", "--strict"])
        assert (result.exit_code, result.stderr) == (78, "")
        (warning,) = json.loads(result.stdout)["warnings"]
        assert (warning["kind"], warning["line"], warning["file"]) == ("reply", 2, str(path))
        path.write_text("mailguard_policy: 1\n")
        result = CliRunner().invoke(app, ["check", "--policy", str(path), "--json", "--provenance"])
        found = json.loads(result.stdout)
        assert (result.exit_code, result.stderr, "rules" in found) == (78, "", False)
        assert [problem["message"] for problem in found["problems"]] == ["`rules` is missing"]
