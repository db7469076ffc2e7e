"""The command line as a whole: version, Ctrl-C before anything runs, what `make run` hands on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from mailguard import __version__
from mailguard.__main__ import main
from mailguard.cli import app
from mailguard.cli import demo as demo_module
from mailguard.lab.folders import free_port

ROOT = Path(__file__).parents[2]


def test_the_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"mailguard {__version__}\n")


class _Interrupts(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "mailguard.cli":
            raise KeyboardInterrupt
        return None


def test_ctrl_c_while_the_command_line_is_still_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "mailguard.cli")
    monkeypatch.setattr(sys, "meta_path", [_Interrupts(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nmailguard: interrupted\n"


def test_ctrl_c_while_the_demo_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_module, "Lab", interrupted)
    result = CliRunner().invoke(app, ["demo", "--port", str(free_port())])
    assert result.exit_code == 130
    assert result.output == "\nmailguard: interrupted; all that the demo had started is ended and removed\n"


def test_two_demos_do_not_start_on_one_port() -> None:
    """The second is told at once, although mailguard of the first does not listen yet."""
    port = free_port()
    with demo_module._claimed(port):
        result = CliRunner().invoke(app, ["demo", "--port", str(port)])
    assert result.exit_code == 69
    assert result.output.startswith(f"mailguard: 127.0.0.1:{port}: Address already in use. Another `make run`?")
    assert result.output.count("\n") == 1
    with demo_module._claimed(port):
        pass


@pytest.mark.parametrize(
    ("variables", "handed_on"),
    [
        ((), ""),
        (("ONCE=1",), " --once"),
        (("ONCE=0",), ""),
        (("ONCE=1", "PORT=2526", "BREAK=zone"), " --once --port 2526 --break zone"),
    ],
)
def test_what_make_run_hands_on(variables: Sequence[str], handed_on: str) -> None:
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run([make, "-n", "run", *variables], cwd=ROOT, capture_output=True, text=True, check=True)
    [command] = [line for line in done.stdout.splitlines() if "mailguard demo" in line]
    assert " ".join(command.split()) == f".venv/bin/mailguard demo{handed_on}"
