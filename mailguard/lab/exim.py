"""Exim as the mail store behind mailguard: Maildir, filing by the very files of ``deploy/exim``; PROXY or plain.

The configuration is our own and private: nothing of ``/etc/exim4`` is read. Exim has the last word on a message, so the
tests and the demo look for it where Exim put it (:meth:`Exim.find`).

``host_lookup_order`` is empty: Exim looks a proxied client's name up before its greeting whatever ``host_lookup`` says;
the laboratory asks nobody outside.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from mailguard.lab import world
from mailguard.lab.folders import free_port, give, greets, group_name, make_folder, shipped
from mailguard.lab.server import Server

INBOX = "INBOX"

_MAIN = """\
MAILGUARD_PORT = {proxy_port}
MAILGUARD_DOMAINS = +local_domains
MAILGUARD_MAILBOXES = local_parts = lsearch,ret=key;{folder}/users
MAILGUARD_PROFILES = {folder}/profiles
MAILGUARD_MAILDIR = {mail}/$local_part_data/Maildir
MAILGUARD_WRITTEN_AS = user = {user}
{macros}
{limits}
.include {folder}/deploy/main.conf
{lmtp}
exim_user = {user}
exim_group = {group}
never_users =
deliver_drop_privilege = true
primary_hostname = {name}
qualify_domain = {domain}
recipient_unqualified_hosts = 127.0.0.0/8
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {proxy_port}
domainlist local_domains = {domains}
hostlist relay_hosts = {relay_hosts}
keep_environment =
host_lookup =
host_lookup_order =
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
{tls}
allow_domain_literals
log_selector = +proxy +incoming_port +received_recipients +smtp_confirmation +pid +8bitmime
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = acl_data
"""

_DEFAULT_LIMITS = "MAILGUARD_CONNECTIONS = 20"
"""Exim's own defaults: 20 connections, and 10 messages of one connection before the rest waits for a queue runner."""

_NO_TLS = "tls_advertise_hosts ="
_TLS = """\
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem"""

_AMPLE_LIMITS = """\
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0"""

_QUEUE_ONLY = """\
queue_only
split_spool_directory"""

_ACL = """\
begin acl
acl_rcpt:
  accept  hosts = +relay_hosts
          domains = !+local_domains
  accept  domains = +local_domains
          verify = recipient
  deny    domains = +local_domains
          message = Unknown user
  deny    message = relay not permitted
acl_data:
  warn    add_header = X-Exim-Saw: host=$sender_host_address port=$sender_host_port \\
                       helo=$sender_helo_name proxy=$proxy_session
  accept
"""

_ALIASES_ROUTER = """\
aliases:
  driver = redirect
  domains = +local_domains
  data = ${{lookup{{$local_part@$domain}}lsearch{{{folder}/aliases}}}}
"""

_INBOX_ROUTER = """\
inbox:
  driver = accept
  domains = +local_domains
  MAILGUARD_MAILBOXES
  transport = inbox
  cannot_route_message = Unknown user
"""

_INBOX_TRANSPORT = """\
inbox:
  driver = appendfile
  directory = MAILGUARD_MAILDIR
  maildir_format
  create_directory
  delivery_date_add
  envelope_to_add
  return_path_add
  MAILGUARD_WRITTEN_AS
"""

_LMTP = """\
MAILGUARD_LMTP_SOCKET = {socket}
MAILGUARD_LMTP_USER = {user}
.include {folder}/deploy/exim-main.conf"""

_RETRY = "begin retry\n*  *  F,2h,1m\n"


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message in a mailbox: whose, the folder (``INBOX`` or a name), and the file."""

    user: str
    folder: str
    path: Path

    def read(self) -> bytes:
        """The message as Exim stored it: line ends are LF, Exim's own header lines on top."""
        return self.path.read_bytes()


