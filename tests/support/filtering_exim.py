"""An Exim that filters by itself, as it does before there is a mailguard: ACLs, clamd, spamd, lists.

It asks DNS as any program does: by ``/etc/resolv.conf`` and port 53. So it runs in a mount namespace of its own in
which that file names a resolver of ours; what this wants of the machine, :func:`impossible` tells.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from typing_extensions import override

from mailguard.lab import world
from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import Exim
from mailguard.lab.folders import group_name
from mailguard.lab.spamd import Spamd

RESOLVER = "127.0.0.1"
OWN_HOSTS = ("198.18.1.200", "198.18.66.6")
"""Hosts that may relay."""

_BOUND = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'

_CONFIGURATION = """\
CONFDIR = {folder}
exim_user = {user}
exim_group = {group}
never_users =
deliver_drop_privilege = true
primary_hostname = {name}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {proxy_port}
hosts_proxy = ${{if eq{{$received_port}}{{{proxy_port}}}{{127.0.0.1}}{{}}}}
domainlist local_domains = {local}
domainlist relay_to_domains = {relayed}
hostlist relay_from_hosts = {own_hosts}
keep_environment =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
smtp_accept_max = 0
av_scanner = clamd:{clamd}
spamd_address = {spamd}
acl_smtp_connect = acl_check_connect
acl_smtp_rcpt = acl_check_rcpt
acl_smtp_mime = acl_check_mime
acl_smtp_data = acl_check_data

begin acl
{acls}
begin routers
next_server:
  driver = manualroute
  domains = +relay_to_domains
  route_list = * 127.0.0.1::{next_port}
  self = send
  transport = next_server
elsewhere:
  driver = dnslookup
  domains = !+local_domains
  transport = elsewhere
  no_more
{routers}
inbox:
  driver = accept
  domains = +local_domains
  local_parts = lsearch,ret=key;CONFDIR/users
  transport = inbox
  cannot_route_message = Unknown user

begin transports
next_server:
  driver = smtp
  allow_localhost
elsewhere:
  driver = smtp
inbox:
  driver = appendfile
  directory = {mail}/$local_part_data/Maildir
  maildir_format
  create_directory
  user = {user}
junk:
  driver = appendfile
  directory = {mail}/$local_part_data/Maildir/.Junk
  maildir_format
  create_directory
  user = {user}

begin retry
*  *  F,2h,1m
"""


def impossible() -> str:
    """Why such an Exim cannot run here; empty where it can."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "it wants root and unshare"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "no mount namespace is to be had"
    for address, port in (("198.18.1.1", 0), (RESOLVER, 53)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                return f"{address}:{port}: {error} (tests/in_namespace.sh)"
    return ""


class FilteringExim(Exim):
    """One Exim with ACLs of its own for ``example.com``; mail for ``test.invalid`` goes on to ``next_server``.

    Args:
        folder: as for :class:`Exim`; also ``CONFDIR`` of the ACLs, where ``files`` are put.
        acls: all of them: ``acl_check_connect``, ``acl_check_rcpt``, ``acl_check_mime``, ``acl_check_data``.
        routers: stand before the inbox.
        files: contents by name.
        clamd: what scans.
        spamd: what scores.
        next_server: where ``test.invalid`` is.
    """

    def __init__(
        self,
        folder: Path,
        acls: str,
        routers: str,
        files: Iterable[tuple[str, str]],
        *,
        clamd: Clamd,
        spamd: Spamd,
        next_server: Exim,
    ) -> None:
        super().__init__(folder)
        for name, text in files:
            (folder / name).write_text(text)
        (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        local, relayed = world.DOMAINS
        configuration = _CONFIGURATION.format(
            folder=folder,
            user=self.run_as,
            group=group_name(self.user),
            name=world.MAILGUARD_NAME,
            port=self.port,
            proxy_port=self.proxy_port,
            local=local,
            relayed=relayed,
            own_hosts=" : ".join(OWN_HOSTS),
            clamd=clamd.tcp_address.replace(":", " "),
            spamd=spamd.address.replace(":", " "),
            acls=acls,
            routers=routers,
            mail=self.mail,
            next_port=next_server.port,
        )
        (folder / "exim.conf").write_text(configuration)

    @override
    def command(self) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", _BOUND, str(self.folder / "resolv.conf"), *super().command()]
