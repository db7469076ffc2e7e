"""Files: shipped policies, lists that are included, digests, what cannot be read, and `mailguard check`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailguard import files
from mailguard.cli import app
from mailguard.files import MAX_FILE, read
from mailguard.policy.cases import decide
from mailguard.policy_files import load, load_settings
from mailguard.positions import Problems
from tests.unit.policy.support import told

SHIPPED = sorted((Path(__file__).parents[3] / "policies").glob("*.yaml"))
RULES = "mailguard_policy: 1\nlists: {friends: {file: lists/friends.txt}}\n"
RULES += "rules:\n  envelope:\n    - {name: friend, if: client.ip in lists.friends, then: file, folder: Friends}\n"
SETTINGS = """
hostname: mx.example.com
relay_domains: [example.com]
listen: [{address: "127.0.0.1:0"}]
backends: [{address: "127.0.0.1:10026"}]
policy: policy.yaml
"""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_in_a_shipped_policy_no_single_list_rejects(path: Path) -> None:
    policy = load(path)
    world = policy.trial or policy.force
    for table in world.scales.lists:
        for listing in table.listings:
            code = str(".".join(str(low) for low, _ in listing.pattern.octets))
            verdict = decide(policy, {f"dnsbl.{table.zone.name}": code})
            assert not (verdict.observed or verdict).action.blocks


def test_there_are_three() -> None:
    assert [path.stem for path in SHIPPED] == ["default", "observe", "strict"]


def test_the_demos_listed_client_is_refused_by_the_default_policy() -> None:
    policy = load(SHIPPED[0])
    verdict = decide(policy, {"client.ip": "198.18.7.7", "dnsbl.zen": "127.0.0.4", "dnsbl.spamcop": "127.0.0.2"})
    assert str(verdict.reply) == (
        "554 5.7.1 Service unavailable; client host [198.18.7.7] blocked using bl.spamcop.net,zen.spamhaus.org; "
        "https://check.spamhaus.org/query/ip/198.18.7.7"
    )


def _policy(folder: Path, text: str = RULES, entries: str = "198.18.0.0/16\n") -> Path:
    (folder / "lists").mkdir(exist_ok=True)
    (folder / "lists" / "friends.txt").write_text(entries)
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


def test_a_list_is_relative_to_the_policy(tmp_path: Path) -> None:
    policy = load(_policy(tmp_path))
    assert told(decide(policy, {"client.ip": "198.18.9.9"})) == "file Friends"
    assert told(decide(policy, {"client.ip": "198.19.9.9"})) == "accept"
    assert policy.path == tmp_path / "policy.yaml"


def test_the_digest_is_of_all_that_was_read(tmp_path: Path) -> None:
    first = load(_policy(tmp_path)).digest
    assert load(_policy(tmp_path)).digest == first
    assert load(_policy(tmp_path, entries="198.18.0.0/15\n")).digest != first
    assert load(_policy(tmp_path, text=RULES + "# changed\n")).digest != first
    assert len(first) == 64


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"a: b\nc: \xff\n", "2:4: this octet is no UTF-8"),
        ("a: é\nb: ".encode() + b"\xc3", "2:4: this octet is no UTF-8"),
        (b"#" * (MAX_FILE + 1), f"1:1: this file is longer than {MAX_FILE} octets"),
        (b"", "1:1: the file is empty"),
    ],
)
def test_what_cannot_be_read_is_a_problem(tmp_path: Path, octets: bytes, expected: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(octets)
    with pytest.raises(Problems) as found:
        load(path)
    assert [f"{p.line}:{p.column}: {p.message}" for p in found.value.problems] == [expected]


def test_a_list_in_another_encoding_is_shown_where_it_is_wrong(tmp_path: Path) -> None:
    path = _policy(tmp_path)
    (tmp_path / "lists" / "friends.txt").write_bytes("example.net\ngr\xfcn.example\n".encode("latin-1"))
    with pytest.raises(Problems) as found:
        load(path)
    (problem,) = found.value.problems
    assert problem.where == f"{tmp_path / 'lists' / 'friends.txt'}:2:3"
    assert problem.hint == "save the file in UTF-8"


def test_a_folder_or_nothing_is_a_problem(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.yaml"):
        with pytest.raises(Problems, match="this file cannot be read"):
            load(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
        (_socket, "no such device or address"),
        (Path.mkdir, "is a directory"),
    ],
    ids=["pipe", "device", "loop", "socket", "folder"],
)
def test_only_regular_files_are_read(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    """Opening a pipe waits until somebody writes to it."""
    make(tmp_path / "odd")
    path = _policy(tmp_path, RULES.replace("lists/friends.txt", "odd"))
    with pytest.raises(Problems, match=f"2:25: this file cannot be read: {reason}"):
        load(path)
    with pytest.raises(Problems, match=f"odd:1:1: this file cannot be read: {reason}"):
        read(tmp_path / "odd")


def test_a_name_that_can_be_no_file(tmp_path: Path) -> None:
    with pytest.raises(Problems, match="this cannot be the name of a file"):
        load(_policy(tmp_path, RULES.replace("lists/friends.txt", '"a\\0b"')))
    with pytest.raises(Problems, match=r"a\\x00b:1:1: this cannot be"):
        read(Path("a\0b"))


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = _policy(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + RULES.encode())
    load(path)


def test_settings_name_the_policy_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "mailguard.yaml"
    path.write_text(SETTINGS)
    _policy(tmp_path)
    settings = load_settings(path)
    assert settings.policy == tmp_path / "policy.yaml"
    assert settings.relay_domains == ["example.com"]


class TestCheck:
    @staticmethod
    def run(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["check", *map(str, arguments)])
        return result.exit_code, result.stdout, result.stderr

    def test_a_good_configuration(self, tmp_path: Path) -> None:
        _policy(tmp_path)
        config = tmp_path / "mailguard.yaml"
        config.write_text(SETTINGS)
        status, out, err = self.run("--config", config)
        assert (status, err) == (0, "")
        assert "mailguard.yaml: ok, mx.example.com for example.com" in out
        assert "policy.yaml: ok, 1 envelope rule, 0 content rules, 0 DNS lists, 0 cases passed, digest" in out

    def test_everything_wrong_is_told_at_once(self, tmp_path: Path) -> None:
        policy = _policy(tmp_path, text=RULES.replace("client.ip in", "client.pi in"), entries="bad@\n")
        config = tmp_path / "mailguard.yaml"
        config.write_text(SETTINGS.replace("hostname", "hostnam"))
        status, out, err = self.run("--config", config, "--policy", policy)
        assert status == os.EX_CONFIG == 78
        assert out == ""
        assert f"{config}:2:1: `hostnam` is not known here" in err
        assert f"{policy}:5:26: there is no fact `client.pi`" in err
        assert "friends.txt:1:1: `bad@` is no mailbox" in err
        assert err.rstrip().endswith("4 problems")

    def test_one_problem_with_its_line_and_caret(self, tmp_path: Path) -> None:
        policy = _policy(tmp_path, text="mailguard_policy: 1\nrules: {envelop: []}\n")
        status, _, err = self.run("--policy", policy)
        assert status == 78
        assert err == (
            f"{policy}:2:9: `envelop` is not known here\n"
            "  2 | rules: {envelop: []}\n"
            "    |         ^^^^^^^\n"
            "    hint: did you mean `envelope`?\n\n1 problem\n"
        )

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (RULES.replace("lists/friends.txt", '"a\\0b"'), "this cannot be the name of a file"),
            (RULES.replace("lists/friends.txt", "pipe"), "this file cannot be read: it is no regular file"),
            ("mailguard_policy: " + "[" * 200_000, "policy.yaml:1:42: nested deeper than 24 levels"),
            ("mailguard_policy: " + "{a: " * 50_000, "nested deeper than 24 levels"),
        ],
        ids=["NUL", "pipe", "sequences", "mappings"],
    )
    def test_what_no_reader_survives(self, tmp_path: Path, text: str, said: str) -> None:
        os.mkfifo(tmp_path / "pipe")
        status, _, err = self.run("--policy", _policy(tmp_path, text))
        assert status == os.EX_CONFIG
        assert said in err
        assert err.endswith("\n\n1 problem\n")

    def test_a_policy_that_is_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        status, _, err = self.run("--policy", tmp_path / "pipe")
        assert (status, "pipe:1:1: this file cannot be read: it is no regular file" in err) == (os.EX_CONFIG, True)

    def test_a_configuration_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As for another user's file of mode 600; played, since nothing is closed to root."""
        config = tmp_path / "mailguard.yaml"
        config.write_text(SETTINGS)

        def forbidden(*_: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "access", lambda *_, **__: False)
        monkeypatch.setattr(files, "_open_regular", forbidden)
        for command in ("check", "serve"):
            result = CliRunner().invoke(app, [command, "--config", str(config)])
            assert (result.exit_code, result.stderr.split("\n")[0]) == (
                78,
                f"{config}:1:1: this file cannot be read: permission denied",
            )

    def test_a_configuration_whose_policy_is_missing(self, tmp_path: Path) -> None:
        config = tmp_path / "mailguard.yaml"
        config.write_text(SETTINGS)
        status, _, err = self.run("--config", config)
        assert status == 78
        assert f"{config}:6:9: the policy {tmp_path}/policy.yaml cannot be read: no such file or directory" in err
        assert "copy policies/default.yaml there" in err