class Exim(Server):
    """One Exim.

    Args:
        folder: for its spool, mail and logs.
        default_limits: keep Exim's own limits of connections and messages instead of ample ones.
        relay_hosts: hosts that may relay; Debian's own default is loopback, which a PROXY header hides from it.
        junk_router: whether the router of ``deploy/exim`` that files is part of the configuration.
        users: local parts that have a mailbox.
        aliases: addresses of ours that are others', each with a line of addresses.
        macros: lines of macros before the parts of ``deploy``.
        lmtp: Dovecot's socket, where the mailboxes are not Exim's own but Dovecot's (``deploy/dovecot``).
        certificate: PEM files of a certificate and its key, which are copied; without them there is no STARTTLS.
        queue_only: take messages without delivering them, which is most of Exim's work, until :meth:`run_queue`.
    """

    program, package, user = "exim4", "exim4-daemon-heavy", "Debian-exim"

    def __init__(
        self,
        folder: Path,
        *,
        default_limits: bool = False,
        relay_hosts: str = "127.0.0.1 : ::1",
        junk_router: bool = True,
        users: Iterable[str] = world.USERS,
        aliases: Mapping[str, str] | None = None,
        macros: Iterable[str] = (),
        lmtp: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        queue_only: bool = False,
    ) -> None:
        super().__init__(folder)
        self._queue_only = queue_only
        self.users = tuple(users)
        self.port, self.proxy_port = free_port(), free_port()
        self.mail = make_folder(folder / "mail", self.run_as)
        for name in ("spool", "log"):
            make_folder(folder / name, self.run_as)
        self.profiles = folder / "profiles"
        """Where it looks profiles up, if there is such a file."""
        (folder / "aliases").write_text("".join(f"{alias}: {line}\n" for alias, line in (aliases or {}).items()))
        (folder / "users").write_text("".join(f"{user}:\n" for user in self.users))
        deployed = make_folder(folder / "deploy")
        for part in (*shipped("deploy/exim").glob("*.conf"), *shipped("deploy/dovecot").glob("exim-*.conf")):
            shutil.copy(part, deployed)
        tls = self._own_certificate(*certificate) if certificate else _NO_TLS
        macros = [*macros, _QUEUE_ONLY] if queue_only else macros
        main = self._main_part(default_limits, relay_hosts, lmtp, tls, macros)
        deliveries = self._own_mailboxes(junk_router) if lmtp is None else self._dovecots_mailboxes()
        configuration = folder / "exim.conf"
        configuration.write_text(main + _ACL + deliveries + _RETRY)
        configuration.chmod(0o644)

    @property
    @override
    def address(self) -> str:
        """The port that wants a PROXY header."""
        return f"127.0.0.1:{self.proxy_port}"

    @property
    def plain_address(self) -> str:
        """The port that takes none."""
        return f"127.0.0.1:{self.port}"

    @override
    def command(self) -> list[str]:
        runner = [] if self._queue_only else ["-q5s"]
        return [*self._exim, "-bdf", *runner]

    @override
    def answers(self) -> bool:
        """Whether it greets."""
        return greets(("127.0.0.1", self.port), b"220 ", b"QUIT\r\n")

    @property
    def _exim(self) -> list[str]:
        return [self.binary, "-C", str(self.folder / "exim.conf")]

    @property
    def queued(self) -> int:
        """How many messages are in its queue."""
        return sum(1 for _ in (self.folder / "spool" / "input").rglob("*-[HJ]"))

    def run_queue(self, timeout: float, runners: int = 2) -> None:
        """Deliver what is in the queue; ``runners``: processes that do so side by side.

        Raises:
            subprocess.TimeoutExpired: they have not ended within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        running = [
            subprocess.Popen([*self._exim, "-q"])  # noqa: S603  its own binary
            for _ in range(runners)
        ]
        try:
            for runner in running:
                runner.wait(max(deadline - time.monotonic(), 0))
        finally:
            for runner in running:
                runner.kill()
                runner.wait()

    def mailbox(self, user: str) -> Iterator[Delivered]:
        """Every message delivered to ``user``, in all folders."""
        root = self.mail / user / "Maildir"
        for path in sorted([*root.glob("new/*"), *root.glob(".*/new/*")]):
            folder = path.parent.parent.name
            yield Delivered(user, INBOX if folder == "Maildir" else folder[1:], path)

    def find(self, message_id: str, timeout: float = 0.0) -> list[Delivered]:
        """Where the message with this Message-ID field (angle brackets included) was delivered, in all mailboxes.

        Waits up to ``timeout`` seconds for a first one; empty when there is none.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = [mail for user in self.users for mail in self.mailbox(user) if _has_id(mail.path, message_id)]
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(0.05)

    def main_log(self) -> str:
        """Exim's main log so far."""
        path = self.folder / "log" / "mainlog"
        return path.read_text(errors="replace") if path.exists() else ""

    def _own_certificate(self, certificate: Path, key: Path) -> str:
        """The lines that make it offer STARTTLS, with copies that it may read."""
        for source, name in ((certificate, "certificate.pem"), (key, "key.pem")):
            copied = Path(shutil.copyfile(source, self.folder / name))
            copied.chmod(0o600)
            give(copied, self.run_as)
        return _TLS.format(folder=self.folder)

    def _main_part(
        self, default_limits: bool, relay_hosts: str, lmtp: Path | None, tls: str, macros: Iterable[str]
    ) -> str:
        return _MAIN.format(
            macros="\n".join(macros),
            tls=tls,
            limits=_DEFAULT_LIMITS if default_limits else _AMPLE_LIMITS,
            lmtp=_LMTP.format(socket=lmtp, user=self.run_as, folder=self.folder) if lmtp else "",
            user=self.run_as,
            group=group_name(self.user),
            name=world.EXIM_NAME,
            domain=world.DOMAINS[0],
            domains=" : ".join(world.DOMAINS),
            relay_hosts=relay_hosts,
            folder=self.folder,
            mail=self.mail,
            port=self.port,
            proxy_port=self.proxy_port,
        )

    def _own_mailboxes(self, junk_router: bool) -> str:
        router = self._include("routers.conf") if junk_router else ""
        routers = self._begin_routers() + router + _INBOX_ROUTER
        return routers + "begin transports\n" + self._include("transports.conf") + _INBOX_TRANSPORT

    def _begin_routers(self) -> str:
        return "begin routers\n" + _ALIASES_ROUTER.format(folder=self.folder)

    def _dovecots_mailboxes(self) -> str:
        routers = self._begin_routers() + self._include("exim-routers.conf")
        return routers + "begin transports\n" + self._include("exim-transports.conf")

    def _include(self, part: str) -> str:
        return f".include {self.folder}/deploy/{part}\n"


def _has_id(path: Path, message_id: str) -> bool:
    try:
        head = path.read_bytes().partition(b"\n\n")[0]
    except FileNotFoundError:
        return False  # moved by a reader meanwhile
    return any(
        line[:11].lower() == b"message-id:" and line[11:].strip() == message_id.encode() for line in head.split(b"\n")
    )
