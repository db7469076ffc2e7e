"""Dovecot behind Exim: LMTP, Sieve and IMAP, with the very files of ``deploy/dovecot``.

Nothing of ``/etc/dovecot`` is read. A mailbox is looked into as its owner would, by IMAP (:meth:`Dovecot.find`).
"""

from __future__ import annotations

import imaplib
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from mailguard.lab import world
from mailguard.lab.exim import Exim
from mailguard.lab.folders import free_port, greets, group_name, make_folder, shipped, user_name
from mailguard.lab.process import LabError, find_program
from mailguard.lab.server import Server

_TIMEOUT = 60.0
_PASSWORD = "laboratory"  # noqa: S105 - of mailboxes that live as long as a test

_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
log_path = /dev/stderr
mail_location = maildir:~/Maildir
first_valid_uid = 1
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
postmaster_address = postmaster@{domain}
hostname = {name}
auth_username_format = %Ln
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
plugin {{
  sieve = file:~/sieve;active=~/.dovecot.sieve
}}
!include {folder}/deploy/95-mailguard.conf
plugin {{
  sieve_before = {folder}/deploy/mailguard.sieve
}}
service lmtp {{
  unix_listener lmtp {{
    user = {exim}
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""
"""Without chroots, and with users of its own for everything, it runs as anybody (Dovecot's "rootless installation")."""


@dataclass(frozen=True, slots=True)
class Filed:
    """One message in a mailbox: whose, the folder, and its octets as IMAP gives them (line ends CR LF)."""

    user: str
    folder: str
    octets: bytes


class Dovecot(Server):
    """One Dovecot with a mailbox for each user of the laboratory.

    Args:
        folder: for its sockets, mail and log.
        profiles: users whose profile is not ``normal``.
        scripts: users' own Sieve scripts.
    """

    program, package, user = "dovecot", "dovecot-core", "mail"

    def __init__(
        self, folder: Path, *, profiles: Mapping[str, str] | None = None, scripts: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder)
        self.port = free_port()
        deployed = make_folder(folder / "deploy")
        for part in ("95-mailguard.conf", "mailguard.sieve"):
            shutil.copy(shipped("deploy/dovecot") / part, deployed)
        self._configuration = folder / "dovecot.conf"
        self._configuration.write_text(self._main_part())
        self._write_users(profiles or {}, scripts or {})
        self._compile(deployed / "mailguard.sieve")

    @property
    @override
    def address(self) -> str:
        """IMAP."""
        return f"127.0.0.1:{self.port}"

    @property
    def lmtp_socket(self) -> Path:
        """Where Exim hands over."""
        return self.folder / "run/lmtp"

    @override
    def command(self) -> list[str]:
        return [self.binary, "-F", "-c", str(self._configuration)]

    @override
    def answers(self) -> bool:
        """Whether IMAP and LMTP greet."""
        return greets(("127.0.0.1", self.port), b"* OK ", b"a LOGOUT\r\n") and greets(
            self.lmtp_socket, b"220 ", b"QUIT\r\n"
        )

    def find(self, message_id: str, timeout: float = 0.0) -> list[Filed]:
        """Where the message with this Message-ID field (angle brackets included) is, in all folders of all users.

        Waits up to ``timeout`` seconds for a first one; empty when there is none.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = [mail for user in world.USERS for mail in self._search(user, message_id)]
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(0.05)

    def _search(self, user: str, message_id: str) -> Iterator[Filed]:
        with imaplib.IMAP4("127.0.0.1", self.port, _TIMEOUT) as client:
            client.login(user, _PASSWORD)
            for folder in _folders(client):
                client.select(folder, readonly=True)
                for number in client.uid("SEARCH", "HEADER", "Message-ID", message_id)[1][0].split():
                    yield Filed(user, folder, client.uid("FETCH", number, "(BODY.PEEK[])")[1][0][1])

    def _main_part(self) -> str:
        return _CONFIGURATION.format(
            folder=self.folder,
            internal=user_name("dovecot"),
            internal_group=group_name("dovecot"),
            login=user_name("dovenull"),
            exim=user_name(Exim.user),
            domain=world.DOMAINS[0],
            name=world.EXIM_NAME,
            port=self.port,
        )

    def _write_users(self, profiles: Mapping[str, str], scripts: Mapping[str, str]) -> None:
        owner = pwd.getpwnam(self.run_as)
        lines = []
        for user in world.USERS:
            home = make_folder(self.folder / "mail" / user, self.run_as)
            profile = f"userdb_sieve_env_mailguard_profile={profiles[user]}" if user in profiles else ""
            lines.append(f"{user}:{{PLAIN}}{_PASSWORD}:{owner.pw_uid}:{owner.pw_gid}::{home}::{profile}\n")
            if user in scripts:
                (home / ".dovecot.sieve").write_text(scripts[user])
        (self.folder / "users").write_text("".join(lines))

    def _compile(self, script: Path) -> None:
        """Compile a script that its users may not write beside, as an administrator does.

        Raises:
            LabError: it is wrong.
        """
        command = [find_program("sievec", "dovecot-sieve"), "-c", str(self._configuration), str(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)  # noqa: S603
        if done.returncode:
            raise LabError(f"{script}: {done.stderr}")


def _folders(client: imaplib.IMAP4) -> list[str]:
    """Every folder; the laboratory's have plain names (RFC 9051 6.3.9: flags, separator, name)."""
    listed = [line for line in client.list()[1] if isinstance(line, bytes)]
    return [line.rpartition(b" ")[2].strip(b'"').decode() for line in listed]
