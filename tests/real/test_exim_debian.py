"""docs/backends/exim.md on Debian's own configuration: its shell lines are taken from the page and run on a copy."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mailguard.lab import Lab

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/backends/exim.md").read_text()
DEBIAN = Path("/etc/exim4")


def shell_blocks() -> list[str]:
    """The page's shell lines: the parts, Debian's settings, split, one file, and the restart."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def configuration(own_lab: Lab) -> Path:
    """A copy of /etc/exim4 as the package brings it, where Exim can read it after it gave up root."""
    if shutil.which("update-exim4.conf", path="/usr/sbin") is None:
        pytest.skip("no Debian Exim here")
    changed = subprocess.run(["dpkg", "--verify", "exim4-config"], capture_output=True, text=True, check=False).stdout
    if changed:
        pytest.skip("/etc/exim4 is somebody's own")
    secret = shutil.ignore_patterns("passwd.client")
    return Path(shutil.copytree(DEBIAN, own_lab.scratch / "exim4", ignore=secret))


def run(script: str, configuration: Path) -> None:
    here = script.replace(str(DEBIAN), str(configuration))
    subprocess.run(["sh", "-euc", here], cwd=ROOT, check=True, timeout=30)


def exim(built: Path, *asked: str) -> str:
    """What Exim itself makes of the configuration (``-bP``); it fails where Exim does not take it."""
    command = ["/usr/sbin/exim4", "-C", str(built), "-bP", *asked]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def build(configuration: Path, *, split: bool) -> Path:
    parts, settings, split_lines, one_file_lines, _ = shell_blocks()
    run(parts, configuration)
    run(split_lines if split else one_file_lines, configuration)
    conf = configuration / "update-exim4.conf.conf"
    conf.write_text(f"{conf.read_text()}\n{settings}\ndc_use_split_config='{str(split).lower()}'\n")
    macros, template = configuration / "exim4.conf.localmacros", configuration / "exim4.conf.template"
    if macros.exists():
        # What update-exim4.conf does by itself, though of /etc/exim4 alone: it looks for the file there.
        template.write_text(macros.read_text() + template.read_text())
    built = configuration / "built"
    command = ["/usr/sbin/update-exim4.conf", "-d", str(configuration), "-o", str(built)]
    subprocess.run(command, check=True, timeout=30)
    return built


@pytest.mark.parametrize("split", [True, False], ids=["split", "one file"])
def test_the_page_makes_an_exim_that_files(configuration: Path, split: bool) -> None:
    built = build(configuration, split=split)
    main = exim(built, "hosts_proxy", "smtp_accept_max", "message_size_limit", "local_interfaces")
    assert "hosts_proxy = ${if eq{$received_port}{10025}{<; 127.0.0.1 ; ::1}{}}" in main
    assert "smtp_accept_max = 200" in main
    assert "message_size_limit = 51M" in main
    assert "local_interfaces = <; 127.0.0.1.10025 ; ::1.10025" in main
    routers = exim(built, "router_list").split()
    assert routers.index("userforward") + 1 == routers.index("mailguard_filed") == routers.index("procmail") - 1
    assert "mailguard_folder" in exim(built, "transport_list").split()
    assert "directory = $home/Maildir/." in exim(built, "transport", "mailguard_folder")


def test_every_macro_of_the_parts_is_on_the_page_and_none_else() -> None:
    parts = "".join(
        (ROOT / "deploy/exim" / name).read_text() for name in ("main.conf", "routers.conf", "transports.conf")
    )
    settable = set(re.findall(r"^\.ifndef (\w+)", parts, re.MULTILINE))
    table = PAGE.partition("## Macros")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == settable
