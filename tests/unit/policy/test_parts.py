"""A policy in several files: what is united, what goes on, whose places are told, and what bounds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.cli.check import check
from mailguard.files import MAX_FILE
from mailguard.policy.parts import APPENDED, KEYS, UNITED, merged
from mailguard.policy.schema import PolicyFile
from mailguard.policy_files import MAX_FILES, draft, load, parts_beside
from mailguard.positions import Problems, Text, parse
from tests.unit.policy.support import outcome

POLICY = """\
mailguard_policy: 1
lists:
  friends: [friend.example]
rules:
  envelope:
    - {name: friends, if: sender.domain in lists.friends, then: accept}
cases:
  - {name: a friend, given: {sender.address: a@friend.example}, expect: {accept: true, rule: friends}}
"""
FIRST = """\
lists:
  foes: {file: lists/foes.txt}
weights: {early_talker: 3}
rules:
  envelope:
    - {name: foes, if: sender.domain in lists.foes, then: reject}
cases:
  - {name: a foe, given: {sender.address: a@foe.example}, expect: {reject: 554, rule: foes}}
"""
SECOND = """\
unavailable: {spamassassin: {down: deliver, unscannable: deliver}}
rules:
  envelope:
    - {name: everything from foes and others, if: client.score >= 3, then: file, folder: Junk}
  content:
    - {name: spam, if: spam.score >= 5, then: file, folder: Junk}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for name, text in {
        "policy.yaml": POLICY,
        "policy.d/20-second.yaml": SECOND,
        "policy.d/10-first.yaml": FIRST,
        "lists/foes.txt": "foe.example\nfriend.example\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "policy.yaml"


def test_rules_go_on_in_the_order_of_names(path: Path) -> None:
    policy = load(path)
    rules = [[rule.name for rule in stage.rules] for stage in policy.force.stages.values()]
    assert rules == [["friends", "foes", "everything from foes and others"], ["spam"]]
    assert policy.cases == 2
    assert outcome(policy, sender__address="a@friend.example") == "accept"
    assert outcome(policy, sender__address="a@foe.example") == "reject 554"
    assert outcome(policy, early_talker=True) == "file Junk"
    assert outcome(policy, spam__score=5) == "file Junk"


def test_it_is_the_same_policy_in_one_file(path: Path) -> None:
    whole = path.with_name("whole.yaml")
    first, second = (parse(Text("x", text)).data["rules"] for text in (FIRST, SECOND))
    envelope = [*parse(Text("x", POLICY)).data["rules"]["envelope"], *first["envelope"], *second["envelope"]]
    lines = "\n".join(f"    - {rule}" for rule in envelope).replace("'if': ", "if: ").replace("'", "")
    text = POLICY[: POLICY.index("rules:")] + FIRST[FIRST.index("  foes") : FIRST.index("rules:")]
    text += "rules:\n  envelope:\n" + lines + SECOND[SECOND.index("\n  content:") :] + SECOND.splitlines()[0] + "\n"
    whole.write_text(text)
    assert [s.rules for s in load(whole).force.stages.values()] == [s.rules for s in load(path).force.stages.values()]


def test_only_yaml_that_is_not_hidden_is_read(path: Path) -> None:
    folder = path.with_name("policy.d")
    for name in (".30-lock.yaml", "40-backup.yaml~", "README", "50.yaml.dpkg-old"):
        (folder / name).write_text("no YAML: [")
    (folder / ".#10-first.yaml").symlink_to("nowhere")
    assert [file.name for file in parts_beside(path)] == ["10-first.yaml", "20-second.yaml"]
    load(path)


def test_another_policy_in_the_folder_has_parts_of_its_own(path: Path) -> None:
    other = path.with_name("other.yaml")
    other.write_text(POLICY)
    assert parts_beside(other) == []
    assert load(other).cases == 1


def test_the_digest_is_of_the_parts_too(path: Path) -> None:
    first, part = load(path).digest, path.with_name("policy.d") / "20-second.yaml"
    part.write_text(SECOND + "# changed\n")
    assert load(path).digest != first
    part.write_text(SECOND)
    assert load(path).digest == first
    part.unlink()
    assert load(path).digest != first


def test_each_value_knows_where_it_stands(path: Path) -> None:
    document = draft(path).document
    folder = path.with_name("policy.d")
    for value, file, line in [
        (("rules", "envelope", 0, "if"), path, 6),
        (("rules", "envelope", 1, "if"), folder / "10-first.yaml", 6),
        (("rules", "envelope", 2, "then"), folder / "20-second.yaml", 4),
        (("cases", 1), folder / "10-first.yaml", 8),
        (("lists", "foes"), folder / "10-first.yaml", 2),
        (("lists",), path, 2),
        (("weights",), folder / "10-first.yaml", 3),
    ]:
        assert document.place(value).text.file == str(file)
        assert document.told(value) == f"line {line} of {file}"


def test_a_policy_alone_is_left_as_it_is() -> None:
    document = parse(Text("p", POLICY))
    assert merged(document, []) == document
    changed = merged(document, [parse(Text("a", FIRST))])
    assert len(changed.data["rules"]["envelope"]) == 2
    assert len(document.data["rules"]["envelope"]) == 1


def test_parts_hold_what_a_policy_holds() -> None:
    assert {path[0] for path in (*UNITED, *APPENDED)} == KEYS[()] <= PolicyFile.model_fields.keys()
    assert KEYS[("rules",)] == {"envelope", "content"}


def test_parts_are_bounded(path: Path) -> None:
    folder = path.with_name("policy.d")
    (folder / "30.yaml").write_text("# " + "x" * (MAX_FILE - 300) + "\ncases: []\n")
    with pytest.raises(Problems, match=r"30\.yaml:1:1: with this file the policy and its parts are longer than"):
        load(path)
    for number in range(MAX_FILES):
        (folder / f"{number:03}.yaml").touch()
    with pytest.raises(Problems, match=rf"policy\.d:1:1: this folder holds more than {MAX_FILES} parts of a policy"):
        load(path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "policy.d").write_text("")
    with pytest.raises(Problems, match=r"policy\.d:1:1: this folder cannot be read: not a directory"):
        load(tmp_path / "policy.yaml")


def test_check_tells_of_mistakes_in_all_files(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, folder in enumerate([path, *parts_beside(path)]):
        folder.write_text(folder.read_text().replace("then: ", "then: x", 1) if number else POLICY + "mod: observe\n")
    assert check(path, None) == 78
    told = capsys.readouterr().err
    for where in ("policy.yaml:9:1: `mod`", "10-first.yaml:6:59: `xreject`", "20-second.yaml:4:"):
        assert where in told
