"""docs/backends/dovecot.md on Debian's own configurations: the page's shell lines are run on copies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mailguard.lab import Lab
from mailguard.lab.process import find_program
from tests.support import debian

PAGE = (debian.ROOT / "docs/backends/dovecot.md").read_text()
DOVECOT = Path("/etc/dovecot")


@pytest.fixture
def copies(own_lab: Lab) -> dict[Path, Path]:
    """Copies of both packages' folders, without what only root may read."""
    return {
        debian.EXIM: debian.copy(debian.EXIM, own_lab.scratch, "exim4-config", "passwd.client"),
        DOVECOT: debian.copy(DOVECOT, own_lab.scratch, "dovecot-core", "private"),
    }


def doveconf(configuration: Path, *asked: str) -> str:
    """What Dovecot makes of a configuration."""
    command = [find_program("doveconf", "dovecot-core"), "-c", str(configuration / "dovecot.conf"), "-h", *asked]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def test_the_page_makes_a_dovecot_that_files(copies: dict[Path, Path]) -> None:
    dovecot_lines, _, _ = debian.shell_blocks(PAGE)
    copied = copies[DOVECOT]
    # sievec is told of the copy by the variable that Dovecot's own programs are.
    debian.run(dovecot_lines, copies, CONFIG_FILE=str(copied / "dovecot.conf"))
    assert (copied / "mailguard.svbin").exists()
    assert doveconf(copied, "plugin/sieve_before") == "/etc/dovecot/mailguard.sieve"
    assert doveconf(copied, "plugin/sieve_env_mailguard_profile") == "normal"
    assert doveconf(copied, "-f", "protocol=lmtp", "mail_plugins").split() == ["sieve"]
    assert doveconf(copied, "service/lmtp/unix_listener/lmtp/user") == "Debian-exim"
    assert doveconf(copied, "namespace/inbox/mailbox/Junk/auto") == "subscribe"


def test_the_page_makes_an_exim_that_hands_over(copies: dict[Path, Path]) -> None:
    _, exim_lines, _ = debian.shell_blocks(PAGE)
    debian.run(exim_lines, copies)
    built = debian.build_exim(copies[debian.EXIM], split=True, settings="")
    routers = debian.exim(built, "router_list").split()
    first, last = routers.index("userforward") + 1, routers.index("procmail")
    assert routers[first:last] == ["mailguard_dovecot_by_profile", "mailguard_dovecot"]
    transport = debian.exim(built, "transport", "mailguard_dovecot").splitlines()
    assert "socket = /run/dovecot/lmtp" in transport
    assert "user = Debian-exim" in transport
    assert "headers_remove = ${if eq{$received_port}{10025}{}{X-Mailguard-Folder}}" in transport


def test_every_macro_of_the_parts_is_on_the_page_and_none_else() -> None:
    parts = (f"deploy/dovecot/exim-{name}.conf" for name in ("main", "routers", "transports"))
    assert debian.macro_table(PAGE) == debian.macros(*parts)
