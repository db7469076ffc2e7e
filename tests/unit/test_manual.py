"""The command line teaches: help with examples, completion, manual pages that roff takes as they are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mailguard.cli import COMMANDS, app, manual, roff
from mailguard.cli.completion import Shell
from mailguard.cli.examples import EXAMPLES
from mailguard.cli.reference import PAGES
from mailguard.cli.rows import GROUP, REQUIRED, rows_of
from mailguard.cli.statuses import STATUSES
from mailguard.config import Settings
from mailguard.policy_files import draft
from mailguard.positions import Text, parse, validate

ROOT = Path(__file__).parents[2]
ALL = dict(manual.commands())
MANUALS = {name: make for name, make in PAGES.items() if name.startswith("docs/man/")}


# -- help


@pytest.mark.parametrize("name", ALL)
def test_each_command_shows_an_example_in_its_help(name: str) -> None:
    assert EXAMPLES.get(name), f"write one for `mailguard {name}` in mailguard/cli/examples.py"
    result = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    for example in EXAMPLES[name]:
        assert example.line in shown
        assert example.purpose in shown
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", ALL)
def test_each_option_of_a_command_says_what_it_is_for(name: str) -> None:
    assert ALL[name].help
    for parameter in ALL[name].params:
        assert parameter.help, f"mailguard {name}: {parameter.opts}"


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in ALL])
def test_examples_name_options_that_there_are(name: str) -> None:
    known = {option for parameter in ALL[name].params for option in parameter.opts}
    for example in EXAMPLES[name]:
        line = example.line.rpartition(" && ")[2]
        words = shlex.split(line)
        assert words[: 1 + len(name.split())] == ["mailguard", *name.split()]
        assert {word for word in words if word.startswith("--")} <= known


def test_a_command_that_there_is_none_of() -> None:
    result = CliRunner().invoke(app, ["serch", "--since", "2d"])
    assert result.exit_code == os.EX_USAGE
    assert "there is no command 'serch'; did you mean `search`?" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "line",
    ["check --strickt", "why", "schema poliicy", "config", "config shw", "search --limit many", "doctor --only clamd"],
)
def test_a_command_line_that_is_wrong(line: str) -> None:
    assert CliRunner().invoke(app, line.split()).exit_code == os.EX_USAGE


def test_an_exit_status_of_two_is_not_taken_for_a_wrong_command_line(tmp_path: Path) -> None:
    """``doctor --nagios`` means CRITICAL by it."""
    path = tmp_path / "mailguard.yaml"
    path.write_text("hostname: [\n")
    assert CliRunner().invoke(app, ["doctor", "--config", str(path), "--nagios"]).exit_code == 2


# -- completion


def complete(words: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "_MAILGUARD_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    command = [sys.executable, *options, "-m", "mailguard"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)


def test_names_of_commands_are_completed_without_their_files() -> None:
    done = complete("mailguard s", "-X", "importtime")
    assert done.stdout.split() == [name for name in COMMANDS if name.startswith("s")]
    imported = set(re.findall(r"\bmailguard[.\w]*", done.stderr))
    assert imported, "Python tells what it imports"
    assert not imported & {f"mailguard.cli.{where.partition(':')[0]}" for where in COMMANDS.values()}
    assert "mailguard.positions" not in imported


def test_options_are_completed_with_the_file_of_their_command_alone() -> None:
    done = complete("mailguard schema po", "-X", "importtime")
    assert done.stdout.split() == ["policy"]
    done = complete("mailguard check --st", "-X", "importtime")
    assert done.stdout.split() == ["--strict"]
    assert "mailguard.worker" not in done.stderr


def test_commands_of_a_group_are_completed() -> None:
    assert complete("mailguard config ").stdout.split() == ["show"]


def test_bash_itself(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    script = tmp_path / "completion"
    script.write_text(CliRunner().invoke(app, ["completion", "bash"]).stdout)
    named = tmp_path / "mailguard"
    named.write_text(f'#!/bin/sh\nexec {sys.executable} -m mailguard "$@"\n')
    named.chmod(0o755)
    line = "COMP_WORDS=(mailguard doctor --na); COMP_CWORD=2"
    ask = f'. {script}; {line}; _mailguard_completion {named}; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run([bash, "--norc", "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "--nagios\n"


@pytest.mark.parametrize("shell", Shell)
def test_each_shell_has_a_script(shell: Shell) -> None:
    result = CliRunner().invoke(app, ["completion", shell.value])
    assert result.exit_code == 0
    assert "_MAILGUARD_COMPLETE" in result.stdout


# -- manual pages


@pytest.mark.parametrize("name", MANUALS)
def test_roff_has_nothing_to_say_against_a_manual_page(name: str, tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff here")
    page = tmp_path / "page"
    page.write_text(MANUALS[name]())
    done = subprocess.run(
        [groff, "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=78n", str(page)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") > 100
    assert "`" not in done.stdout, "what stands in backticks is bold"


def test_every_command_option_and_status_is_in_the_manual() -> None:
    page = manual.commands_page()
    for name, command in ALL.items():
        assert f".SS mailguard {name}\n" in page
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert roff.bold(option) in page
    for number in STATUSES:
        assert re.search(rf"^{number}\b", page, re.MULTILINE)


def test_every_setting_is_in_the_manual() -> None:
    page = manual.settings_page()
    for row in rows_of(Settings):
        if row.kind != GROUP:
            assert f".TP\n{roff.bold(row.name)}\n" in page
    assert "MAILGUARD_TLS_KEY_FILE" in page


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a `b-c` d", "a \\fBb\\-c\\fR d"),
        (".SH no heading", "\\&.SH no heading"),
        ("'quoted'", "\\(aqquoted\\(aq"),
        ("a\\b", "a\\eb"),
        ("→ there", "\\[u2192] there"),
        ("one\n.two", "one .two"),
    ],
)
def test_what_roff_would_take_for_its_own(text: str, made: str) -> None:
    assert roff.inline(text) == made


def test_lines_as_they_are() -> None:
    assert roff.verbatim([".TH", "  a: 'b'"]) == ".PP\n.RS 4\n.nf\n\\&.TH\n  a: \\(aqb\\(aq\n.fi\n.RE\n"


def test_the_examples_of_files_are_good_ones(tmp_path: Path) -> None:
    settings = validate(parse(Text("mailguard.yaml", manual.SETTINGS_EXAMPLE)), Settings)
    assert settings.model_fields_set >= {
        row.name for row in rows_of(Settings) if row.default == REQUIRED and "." not in row.name
    } - {
        "listen[]",
        "backends[]",
    }
    policy = tmp_path / "policy.yaml"
    policy.write_text(manual.POLICY_EXAMPLE)
    assert draft(policy).tested().cases == 2
    assert yaml.safe_load(manual.POLICY_EXAMPLE)["mailguard_policy"] == 1
