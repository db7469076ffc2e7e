"""Keys of lists: where they are read, what is said where they cannot be had, and that nothing shows them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from copy import deepcopy
from dataclasses import asdict
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailguard.checks.dnsbl_names import query_name
from mailguard.cli import app
from mailguard.config import Settings
from mailguard.facts import DnsblZone
from mailguard.policy.cases import decide
from mailguard.policy.finding import Kind
from mailguard.policy.keys import BadKey, parse
from mailguard.policy_files import draft, draft_for, load, load_for
from mailguard.positions import Problems
from mailguard.secret import Secret
from mailguard.snapshot import Recorder
from tests.unit.policy.support import UNAVAILABLE, policy, told

KEY = "k7qf3mzxw2vbn5trd8shj4c6pa"
POLICY = """mailguard_policy: 1
dnsbl:
  zen:
    zone: "{key}.zen.dq.spamhaus.net"
    key: %s
    answers: {127.0.0.9: {weight: 4}}
  other: {zone: bl.example, answers: {127.0.0.2: {weight: 4}}}
rules:
  envelope:
    - name: listed
      if: dnsbl.score >= 6 and dnsbl.listed_by >= 2 and 'zen.dq.spamhaus.net' in dnsbl.zones
      then: reject
      text: "[{client.ip}] is listed by {dnsbl.zones}"
unavailable: {dnsbl: ignore}
cases:
  - name: a listed client
    given: {client.ip: 198.18.7.9, dnsbl.zen: 127.0.0.9, dnsbl.other: 127.0.0.2}
    expect: {reject: 554}
