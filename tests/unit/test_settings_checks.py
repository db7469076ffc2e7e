"""Settings that are well written and do not work on this machine: each a problem with its place."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mailguard import settings_checks
from mailguard.policy_files import load_settings
from mailguard.positions import Problems

SETTINGS = """\
hostname: mx.example.com
relay_domains: [example.com]
policy: policy.yaml
listen:
  - {address: "127.0.0.1:2525"}
  - {address: "[::1]:2525"}
  - {address: "127.0.0.1:0"}
  - {address: "127.0.0.1:0"}
backends:
  - {address: "127.0.0.1:10025"}
  - {address: "unix:/run/exim.sock"}
"""


def told(folder: Path, text: str) -> list[str]:
    """Line, column and message of each problem with the settings ``text``."""
    path = folder / "mailguard.yaml"
    path.write_text(text)
    (folder / "policy.yaml").touch()
    try:
        load_settings(path)
    except Problems as problems:
        return [f"{problem.line}:{problem.column}: {problem.message}" for problem in problems.problems]
    return []


def test_the_settings_to_begin_with_work(tmp_path: Path) -> None:
    assert told(tmp_path, SETTINGS) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[::1]:2525", "0.0.0.0:2525", "6:15: 0.0.0.0:2525 is listened on already by entry 1 of `listen`"),
        ("[::1]:2525", "127.0.0.1:2525", "6:15: 127.0.0.1:2525 is listened on already by entry 1 of `listen`"),
        ("[::1]:2525", "127.0.0.1:9625", "6:15: 127.0.0.1:9625 is listened on already by `admin.address`"),
        ("[::1]:2525", "a..b:25", "6:15: a..b:25 cannot be listened on: no name of a host"),
        ("127.0.0.1:10025", "127.0.0.1:2525", "10:15: 127.0.0.1:2525 is mailguard itself, which listens there"),
        ("127.0.0.1:10025", "127.0.0.1:0", "10:15: `address` cannot be read: nobody can be asked on port 0"),
    ],
)
def test_addresses_that_clash(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert told(tmp_path, SETTINGS.replace(old, new)) == [expected]


def test_a_backend_behind_a_wildcard_is_ourselves_where_its_address_is_ours(tmp_path: Path) -> None:
    everywhere = SETTINGS.replace("127.0.0.1:2525", "0.0.0.0:2525")
    assert told(tmp_path, everywhere.replace("127.0.0.1:10025", "127.0.0.9:2525")) == [
        "10:15: 127.0.0.9:2525 is mailguard itself, which listens there"
    ]
    assert told(tmp_path, everywhere.replace("127.0.0.1:10025", "203.0.113.99:2525")) == []


def test_a_backend_whose_name_is_unknown_now_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = socket.getaddrinfo

    def unknown(host: str, *arguments: object, **more: object) -> object:
        if host == "exim":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert told(tmp_path, SETTINGS.replace("127.0.0.1:10025", "exim:2525")) == []
    assert told(tmp_path, SETTINGS.replace("[::1]:2525", "exim:2525")) == [
        "6:15: exim:2525 cannot be listened on: name or service not known"
    ]


def test_the_spool_folder_is_tried(tmp_path: Path) -> None:
    [said] = told(tmp_path, SETTINGS + f"spool_dir: {tmp_path}/gone\n")
    assert said.startswith("12:12: no message can be kept in this folder: ")
    assert said.endswith("/gone: No such file or directory")
    assert told(tmp_path, SETTINGS + f"spool_dir: {tmp_path}\n") == []
    assert {path.name for path in tmp_path.iterdir()} == {"mailguard.yaml", "policy.yaml"}


def test_what_must_stay_free_is_less_than_there_is(tmp_path: Path) -> None:
    [said] = told(tmp_path, SETTINGS + f"spool_dir: {tmp_path}\nlimits:\n  min_spool_free: {10**15}\n")
    assert said.startswith("14:19: the file system of `spool_dir` is not larger than this")


def test_rule_folders_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    rules = f"spamassassin: {{rule_dirs: [{tmp_path}, {tmp_path}/gone, {tmp_path}/file]}}\n"
    said = told(tmp_path, SETTINGS + rules)
    assert [line.partition(": ")[2] for line in said] == [
        f"{tmp_path}/{name} is no folder that can be read" for name in ("gone", "file")
    ]
    assert all(line.startswith("12:") for line in said)


def test_the_policy_is_named_by_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mailguard.yaml").write_text(SETTINGS.replace("policy.yaml", "b/../policy.yaml"))
    (tmp_path / "b").mkdir()
    (tmp_path / "policy.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("mailguard.yaml")).policy == tmp_path / "b/../policy.yaml"


def test_a_resolver_must_be_an_address(tmp_path: Path) -> None:
    assert told(tmp_path, SETTINGS + 'dns: {servers: ["127.0.0.1:53", "127.0.0.256:53"]}\n') == [
        "12:33: '127.0.0.256:53' is no resolver: an IP address and a port, as in 127.0.0.1:53"
    ]


def test_without_any_resolver_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> None:
        raise ValueError("/etc/resolv.conf names no resolver")

    monkeypatch.setattr(settings_checks, "system_servers", nobody)
    assert told(tmp_path, SETTINGS + "dns: {timeout: 1.0}\n") == [
        "12:1: there is no resolver to ask: /etc/resolv.conf names no resolver"
    ]
    assert told(tmp_path, SETTINGS + 'dns: {servers: ["127.0.0.1:53"]}\n') == []


def test_a_policy_that_is_missing_is_told_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mailguard.yaml"
    path.write_text(SETTINGS)
    with pytest.raises(Problems) as found:
        load_settings(path)
    assert str(found.value) == (
        f"{path}:3:9: the policy {tmp_path}/policy.yaml cannot be read: no such file or directory\n"
        "  3 | policy: policy.yaml\n"
        "    |         ^^^^^^^^^^^\n"
        "    hint: it is relative to this file's folder; to begin with, copy policies/default.yaml there"
    )


def test_a_policy_that_no_file_can_be_named(tmp_path: Path) -> None:
    assert told(tmp_path, SETTINGS.replace("policy.yaml", '"\\0"')) == ["3:9: this cannot be the name of a file"]


@pytest.mark.parametrize(
    ("name", "wrong"), [("nowhere.pem", "cannot be read: no such file"), ("policy.yaml", "there is no certificate in")]
)
def test_authorities_that_cannot_be_used(tmp_path: Path, name: str, wrong: str) -> None:
    backend = f'{{address: "127.0.0.1:10025", tls: required, tls_name: a.example, tls_ca_file: {name}}}'
    [problem] = told(tmp_path, SETTINGS.replace('{address: "127.0.0.1:10025"}', backend))
    assert problem.startswith("10:")
    assert wrong in problem
    assert str(tmp_path / name) in problem


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        ("directory: journal", ""),
        ("directory: deep/journal", "12:22: no journal can be kept in {0}/deep/journal: {0}/deep is no folder"),
        ("directory: policy.yaml", "12:22: no journal can be kept in {0}/policy.yaml: {0}/policy.yaml is no folder"),
        ("directory: link", "12:22: no journal can be kept in {0}/link: it is a symbolic link: name the folder itself"),
        ("pseudonymise: [client]", "12:11: `pseudonymise` needs a key"),
        ("pseudonymise: [sender], pseudonym_key: key", "12:50: this key cannot be used: {0}/key is open to others"),
        ("pseudonymise: [nobody], pseudonym_key: key", "12:26: "),
    ],
)
def test_a_journal_that_cannot_be_kept(tmp_path: Path, journal: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "key").write_text("k" * 32)
    (tmp_path / "key").chmod(0o644)
    found = told(tmp_path, SETTINGS + "journal: {" + journal + "}\n")
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith(expected.format(tmp_path)), found
