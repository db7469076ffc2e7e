"""docs/backends/exim.md on Debian's own configuration: its shell lines are taken from the page and run on a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.lab import Lab
from tests.support import debian

PAGE = (debian.ROOT / "docs/backends/exim.md").read_text()


@pytest.fixture
def configuration(own_lab: Lab) -> Path:
    """A copy of /etc/exim4 as the package brings it, where Exim can read it after it gave up root."""
    return debian.copy(debian.EXIM, own_lab.scratch, "exim4-config", "passwd.client")


def build(configuration: Path, *, split: bool) -> Path:
    parts, settings, split_lines, one_file_lines, _ = debian.shell_blocks(PAGE)
    for script in (parts, split_lines if split else one_file_lines):
        debian.run(script, {debian.EXIM: configuration})
    return debian.build_exim(configuration, split=split, settings=settings)


@pytest.mark.parametrize("split", [True, False], ids=["split", "one file"])
def test_the_page_makes_an_exim_that_files(configuration: Path, split: bool) -> None:
    built = build(configuration, split=split)
    main = debian.exim(built, "hosts_proxy", "smtp_accept_max", "message_size_limit", "local_interfaces")
    assert "hosts_proxy = ${if eq{$received_port}{10025}{<; 127.0.0.1 ; ::1}{}}" in main
    assert "smtp_accept_max = 200" in main
    assert "message_size_limit = 51M" in main
    assert "local_interfaces = <; 127.0.0.1.10025 ; ::1.10025" in main
    routers = debian.exim(built, "router_list").split()
    assert routers.index("userforward") + 1 == routers.index("mailguard_filed") == routers.index("procmail") - 1
    assert "mailguard_folder" in debian.exim(built, "transport_list").split()
    assert "directory = $home/Maildir/." in debian.exim(built, "transport", "mailguard_folder")


def test_every_macro_of_the_parts_is_on_the_page_and_none_else() -> None:
    parts = (f"deploy/exim/{name}.conf" for name in ("main", "routers", "transports"))
    assert debian.macro_table(PAGE) == debian.macros(*parts)
