"""Warnings that a policy allows itself: one each, with a reason; one that covers nothing is warned of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.policy.finding import ALLOWABLE, Kind
from mailguard.policy_files import load
from mailguard.positions import Problems
from tests.unit.policy.analysis.support import findings

POLICY = """
dnsbl: {black: {zone: black.example, answers: {127.0.0.2: {weight: 6}}}}
weights: {early_talker: 1}
lists: {friends: [example.org], others: [example.net]}
profiles: {normal: {junk_at: 5, refuse_at: 9}, unborn: {junk_at: 5, refuse_at: 9}}
recipients: [{match: ["*"], profile: normal}]
rules:
  envelope:
    - {name: listed, if: dnsbl.score >= 6, then: reject, text: "[{client.ip}] is listed by {dnsbl.zones}"}
    - {name: curt, if: sender.is_null and sender.domain in lists.others, then: reject}
  content:
    - {name: never, if: spam.score > 5 and spam.score < 3, then: file, folder: Junk}
    - {name: spam, if: spam.score >= profile.junk_at, then: file, folder: Junk}
"""
WARNED = [
    (Kind.ONE_LIST, "listed"),
    (Kind.REPLY, "curt"),
    (Kind.UNUSED, "weights"),
    (Kind.UNUSED, "friends"),
    (Kind.UNUSED, "refuse_at"),
    (Kind.UNUSED, "unborn"),
    (Kind.NEVER_MATCHES, "never"),
]


def allowing(*entries: tuple[str, str]) -> str:
    lines = [f"  - {{kind: {kind}, about: {about}, because: it is meant}}" for kind, about in entries]
    return POLICY + "allow_warnings:\n" + "\n".join(lines) + "\n" if lines else POLICY


def warned(*allowed: tuple[str, str]) -> list[tuple[Kind, str]]:
    return [(finding.kind, finding.about) for finding in findings(allowing(*allowed))]


def test_each_says_what_it_is_about() -> None:
    assert sorted(warned()) == sorted(WARNED)


@pytest.mark.parametrize("one", WARNED, ids=lambda one: one[1])
def test_one_is_allowed_and_no_other(one: tuple[Kind, str]) -> None:
    assert sorted([*warned(one), one]) == sorted(WARNED)


def test_all_may_be() -> None:
    assert warned(*WARNED) == []


@pytest.mark.parametrize(
    ("kind", "about", "hint"),
    [
        ("one-list", "lisetd", "did you mean `listed`?"),
        ("overlap", "listed", "remove it"),
        ("unused", "x", "these are"),
    ],
)
def test_one_that_covers_nothing_is_warned_of(kind: str, about: str, hint: str) -> None:
    found = [f for f in findings(allowing((kind, about))) if f.kind is Kind.ALLOWANCE]
    assert [finding.problem.message for finding in found] == [
        f"there is no warning [{kind}] about `{about}` to be allowed"
    ]
    assert found[0].problem.hint.startswith(hint)


@pytest.mark.parametrize("kind", sorted(frozenset(Kind) - ALLOWABLE))
def test_what_rests_on_the_machine_cannot_be_allowed_in_a_policy(kind: Kind) -> None:
    with pytest.raises(Problems, match=rf"a warning \[{kind}\] cannot be allowed in a policy"):
        findings(allowing((kind, "x")))


def test_a_reason_is_wanted() -> None:
    with pytest.raises(Problems, match="because"):
        findings(allowing(("unused", "friends")).replace(", because: it is meant", ""))
    with pytest.raises(Problems, match="because"):
        findings(allowing(("unused", "friends")).replace("it is meant", '""'))


class TestTheCommand:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "policy.yaml"
        path.write_text(
            "mailguard_policy: 1\nlists: {friends: [example.org]}\n"
            "rules: {envelope: [{name: all, if: true, then: accept}]}\n"
        )
        return path

    def strict(self, path: Path) -> int:
        return CliRunner().invoke(app, ["check", "--policy", str(path), "--strict"]).exit_code

    def test_a_part_may_allow_its_own(self, path: Path) -> None:
        assert self.strict(path) == 78
        folder = path.with_name("policy.d")
        folder.mkdir()
        allowance = "allow_warnings: [{kind: unused, about: friends, because: the next release asks for it}]\n"
        (folder / "a.yaml").write_text(allowance)
        assert self.strict(path) == 0
        told = CliRunner().invoke(app, ["check", "--policy", str(path)]).output
        assert "1 warning allowed" in told
        assert f"  part: {folder}/a.yaml\n" in told
        [allowed] = json.loads(CliRunner().invoke(app, ["check", "--policy", str(path), "--json"]).stdout)["allowed"]
        assert (allowed["kind"], allowed["about"], allowed["because"]) == (
            "unused",
            "friends",
            "the next release asks for it",
        )

    def test_a_stale_one_fails_a_strict_check(self, path: Path) -> None:
        path.write_text(
            "mailguard_policy: 1\nrules: {envelope: [{name: all, if: true, then: accept}]}\n"
            "allow_warnings: [{kind: unused, about: friends, because: it was there}]\n"
        )
        assert [warning.kind for warning in load(path).warnings] == [Kind.ALLOWANCE]
        assert self.strict(path) == 78
        assert (
            CliRunner().invoke(app, ["check", "--policy", str(path), "--strict", "--allow", "allowance"]).exit_code == 0
        )
