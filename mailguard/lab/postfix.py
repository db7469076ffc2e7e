"""Postfix as a client of mailguard, and where services are added, as the mail server behind it.

Debian allows one mail server a machine, and that is Exim; Postfix is therefore not installed but unpacked
(``deploy/setup/unpack.sh``), and runs from there: ``LD_LIBRARY_PATH`` leads to its libraries, and its queue belongs to
users that every Debian has. Nothing of ``/etc/postfix`` is read. It wants root.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import orjson
from typing_extensions import override

import mailguard
from mailguard.lab.folders import give, is_root, make_folder
from mailguard.lab.process import LabError, find_program
from mailguard.lab.queueing import SENDERS, Queueing
from mailguard.lab.server import Server

UNPACKED = Path(mailguard.__file__).parents[1] / "build/postfix"
"""Where ``make test`` unpacks the package: in the source tree."""

LIBRARIES = {"LD_LIBRARY_PATH": str(UNPACKED / "usr/lib/postfix")}
"""The environment in which its programs find their libraries."""

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = {unpacked}/usr/lib/postfix/sbin
command_directory = {unpacked}/usr/sbin
shlib_directory = {unpacked}/usr/lib/postfix
meta_directory = {unpacked}/etc/postfix
sendmail_path = {unpacked}/usr/sbin/sendmail
import_environment = LD_LIBRARY_PATH MAIL_CONFIG MAIL_LOGTAG POSTLOG_SERVICE POSTLOG_HOSTNAME LANG=C
export_environment = LD_LIBRARY_PATH MAIL_CONFIG
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
mail_owner = {owner}
setgid_group = {group}
default_privs = nobody
myhostname = postfix.example.net
myorigin = {senders}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{port}
virtual_mailbox_domains = {senders}
virtual_mailbox_maps = static:bounces/
virtual_mailbox_base = {folder}
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtputf8_enable = yes
smtp_tls_security_level = {tls}
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
{more}
"""
"""Backoff and queue runs of seconds, where the defaults are minutes: so that a test sees a retry."""

_MASTER = """\
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
showq unix n - n - - showq
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")


class Postfix(Queueing, Server):
    """One Postfix before the relay host at ``127.0.0.1:port``.

    Args:
        folder: for its queue, bounces and log.
        port: of the relay host, plain SMTP.
        tls: Postfix's ``smtp_tls_security_level`` (postconf(5)).
        more: further lines of main.cf.
        services: further lines of master.cf.

    Raises:
        LabError: it is not unpacked, or this is not root.
    """

    program: ClassVar[str] = str(UNPACKED / "usr/lib/postfix/sbin/master")
    package, user, environment = "postfix", "daemon", LIBRARIES
    main_log_name = "maillog"
    group: ClassVar[str] = "mail"
    """Whom the drop folder is open to: another group than the user's and nobody's, as Postfix insists."""

    def __init__(self, folder: Path, port: int, *, tls: str = "none", more: str = "", services: str = "") -> None:
        if not is_root():
            raise LabError("Postfix wants root: its master gives each of its processes a user")
        if not UNPACKED.is_dir():
            raise LabError(f"Postfix is not unpacked in {UNPACKED}: `make test` does it (deploy/setup/unpack.sh)")
        super().__init__(folder)
        make_folders(folder, self.run_as, self.group)
        owner = (folder / "bounces").stat()
        configuration = _MAIN.format(
            folder=folder,
            unpacked=UNPACKED,
            owner=self.run_as,
            group=self.group,
            uid=owner.st_uid,
            gid=owner.st_gid,
            senders=SENDERS,
            port=port,
            tls=tls,
            more=more,
        )
        (folder / "etc/main.cf").write_text(configuration)
        os.utime(folder / "etc/main.cf", (0, 0))  # it waits 2 s for a younger one, lest somebody is still writing it
        (folder / "etc/master.cf").write_text(_MASTER + services)

    @property
    @override
    def address(self) -> str:
        """Where it takes mail: a program, not a port."""
        return f"unix:{self.folder}/spool/public/pickup"

    @override
    def command(self) -> list[str]:
        return [self.binary, "-c", str(self.folder / "etc"), "-s"]

    @override
    def answers(self) -> bool:
        """Whether its queue can be listed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            try:
                client.connect(f"{self.folder}/spool/public/showq")
            except OSError:
                return False
            return True

    @override
    def submit(self, sender: str, recipients: Sequence[str], message: bytes) -> None:
        body = "7BIT" if message.isascii() else "8BITMIME"
        self._postfix(["sendmail", "-i", "-B", body, "-f", sender, "--", *recipients], message)

    @override
    def flush(self) -> None:
        self._postfix(["postqueue", "-f"])

    @override
    def queued(self) -> int:
        return len(self._queues())

    @override
    def busy(self) -> bool:
        return any(queue != "deferred" for queue in self._queues())

    def _queues(self) -> list[str]:
        """The queue that each message is in (postqueue(1), JSON OBJECT FORMAT).

        One folder is read after the other, and a message that moves meanwhile is not seen: two looks have to agree.
        """
        before, now = None, self._listed()
        while now != before:
            before, now = now, self._listed()
        return sorted(now.values())

    def _listed(self) -> dict[str, str]:
        listed = map(orjson.loads, self._postfix(["postqueue", "-j"]).splitlines())
        return {one["queue_id"]: one["queue_name"] for one in listed}

    def tls_finger(self, port: int, name: str, authority: Path) -> str:
        """What posttls-finger(1) says of the STARTTLS of a loopback port that should prove to be ``name``.

        Args:
            port: plain SMTP.
            name: whose certificate it should have.
            authority: PEM file of who may have signed it.
        """
        options = ["-c", "-l", "secure", "-L", "summary", "-F", str(authority)]
        return self._postfix(["posttls-finger", *options, f"[127.0.0.1]:{port}", name])

    def _postfix(self, command: Sequence[str], text: bytes = b"") -> str:
        program = find_program(str(UNPACKED / "usr/sbin" / command[0]), self.package)
        return self.run([program, *command[1:]], text, LIBRARIES | {"MAIL_CONFIG": str(self.folder / "etc")})


def make_folders(folder: Path, owner: str, group: str) -> None:
    """The folders that Postfix' own installation would make, each with the mode that it insists on.

    Args:
        folder: of one Postfix.
        owner: its ``mail_owner``.
        group: its ``setgid_group``.
    """
    for name in ("etc", "spool", "spool/pid"):
        make_folder(folder / name)
    private = ("data", "bounces", *(f"spool/{queue}" for queue in _QUEUES))
    for name, mode in (*((name, 0o700) for name in private), ("spool/maildrop", 0o730), ("spool/public", 0o710)):
        path = make_folder(folder / name)
        give(path, owner, group)
        path.chmod(mode)
