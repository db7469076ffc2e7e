"""Debian's own configuration of a mail server, copied, and changed by the shell lines of a page of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from mailguard.lab.process import find_program

ROOT = Path(__file__).parents[2]
EXIM = Path("/etc/exim4")


def shell_blocks(page: str) -> list[str]:
    """The shell lines of a page, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def macro_table(page: str) -> set[str]:
    """The macros that a page tells of."""
    return set(re.findall(r"^\| `(\w+)`", page.partition("## Macros")[2].partition("\n## ")[0], re.MULTILINE))


def macros(*parts: str) -> set[str]:
    """The macros that may be set, of parts of an Exim configuration."""
    return {name for part in parts for name in re.findall(r"^\.ifndef (\w+)", (ROOT / part).read_text(), re.MULTILINE)}


def copy(original: Path, folder: Path, package: str, *secret: str) -> Path:
    """A copy of a package's folder in /etc without its ``secret`` files; no test where the folder was changed."""
    if not original.is_dir():
        pytest.skip(f"no {original} here")
    changed = subprocess.run(["dpkg", "--verify", package], capture_output=True, text=True, check=False).stdout
    if changed:
        pytest.skip(f"{original} is somebody's own")
    return Path(shutil.copytree(original, folder / original.name, ignore=shutil.ignore_patterns(*secret)))


def run(script: str, copies: Mapping[Path, Path], **environment: str) -> None:
    """Run shell lines with every path of a folder in /etc changed to that of its copy."""
    for original, copied in copies.items():
        script = script.replace(str(original), str(copied))
    command = ["sh", "-euc", script]
    subprocess.run(command, cwd=ROOT, check=True, timeout=30, env=os.environ | environment)


def build_exim(configuration: Path, *, split: bool, settings: str) -> Path:
    """What Debian's tool makes of a copy of /etc/exim4, with further lines of ``update-exim4.conf.conf``."""
    conf = configuration / "update-exim4.conf.conf"
    conf.write_text(f"{conf.read_text()}\n{settings}\ndc_use_split_config='{str(split).lower()}'\n")
    own, template = configuration / "exim4.conf.localmacros", configuration / "exim4.conf.template"
    if own.exists():
        # What update-exim4.conf does by itself, though of /etc/exim4 alone: it looks for the file there.
        template.write_text(own.read_text() + template.read_text())
    built = configuration / "built"
    tool = find_program("update-exim4.conf", "exim4-config")
    subprocess.run([tool, "-d", str(configuration), "-o", str(built)], check=True, timeout=30)
    return built


def exim(built: Path, *asked: str) -> str:
    """What Exim itself makes of the configuration (``-bP``); it fails where Exim does not take it."""
    command = [find_program("exim4", "exim4-daemon-heavy"), "-C", str(built), "-bP", *asked]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
