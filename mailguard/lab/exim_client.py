"""Exim as a client of mailguard.

No daemon runs: each command delivers in the foreground (``-odf``, ``-qff``), so that what it could not deliver is in
the queue when it returns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from mailguard.lab.exim import Exim
from mailguard.lab.folders import group_name, make_folder, user_name
from mailguard.lab.process import find_program
from mailguard.lab.queueing import SENDERS, Queueing

_CONFIGURATION = """\
exim_user = {user}
exim_group = {group}
never_users =
deliver_drop_privilege = true
primary_hostname = exim.example.net
qualify_domain = {senders}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
domainlist local_domains = {senders}
keep_environment =
host_lookup =
host_lookup_order =
local_from_check = false
log_selector = +pipelining +smtp_confirmation +tls_cipher

begin routers
bounces:
  driver = accept
  domains = +local_domains
  transport = bounces
relay:
  driver = manualroute
  route_list = * 127.0.0.1::{port}
  self = send
  transport = relay

begin transports
bounces:
  driver = appendfile
  directory = {folder}/bounces
  maildir_format
  user = {user}
relay:
  driver = smtp
  allow_localhost
  hosts_avoid_tls = {avoid_tls}
  hosts_require_tls = {require_tls}
  tls_verify_certificates =

begin retry
*  *  F,2h,1s
"""


class EximClient(Queueing):
    """One Exim before the host at ``127.0.0.1:port``.

    Args:
        folder: for its queue, bounces and logs.
        port: of the host, plain SMTP.
        tls: whether it insists on STARTTLS (no certificate is verified); else it never asks for it.

    Raises:
        LabError: it is not installed.
    """

    main_log_name = "log/mainlog"

    def __init__(self, folder: Path, port: int, *, tls: bool = False) -> None:
        self._binary = find_program(Exim.program, Exim.package)
        self.folder = make_folder(folder)
        user = user_name(Exim.user)
        for name in ("spool", "log", "bounces"):
            make_folder(folder / name, user)
        configuration = _CONFIGURATION.format(
            folder=folder,
            user=user,
            group=group_name(Exim.user),
            senders=SENDERS,
            port=port,
            avoid_tls="" if tls else "*",
            require_tls="*" if tls else "",
        )
        (folder / "exim.conf").write_text(configuration)

    @override
    def submit(self, sender: str, recipients: Sequence[str], message: bytes) -> None:
        self._exim(["-odf", "-oi", "-f", sender, "--", *recipients], message)

    @override
    def flush(self) -> None:
        self._exim(["-qff"])

    @override
    def queued(self) -> int:
        return int(self._exim(["-bpc"]))

    @override
    def busy(self) -> bool:
        """A message that could not be delivered has a ``==`` line in the log, and one that is done is not listed."""
        listed, log = re.findall(r"\S{6}-\S{6}-\S{2}(?= <)", self._exim(["-bp"])), self.main_log()
        return any(f" {message} == " not in log for message in listed)

    def _exim(self, arguments: Sequence[str], text: bytes = b"") -> str:
        return self.run([self._binary, "-C", str(self.folder / "exim.conf"), *arguments], text)
