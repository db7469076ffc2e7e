"""Reading spamd's rule folders: order, includes, and that half a set is none."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard import config
from mailguard.scanners import rule_files
from mailguard.scanners.rule_files import RulesUnreadable, read_rule_dirs
from mailguard.scanners.taint_source import load_taint


def test_order_and_includes(tmp_path: Path) -> None:
    first, site = tmp_path / "rules", tmp_path / "site"
    (first / "channel").mkdir(parents=True)
    site.mkdir()
    (first / "b.cf").write_text("body B /x/\ninclude channel/1.cf\n")
    (first / "channel" / "1.cf").write_text("body ONE /x/")
    (first / "a.cf").write_text("body A /x/")
    (first / "z.pre").write_text("loadplugin X")
    (first / "README").write_text("body NOT /x/")
    (site / "local.cf").write_bytes(b"body L /\xe4/")
    names = [file.name for file in read_rule_dirs([first, site])]
    assert names == ["z.pre", "a.cf", "b.cf", "channel/1.cf", "local.cf"]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RulesUnreadable, match="nowhere"):
        read_rule_dirs([tmp_path / "nowhere"])


def test_a_missing_include(tmp_path: Path) -> None:
    (tmp_path / "a.cf").write_text("include missing.cf")
    with pytest.raises(RulesUnreadable, match=r"missing\.cf"):
        read_rule_dirs([tmp_path])


def test_files_that_include_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.cf").write_text("include a.cf")
    with pytest.raises(RulesUnreadable, match="too deep"):
        read_rule_dirs([tmp_path])


def test_no_rules(tmp_path: Path) -> None:
    with pytest.raises(RulesUnreadable, match="no rule files"):
        read_rule_dirs([tmp_path])


def test_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_files, "MAX_SIZE", 10)
    (tmp_path / "a.cf").write_text("body A /xxxxxxxxxxxx/")
    with pytest.raises(RulesUnreadable, match="more than"):
        read_rule_dirs([tmp_path])


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _circle(path: Path) -> None:
    path.symlink_to(path)


MAKERS: list[Callable[[Path], None]] = [_fifo, _device, _socket, _huge, _circle, Path.mkdir]


@pytest.mark.slow
@pytest.mark.parametrize("included", [False, True])
@pytest.mark.parametrize("make", MAKERS)
def test_what_is_no_file_of_rules(tmp_path: Path, make: Callable[[Path], None], included: bool) -> None:
    """In a process of its own with little memory and time: it may neither wait nor read on and on."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "a.cf").write_text("body A /x/\n")
    odd = tmp_path / "odd.cf" if included else folder / "b.cf"
    make(odd)
    if included:
        (folder / "b.cf").write_text(f"include {odd}\n")
    ran = subprocess.run(
        [sys.executable, "-c", _LOAD, str(folder)], capture_output=True, text=True, timeout=60, preexec_fn=_bounded
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count(str(odd)) == 1, "one clear problem"
    assert ran.stdout.endswith("rules: 0\n"), "no rule is known, so every rule is tainted"


_LOAD = """
import sys
from mailguard import config
from mailguard.scanners.taint_source import load_taint
print("rules:", len(load_taint(config.Spamassassin(rule_dirs=[sys.argv[1]])).rules))
"""


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("body A /x/\n")
    (tmp_path / "a.cf").symlink_to(tmp_path / "real")
    assert [file.text for file in read_rule_dirs([tmp_path])] == ["body A /x/\n"]


def test_files_that_include_one_file_over_and_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room is that of all together, not of each branch."""
    for number in range(4):
        (tmp_path / f"{number}.inc").write_text(f"include {number + 1}.inc\n" * 100)
    (tmp_path / "4.inc").write_text("body A /x/\n")
    (tmp_path / "a.cf").write_text("include 0.inc\n")
    monkeypatch.setattr(rule_files, "MAX_FILES", 1000)
    with pytest.raises(RulesUnreadable, match="more than 1000 files"):
        read_rule_dirs([tmp_path])
    monkeypatch.undo()
    monkeypatch.setattr(rule_files, "MAX_SIZE", 10_000)
    with pytest.raises(RulesUnreadable, match="more than 10000 octets"):
        read_rule_dirs([tmp_path])


def test_too_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_files, "MAX_FILES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(RulesUnreadable, match="more than 2 files"):
        read_rule_dirs([tmp_path])


def test_empty_lines_cost_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.cf").write_text("\n" * 1_000_000 + "include " + " " * 1_000_000 + "b.cf" + " " * 1_000_000)
    (tmp_path / "b.cf").write_text("body B /x/")
    assert [file.name for file in read_rule_dirs([tmp_path])] == ["a.cf", "b.cf", "b.cf"]


def test_the_list_to_begin_with(tmp_path: Path) -> None:
    assert load_taint(config.Spamassassin()).spamassassin == "4.0.1"
    assert not load_taint(config.Spamassassin(rule_dirs=[tmp_path])).rules
    (tmp_path / "a.cf").write_text("body A /x/")
    assert set(load_taint(config.Spamassassin(rule_dirs=[tmp_path])).rules) == {"A"}
