"""Settings with their origins, and files of secrets that the environment names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.config import LONGEST, Section, Settings, secret_variables
from mailguard.files import read_settings
from mailguard.positions import Problems

PLAIN = """\
hostname: mx.example.com
relay_domains: [example.com, example.org]
listen:
- address: 127.0.0.1:0
- {address: "[::1]:0", proxy_protocol_from: [127.0.0.0/8]}
backends: [{address: "127.0.0.1:26"}]
policy: policy.yaml
limits:
  max_message_size: 1048576
journal: {pseudonymise: [client], pseudonym_key: written.key}
"""
SECRET = "0123456789abcdef" * 4
KEY, TLS_KEY = "MAILGUARD_JOURNAL_PSEUDONYM_KEY_FILE", "MAILGUARD_TLS_KEY_FILE"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mailguard.yaml"
    path.write_text(PLAIN)
    return path


def show(file: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["config", "show", "--config", str(file), "--json", *arguments], env=variables)
    assert result.exit_code == 0, result.stderr
    shown: dict[str, Any] = json.loads(result.stdout)
    return shown


def test_each_setting_has_a_value_and_an_origin(file: Path) -> None:
    found = show(file)
    assert found["hostname"] == {
        "value": "mx.example.com",
        "unit": "",
        "origin": {"kind": "file", "file": str(file), "line": 1},
    }
    assert found["relay_domains"]["value"] == ["example.com", "example.org"]
    assert found["listen[1].proxy_protocol_from"]["value"] == ["127.0.0.0/8"]
    assert found["listen[1].proxy_protocol_from"]["origin"]["line"] == 5
    assert found["listen[0].proxy_protocol_from"]["origin"] == {"kind": "default"}
    size = found["limits.max_message_size"]
    assert (size["value"], size["unit"], size["origin"]["line"]) == (1048576, "octets", 9)
    assert found["limits.max_connections"] == {"value": 1000, "unit": "connections", "origin": {"kind": "default"}}
    assert found["policy"]["value"] == str(file.parent / "policy.yaml"), "as the service takes it"


def test_what_is_shown_is_all_that_there_is(file: Path) -> None:
    def leaves(model: Any, prefix: str) -> set[str]:
        found: set[str] = set()
        for name in type(model).model_fields:
            value = getattr(model, name)
            if hasattr(type(value), "model_fields"):
                found |= leaves(value, f"{prefix}{name}.")
            elif isinstance(value, list) and value and hasattr(type(value[0]), "model_fields"):
                for number, entry in enumerate(value):
                    found |= leaves(entry, f"{prefix}{name}[{number}].")
            else:
                found.add(prefix + name)
        return found

    _, settings = read_settings(file)
    assert show(file).keys() == leaves(settings, "")


def test_only_what_is_changed(file: Path) -> None:
    assert set(show(file, "--changed")) == {
        "hostname",
        "relay_domains",
        "listen[0].address",
        "listen[1].address",
        "listen[1].proxy_protocol_from",
        "backends[0].address",
        "policy",
        "limits.max_message_size",
        "journal.pseudonymise",
        "journal.pseudonym_key",
    }


def test_the_table_fits_a_terminal(file: Path) -> None:
    result = CliRunner().invoke(app, ["config", "show", "--config", str(file)], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "limits.max_connections" in result.stdout


def test_the_environment_names_files_of_secrets(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.key"
    secret.write_text(SECRET)
    found = show(file, **{KEY: str(secret)})
    assert found["journal.pseudonym_key"]["value"] == str(secret)
    assert found["journal.pseudonym_key"]["origin"] == {"kind": "environment", "variable": KEY}
    assert found["journal.pseudonymise"]["origin"]["line"] == 10
    assert SECRET not in json.dumps(found)


def test_a_file_of_a_secret_in_a_section_that_the_file_does_not_have(file: Path) -> None:
    _, settings = read_settings(file, {TLS_KEY: "/run/credentials/mailguard/key"})
    assert settings.tls.key == Path("/run/credentials/mailguard/key")
    _, settings = read_settings(file, {})
    assert settings.tls.key is None


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    """Settings that need a key are well with one that the environment names."""
    path = tmp_path / "mailguard.yaml"
    path.write_text(PLAIN.replace(", pseudonym_key: written.key", ""))
    with pytest.raises(Problems, match="needs a key"):
        read_settings(path, {})
    _, settings = read_settings(path, {KEY: "elsewhere.key"})
    assert settings.journal.pseudonym_key == Path("elsewhere.key")


def test_a_section_that_is_none_is_refused_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mailguard.yaml"
    path.write_text(PLAIN + "tls: 5\n")
    with pytest.raises(Problems, match="`tls` must be a mapping"):
        read_settings(path, {TLS_KEY: "key.pem"})


def test_a_variable_that_stands_for_nothing(file: Path) -> None:
    with pytest.raises(Problems) as refused:
        read_settings(file, {"MAILGUARD_TLS_KEYS_FILE": "key.pem"})
    [problem] = refused.value.problems
    assert problem.in_one_line == (
        "environment variable MAILGUARD_TLS_KEYS_FILE:1:1: no setting has this variable; "
        "hint: did you mean `MAILGUARD_TLS_KEY_FILE`?"
    )


def test_a_file_that_cannot_be_used_is_told_with_its_variable(file: Path) -> None:
    file.write_text(PLAIN.replace("policy.yaml", str(Path(__file__).parents[2] / "policies" / "default.yaml")))
    arguments = ["check", "--config", str(file)]
    result = CliRunner().invoke(app, arguments, env={KEY: "/nonexistent/key"})
    assert result.exit_code == 78
    assert f"environment variable {KEY}:1:1: this key cannot be used: /nonexistent/key cannot be read" in result.stderr


def test_no_output_holds_a_secret(file: Path, tmp_path: Path) -> None:
    """Not that of commands that read it, nor that of one that only shows where it is."""
    secret = tmp_path / "secret.key"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    file.write_text(PLAIN.replace("policy.yaml", str(Path(__file__).parents[2] / "policies" / "default.yaml")))
    for command in (["config", "show"], ["check"], ["doctor", "--only", "permissions", "--only", "configuration"]):
        for mode in (0o600, 0o644):
            secret.chmod(mode)
            result = CliRunner().invoke(app, [*command, "--config", str(file)], env={**os.environ, KEY: str(secret)})
            assert result.output
            assert SECRET not in result.output + result.stderr


def test_the_variables_are_those_of_the_settings_that_name_a_secret() -> None:
    assert secret_variables() == {KEY: ("journal", "pseudonym_key"), TLS_KEY: ("tls", "key")}
    schema = json.dumps(Settings.model_json_schema())
    assert '"format": "password"' not in schema, "a secret stands in a file of its own"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("processes: {heartbeat_interval: 1.0e+20}\n", "`heartbeat_interval` must be at the most 31622400"),
        ("processes: {max_observe: 1.0e+15}\n", "`max_observe` must be at the most 3660"),
    ],
)
def test_no_time_is_so_long_that_a_timer_or_a_calendar_overflows(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "mailguard.yaml"
    file.write_text(PLAIN + text)
    with pytest.raises(Problems, match=told):
        read_settings(file, {})


def test_every_time_has_an_upper_bound() -> None:
    unbounded = [
        f"{section.__name__}.{name}"
        for section in Section.__subclasses__()
        for name, field in section.model_fields.items()
        if (field.json_schema_extra or {}).get("unit") in LONGEST  # type: ignore[union-attr]
        and not any(hasattr(bound, "le") for bound in field.metadata)
    ]
    assert unbounded == []
