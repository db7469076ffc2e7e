"""Reading spamd's rule folders: order, includes, and that half a set is none."""

from __future__ import annotations

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


def test_the_list_to_begin_with(tmp_path: Path) -> None:
    assert load_taint(config.Spamassassin()).spamassassin == "4.0.1"
    assert not load_taint(config.Spamassassin(rule_dirs=[tmp_path])).rules
    (tmp_path / "a.cf").write_text("body A /x/")
    assert set(load_taint(config.Spamassassin(rule_dirs=[tmp_path])).rules) == {"A"}
