"""What this machine says against settings that are well written: files that cannot be used, addresses that clash.

Asked by ``mailguard check`` and at every start, as the user who runs them. Nothing is left behind: the spool folder
gets a file without a name, no address is listened on. Blocking: host names are looked up by the system.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Collection, Iterator
from pathlib import Path as FilePath

from mailguard.config import Admin, Listener, Settings
from mailguard.dns.servers import Server, system_servers
from mailguard.journal.folder import why_unusable as why_no_journal
from mailguard.journal.key import BadKey, pseudonyms_for
from mailguard.net.authorities import BadAuthorities, load_authorities
from mailguard.net.certificates import BadCertificate, load_credentials
from mailguard.net.local import Bindable, look_up
from mailguard.positions import Document, Path, Problem
from mailguard.spool import Folder, why_unusable


def problems_here(document: Document, settings: Settings) -> list[Problem]:
    """All that is wrong on this machine with ``settings``, which were read from ``document``."""
    listening: dict[str, Bindable] = {}
    return [
        *_policy(document, settings),
        *_certificate(document, settings),
        *_spool_folder(document, settings),
        *_journal(document, settings),
        *_rule_folders(document, settings),
        *_resolvers(document, settings),
        *_listening(document, settings, listening),
        *_authorities(document, settings),
        *_backends(document, settings, listening.values()),
    ]


def _policy(document: Document, settings: Settings) -> Iterator[Problem]:
    """A policy that is not there; what is wrong in one that is, is told when it is loaded."""
    path = FilePath(document.text.file).parent / settings.policy
    try:
        path.stat()
    except OSError as error:
        hint = "it is relative to this file's folder; to begin with, copy policies/default.yaml there"
        yield document.problem(("policy",), f"the policy {path} cannot be read: {(error.strerror or '').lower()}", hint)
    except ValueError:
        yield document.problem(("policy",), "this cannot be the name of a file", "name the policy, as in policy.yaml")


def _certificate(document: Document, settings: Settings) -> Iterator[Problem]:
    """A certificate or a key that cannot be used; one whose time is over can, and is for ``mailguard check``."""
    if settings.tls.key is not None and settings.tls.certificate is None:
        yield document.problem(("tls", "key"), "this key has no certificate", "name it in `tls.certificate`")
        return
    try:
        load_credentials(settings.tls.within(FilePath(document.text.file).parent))
    except BadCertificate as bad:
        yield document.problem(("tls", bad.setting), bad.message, bad.hint)


def _spool_folder(document: Document, settings: Settings) -> Iterator[Problem]:
    """That it is nearly full passes, and /readyz says so meanwhile; that its file system is too small does not."""
    if why := why_unusable(Folder(settings.spool_dir)):
        hint = "it must be a folder in which the user that runs mailguard, as this check does, may make files"
        yield document.problem(("spool_dir",), f"no message can be kept in this folder: {why}", hint)
    elif Folder(settings.spool_dir, settings.limits.min_spool_free).too_small():
        message = "the file system of `spool_dir` is not larger than this, so that no long message could ever be kept"
        hint = "name a folder on a larger one in `spool_dir`, or let less stay free"
        yield document.problem(("limits", "min_spool_free"), message, hint)


def _journal(document: Document, settings: Settings) -> Iterator[Problem]:
    """``settings.journal`` has its paths as they are written: they are relative to the file's folder."""
    folder = FilePath(document.text.file).parent.absolute()
    journal = settings.journal.within(folder)
    if journal.directory is not None and (why := why_no_journal(journal.directory)):
        hint = "it must be a folder, or be made in one, in which the user that runs mailguard may make files"
        yield document.problem(("journal", "directory"), f"no journal can be kept in {journal.directory}: {why}", hint)
    try:
        pseudonyms_for(journal)
    except BadKey as error:
        hint = "make one by `openssl rand -hex 32 > FILE; chmod 640 FILE`"
        yield document.problem(("journal", "pseudonym_key"), f"this key cannot be used: {error}", hint)


def _rule_folders(document: Document, settings: Settings) -> Iterator[Problem]:
    for number, folder in enumerate(settings.spamassassin.rule_dirs):
        if not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
            message = f"{folder} is no folder that can be read"
            hint = "name folders of spamd's rules, as `spamassassin -D` lists them, or leave `rule_dirs` out"
            yield document.problem(("spamassassin", "rule_dirs", number), message, hint)


def _resolvers(document: Document, settings: Settings) -> Iterator[Problem]:
    servers = settings.dns.servers
    for number, server in enumerate(servers):
        try:
            Server.parse(server)
        except ValueError as error:
            yield document.problem(("dns", "servers", number), str(error))
    try:
        if not servers:
            system_servers()
    except ValueError as error:
        yield document.problem(("dns", "servers"), f"there is no resolver to ask: {error}", "name one in `dns.servers`")


def _listening(document: Document, settings: Settings, listening: dict[str, Bindable]) -> Iterator[Problem]:
    """Addresses that are no host's, or listened on twice; the others are added to ``listening`` under their setting."""
    listeners = [(f"entry {i + 1} of `listen`", ("listen", i, "address"), one) for i, one in enumerate(settings.listen)]
    wanted: list[tuple[str, Path, Listener | Admin]] = [
        ("`admin.address`", ("admin", "address"), settings.admin),
        *listeners,
    ]
    for name, path, one in wanted:
        try:
            here = look_up(one.address)
        except OSError as error:
            message = f"{one.address} cannot be listened on: {str(error.strerror or error).lower()}"
            yield document.problem(path, message, "write an address of this machine, or 0.0.0.0 or [::] for all")
            continue
        if taken := next((other for other, there in listening.items() if here.meets(there)), ""):
            message = f"{one.address} is listened on already by {taken}"
            yield document.problem(path, message, "each address and port once; 0.0.0.0 and [::] are all of their kind")
        listening[name] = here


def _authorities(document: Document, settings: Settings) -> Iterator[Problem]:
    """Files of authorities that cannot be used."""
    for number, backend in enumerate(settings.backends):
        try:
            if (path := backend.within(FilePath(document.text.file).parent).tls_ca_file) is not None:
                load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), path)
        except BadAuthorities as bad:
            hint = "a PEM file with the certificates of those who vouch for the server; empty: those of the system"
            yield document.problem(("backends", number, "tls_ca_file"), str(bad), hint)


def _backends(document: Document, settings: Settings, listening: Collection[Bindable]) -> Iterator[Problem]:
    """Backends that are mailguard itself: mail would run in a circle until its Received lines are too many."""
    ports = {here.port for here in listening}
    for number, backend in enumerate(settings.backends):
        if backend.address.startswith("unix:") or int(backend.address.rpartition(":")[2]) not in ports:
            continue
        try:
            there = look_up(backend.address)
        except OSError:
            continue  # it may be known later, and until then it counts as dead
        if any(here.answers(there) for here in listening):
            message = f"{backend.address} is mailguard itself, which listens there"
            yield document.problem(("backends", number, "address"), message, "name the mail server behind mailguard")