"""
GIVEN = {"client.ip": "198.18.7.9", "dnsbl.zen": "127.0.0.9", "dnsbl.other": "127.0.0.2"}
SETTINGS = """
hostname: mx.example.com
relay_domains: [example.com]
listen: [{address: "127.0.0.1:0"}]
backends: [{address: "127.0.0.1:10026"}]
policy: policy.yaml
"""


def written(folder: Path, key: str = "{file: dqs.key}") -> Path:
    path = folder / "policy.yaml"
    path.write_text(POLICY % key)
    (folder / "mailguard.yaml").write_text(SETTINGS)
    return path


def with_key(folder: Path, content: str = f"{KEY}\n", mode: int = 0o640) -> Path:
    (folder / "dqs.key").write_text(content)
    (folder / "dqs.key").chmod(mode)
    return written(folder)


def settings(folder: Path) -> Settings:
    values = {"hostname": "mx.example.com", "relay_domains": ["example.com"], "policy": folder / "policy.yaml"}
    addresses = {"listen": [{"address": "127.0.0.1:0"}], "backends": [{"address": "127.0.0.1:10026"}]}
    return Settings.model_validate({**values, **addresses})


class TestReading:
    def test_from_a_file_beside_the_policy(self, tmp_path: Path) -> None:
        zen, other = load(with_key(tmp_path)).lists
        assert (zen.zone, zen.asked) == ("zen.dq.spamhaus.net", f"{KEY}.zen.dq.spamhaus.net")
        assert (other.zone, other.asked) == ("bl.example", "bl.example")

    def test_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DQS_KEY", f" {KEY} ")
        assert load(written(tmp_path, "{env: DQS_KEY}")).lists[0].asked == f"{KEY}.zen.dq.spamhaus.net"

    def test_from_a_file_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "dqs").write_text(KEY)
        assert load(written(tmp_path, f"{{file: {tmp_path}/secrets/dqs}}")).lists[0].key == Secret(KEY)

    def test_from_the_snapshot_that_a_policy_was_read_into(self, tmp_path: Path) -> None:
        recorder = Recorder()
        first = draft(with_key(tmp_path), recorder).policy
        (tmp_path / "dqs.key").unlink()
        second = draft(tmp_path / "policy.yaml", recorder.snapshot).policy
        assert (second.lists, second.digest) == (first.lists, first.digest)

    def test_its_case_is_no_matter_to_the_dns(self) -> None:
        assert parse("ABC123") == parse("abc123\r\n") == Secret("abc123")

    @pytest.mark.parametrize("text", ["", " \n", "a b", "a\nb", "a.b", "-a", "a-", "a_b", "ä", "a" * 64, "{key}"])
    def test_what_is_no_key(self, text: str) -> None:
        with pytest.raises(BadKey, match=r"^holds no") as found:
            parse(text)
        assert not text.strip() or text not in str(found.value).split()

    def test_the_whole_name_is_one_of_the_dns(self, tmp_path: Path) -> None:
        (tmp_path / "dqs.key").write_text("k" * 63)
        path = tmp_path / "policy.yaml"
        zone = "a" * 60 + "." + "b" * 60 + ".example"
        path.write_text((POLICY % "{file: dqs.key}").replace("zen.dq.spamhaus.net", zone))
        with pytest.raises(Problems, match="with its key the zone of the list `zen` is longer than 190 octets"):
            load(path)


class TestMissing:
    """The policy can be checked and tested, and no service starts."""

    def test_cases_need_none(self, tmp_path: Path) -> None:
        compiled = load(written(tmp_path))
        assert told(decide(compiled, GIVEN)) == "reject 554"
        assert [zone.name for zone in compiled.lists] == ["other"]  # nothing is asked under a name without its key

    def test_it_is_warned_of(self, tmp_path: Path) -> None:
        [warning] = load(written(tmp_path)).warnings
        assert (warning.kind, warning.about) == (Kind.NO_KEY, "zen")
        assert f"not at hand: {tmp_path}/dqs.key: this file cannot be read: no such file" in warning.problem.message

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("{file: dqs.key}", "dqs.key: this file cannot be read: no such file"),
            ("{env: NO_SUCH}", "variable NO_SUCH"),
        ],
    )
    def test_the_service_does_not_load_it(self, tmp_path: Path, key: str, message: str) -> None:
        written(tmp_path, key)
        with pytest.raises(Problems, match=message) as found:
            load_for(settings(tmp_path))
        assert len(found.value.problems) == 1
        assert draft_for(settings(tmp_path), keys_at_hand=False).policy.cases == 1

    def test_no_key_in_the_file_is_no_key_anywhere(self, tmp_path: Path) -> None:
        with pytest.raises(Problems, match=r"`zen` cannot be used: dqs.key holds nothing"):
            load(with_key(tmp_path, "\n"))

    @pytest.mark.slow
    def test_the_commands(self, tmp_path: Path) -> None:
        path = str(written(tmp_path))
        runner = CliRunner()
        assert runner.invoke(app, ["test", path]).exit_code == 0
        assert runner.invoke(app, ["check", "--config", str(tmp_path / "mailguard.yaml")]).exit_code == 0
        found = runner.invoke(app, ["check", "--policy", path])
        assert found.exit_code == 0
        assert "warning [no-key]" in found.output
        assert runner.invoke(app, ["check", "--policy", path, "--strict"]).exit_code == 78
        assert runner.invoke(app, ["check", "--policy", path, "--strict", "--allow", "no-key"]).exit_code == 0
        command = [sys.executable, "-m", "mailguard", "serve", "--config", str(tmp_path / "mailguard.yaml")]
        served = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert served.returncode == 78
        assert served.stderr.count("not at hand") == 1
        assert served.stdout.count("not at hand") == 1  # a line of the log, which may go elsewhere


class TestExposed:
    @pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o642, True)])
    def test_a_file_that_all_may_read_is_warned_of(self, tmp_path: Path, mode: int, warned: bool) -> None:
        warnings = load(with_key(tmp_path, mode=mode)).warnings
        assert [warning.kind for warning in warnings] == [Kind.KEY] * warned
        assert all("every user of this machine" in warning.problem.message for warning in warnings)

    def test_a_key_in_the_zone_is_warned_of(self) -> None:
        zone = f"dnsbl: {{zen: {{zone: {KEY}.zen.dq.spamhaus.net, answers: {{127.0.0.9: {{weight: 3}}}}}}}}\n"
        rules = "rules: {envelope: [{name: a, if: dnsbl.score > 1, then: file, folder: Junk}]}"
        [warning] = policy(UNAVAILABLE + zone + rules).warnings
        assert warning.kind is Kind.KEY
        assert KEY not in warning.in_one_line
        assert '`zone: "{key}.zen.dq.spamhaus.net"`' in warning.problem.hint


class TestNothingShowsIt:
    def test_texts_of_objects(self, tmp_path: Path) -> None:
        compiled = load(with_key(tmp_path))
        zone = compiled.lists[0]
        for shown in (repr(compiled), str(compiled), repr(zone), f"{zone.key}", f"{zone.key!r}", str(asdict(zone))):
            assert KEY not in shown
            assert shown

    def test_a_snapshot_keeps_it_to_itself(self, tmp_path: Path) -> None:
        recorder = Recorder()
        draft(with_key(tmp_path), recorder)
        assert KEY not in repr(recorder.snapshot)

    def test_json_has_no_form_of_it(self) -> None:
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps({"key": Secret(KEY)})

    def test_a_copy_is_a_secret_too(self) -> None:
        assert deepcopy(Secret(KEY)) == Secret(KEY) != Secret("other")
        assert Secret(KEY) != KEY
        assert repr(pickle.loads(pickle.dumps(Secret(KEY)))) == "(secret)"

    def test_the_name_that_is_asked_holds_it(self) -> None:
        zone = DnsblZone("zen", "zen.example", key=Secret(KEY))
        assert query_name(IPv4Address("198.18.7.9"), zone.asked) == f"9.7.18.198.{KEY}.zen.example"

    def test_a_reply(self, tmp_path: Path) -> None:
        verdict = decide(load(with_key(tmp_path)), GIVEN)
        assert str(verdict.reply) == "554 5.7.1 [198.18.7.9] is listed by bl.example,zen.dq.spamhaus.net"
        assert KEY not in repr(verdict)

    @pytest.mark.parametrize(
        "content",
        [f"{KEY} and more", f"{KEY}\n{KEY}", f"{KEY}." + "x" * 64, f"{KEY}\n" + "x" * 5000],
    )
    def test_an_error(self, tmp_path: Path, content: str) -> None:
        path = str(with_key(tmp_path, content))
        for command in (["check", "--policy", path], ["check", "--policy", path, "--json"], ["test", path]):
            found = CliRunner().invoke(app, command)
            assert found.exit_code == 78 or "no-key" in found.output or command[0] == "test"
            assert KEY not in found.output

    def test_an_octet_that_is_no_utf8(self, tmp_path: Path) -> None:
        path = written(tmp_path)
        (tmp_path / "dqs.key").write_bytes(KEY.encode() + b"\xff")
        with pytest.raises(Problems, match="no UTF-8") as found:
            load_for(settings(tmp_path))
        shown = CliRunner().invoke(app, ["check", "--policy", str(path)]).output
        assert KEY not in str(found.value) + shown
        assert found.value.__cause__ is None

    def test_the_digest_changes_with_it_and_does_not_tell_it(self, tmp_path: Path) -> None:
        first = load(with_key(tmp_path)).digest
        assert load(with_key(tmp_path, KEY)).digest == first
        others = {load(with_key(tmp_path, KEY[:-1] + letter)).digest for letter in "bcd"}
        (tmp_path / "dqs.key").unlink()
        others.add(load(written(tmp_path)).digest)
        assert len(others) == 4
        assert first not in others
