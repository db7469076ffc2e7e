"""`mailguard explain REF`: a recorded decision, by the policy that made it and by another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.cli.explain_json import written
from mailguard.cli.explain_past import NothingToExplain, past
from mailguard.cli.explained import RECORDED, Setting
from mailguard.config import Settings
from mailguard.policy.cases import facts_of_case
from mailguard.policy.schema import Given
from mailguard.policy_files import draft
from tests.unit.hindsight.records import recorded
from tests.unit.test_explain_command import POLICY, SETTINGS

LISTED: dict[str, Given] = {"client.ip": "198.18.7.7", "dnsbl.zen": "127.0.0.4", "dnsbl.cop": "127.0.0.2"}


def _setting(folder: Path, text: str = POLICY) -> Setting:
    path = folder / "policy.yaml"
    path.write_text(text)
    return Setting(Settings.model_validate(yaml.safe_load(SETTINGS)), draft(path), None)


def _record(setting: Setting, given: dict[str, Given]) -> dict[str, Any]:
    return recorded(setting.policy, *facts_of_case(setting.policy, given))


def test_the_policy_that_decided_explains_itself_with_the_reply_that_was_given(tmp_path: Path) -> None:
    setting = _setting(tmp_path)
    record = _record(setting, LISTED)
    told = past(setting, record)
    [one] = told.answered
    assert told.changed == ""
    assert one.reply is not None
    assert one.reply.lines == (f"{record['reply']['text']} ({record['ref']})",)
    assert [flip.change.what for flip in one.flips if flip.change.what.startswith("without")] == [
        "without cop/127.0.0.2",
        "without zen/XBL",
    ]
    assert set(told.origins.values()) == {RECORDED}
    assert told.story.startswith(f"Reference {record['ref']}: on Saturday, 21 November 2026")


def test_another_policy_says_so_and_explains_the_same_facts(tmp_path: Path) -> None:
    record = _record(_setting(tmp_path), LISTED)
    other = _setting(tmp_path, POLICY.replace("dnsbl.score >= 6", "dnsbl.score >= 9"))
    told = past(other, record)
    assert f"by the policy with the digest {record['policy'][:12]}" in told.changed
    assert other.policy.digest[:12] in told.changed
    found = written(told)["recipients"][0]
    assert (found["explanation"]["verdict"]["action"], found["reply"]) == ("accept", None)
    assert "several lists agree" in told.story, "what was decided then stands in the record alone"


def test_what_was_only_observed_then_is_told(tmp_path: Path) -> None:
    setting = _setting(tmp_path)
    record = _record(setting, LISTED)
    record["envelope"] = {**record["envelope"], "action": "accept", "folder": None}
    assert "it was only observed then" in past(setting, record).changed


def test_a_message_is_explained_with_what_the_scanners_said(tmp_path: Path) -> None:
    setting = _setting(tmp_path)
    told = past(setting, _record(setting, {"spam.score": 9.0}))
    [one] = told.answered
    assert (told.changed, one.explanation and one.explanation.course.verdict.folder) == ("", "Junk")
    assert "with spam.score 4.9 instead of 9" in [flip.change.what for flip in one.flips]


@pytest.mark.parametrize("lacking", ["envelope", "helo"])
def test_what_no_policy_decided_is_said_to_be_so(tmp_path: Path, lacking: str) -> None:
    setting = _setting(tmp_path)
    record = {name: value for name, value in _record(setting, LISTED).items() if name != lacking}
    with pytest.raises(NothingToExplain, match=r"no policy was asked|not of the form"):
        past(setting, record)
