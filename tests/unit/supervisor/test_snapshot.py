"""A snapshot of a policy: the same policy comes of it whatever became of the files, and nobody can change it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailguard.policy_files import draft
from mailguard.positions import Problems
from mailguard.snapshot import Recorder, Snapshot
from tests.unit.session.conftest import POLICY

MORE = """\
lists:
  friends: {file: friends.txt}
"""
CASES = "mailguard_cases: 1\ncases:\n  - {name: beside, given: {}, expect: {accept: true}}\n"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy with a part, a list and a file of cases."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY + MORE)
    (tmp_path / "friends.txt").write_text("friend@example.org\n")
    (tmp_path / "policy.d").mkdir()
    rule = "{name: a friend, if: sender.address in lists.friends, then: accept}"
    (tmp_path / "policy.d" / "a.yaml").write_text(f"rules:\n  envelope:\n    - {rule}\n")
    (tmp_path / "policy.cases.yaml").write_text(CASES)
    return path


def test_the_same_policy_comes_of_it_when_the_files_are_gone(policy: Path) -> None:
    recorder = Recorder()
    before = draft(policy, recorder).tested()
    descriptor = recorder.snapshot.descriptor()
    for file in [*policy.parent.rglob("*.yaml"), *policy.parent.rglob("*.txt")]:
        file.unlink()
    snapshot = Snapshot.of(descriptor)
    assert draft(policy, snapshot).tested().digest == before.digest
    assert Snapshot.of(descriptor) == snapshot  # it can be read again, by anybody who has it
    os.close(descriptor)


def test_a_file_is_read_once(policy: Path) -> None:
    recorder = Recorder()
    first = recorder.read(policy)
    policy.write_text("changed")
    assert recorder.read(policy) == first


def test_what_was_not_read_is_not_in_it(policy: Path) -> None:
    recorder = Recorder()
    with pytest.raises(Problems, match="not in the snapshot"):
        recorder.snapshot.read(policy)
    assert recorder.snapshot.names(policy.parent) is None
    assert not recorder.snapshot.exists(policy)


def test_nobody_can_change_it(policy: Path) -> None:
    recorder = Recorder()
    recorder.read(policy)
    descriptor = recorder.snapshot.descriptor()
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"{}", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
