"""Every setting of the daemon: type, unit, default, help, declared once.

``mailguard.yaml`` is read into :class:`Settings`; ``docs/reference/settings.md`` is generated from it. Unknown keys are
refused. Durations are seconds, sizes are octets; a field's unit is in its schema (``unit``). No setting is a secret:
those that have to do with one name the file that holds it (:func:`secret_file`).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from mailguard.caseless import lowered
from mailguard.model import Model
from mailguard.positions import Refusal, form, read_network

Network: TypeAlias = IPv4Network | IPv6Network
NetworkEntry: TypeAlias = Annotated[
    Network,
    PlainValidator(read_network),
    WithJsonSchema({"type": "string", "description": "an IP address or network"}),
]
_LABELS = r"([^\s@.*]{1,63}\.)*[^\s@.*]{1,63}"
HostName: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=253),
    form(_LABELS, "is no host name", "such as mx.example.com, without a dot at the end"),
    AfterValidator(lowered),
]
OwnName: TypeAlias = Annotated[
    HostName, form(r"[!-~]+", "is no name for a server", "such as mx.xn--bcher-kva.example, for SMTP has ASCII names")
]
"""A host name in ASCII: a greeting and an EHLO hold no other (RFC 5321 4.1.1.1), with SMTPUTF8 too."""
Domain: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=254),
    form(
        r"\.?" + _LABELS,
        "is no domain",
        "such as example.com, or .example.com for its subdomains; no `*`, no `@`, no dot at the end",
    ),
    AfterValidator(lowered),
]
"""``example.com``, or ``.example.com`` for its subdomains alone, as Postfix writes them."""
_HOST_PORT = r"([^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}"


def _valid_port(address: str) -> str:
    """``address``, if its port, where it has one, can be one.

    Raises:
        ValueError: it cannot.
    """
    if not address.startswith("unix:") and int(address.rpartition(":")[2]) > 65535:
        raise ValueError("a port is 65535 at the most")
    return address


def _known_port(address: str) -> str:
    """``address``, if its port, where it has one, can be connected to.

    Raises:
        ValueError: it cannot.
    """
    if not address.startswith("unix:") and int(address.rpartition(":")[2]) == 0:
        raise ValueError("nobody can be asked on port 0")
    return _valid_port(address)


SocketAddress: TypeAlias = Annotated[
    str,
    form(
        f"unix:/.+|{_HOST_PORT}",
        "is no host with a port, and no socket",
        "such as 127.0.0.1:783, [::1]:783, localhost:783 or unix:/run/clamav/clamd.ctl",
    ),
    AfterValidator(_known_port),
]
"""``127.0.0.1:783``, ``[::1]:783`` or ``unix:/run/clamav/clamd.ctl``."""
TcpAddress: TypeAlias = Annotated[
    str,
    form(_HOST_PORT, "is no address with a port", "such as 0.0.0.0:25, [::]:25 or localhost:25"),
    AfterValidator(_valid_port),
]
"""``0.0.0.0:25`` or ``[::]:25``."""
IpSocketAddress: TypeAlias = Annotated[
    str,
    form(
        r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]):\d{1,5}",
        "is no IP address with a port",
        "such as 127.0.0.1:53 or [::1]:53: a resolver's own name can't be looked up",
    ),
    AfterValidator(_known_port),
]
"""``127.0.0.1:53`` or ``[::1]:53``: a resolver's own address cannot be looked up."""

Fingerprint: TypeAlias = Annotated[
    str,
    form(
        r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}",
        "is no SHA-256",
        "64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints them",
    ),
]

SpamdUser: TypeAlias = Annotated[
    str, form(r"[!-~]{0,64}", "is no user name for spamd", "up to 64 plain characters without spaces")
]


LONGEST: Final[Mapping[str, float]] = {"s": 366 * 86400.0, "days": 3660.0}
"""What a time may be at the most, by its unit: beyond it timers and calendars overflow, in the running service."""


def setting(default: Any, help_: str, *, unit: str = "", **bounds: Any) -> Any:
    """A field with its help and unit; ``bounds`` are pydantic's (``ge``, ``le``, ...); a time has one at all events."""
    if unit in LONGEST:
        bounds.setdefault("le", LONGEST[unit])
    extra: dict[str, Any] | None = {"unit": unit} if unit else None
    if isinstance(default, list | dict):
        return Field(default_factory=default.copy, description=help_, json_schema_extra=extra, **bounds)
    return Field(default=default, description=help_, json_schema_extra=extra, **bounds)


def secret_file(help_: str) -> Any:
    """A field that names a file with a secret; the environment may name another (:func:`secret_variables`)."""
    return Field(default=None, description=help_, json_schema_extra={"secret": True})


def required(help_: str, **bounds: Any) -> Any:
    """A field without a default."""
    return Field(description=help_, **bounds)


S = TypeVar("S", bound="Section")


class Section(Model):
    """A group of settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def bare(section: S) -> S:
    """The fields of ``section``, of sections in it too, and nothing else: for who reads them at every command.

    Of pydantic's own objects each look at a field takes a call that is there for what a model lacks.
    """
    fields = {name: bare(value) if isinstance(value, Section) else value for name, value in section}
    return cast(S, SimpleNamespace(**fields))


class Listener(Section):
    """One listening address."""

    address: TcpAddress = required(
        "host and port to listen on, e.g. `0.0.0.0:25` or `[::]:25`; port 0 takes a free one"
    )
    proxy_protocol_from: list[NetworkEntry] = setting(
        [], "peers that must begin with a PROXY v1 or v2 header; from all others it is an error"
    )
    xclient_from: list[NetworkEntry] = setting(
        [], "clients that may name another one by XCLIENT (behind a PROXY header: as it names them); no others may"
    )
    starttls: bool = setting(True, "offer STARTTLS, where `tls` names a certificate")


class Tls(Section):
    """Our certificate towards clients; loaded again at SIGHUP."""

    certificate: Path | None = setting(
        None,
        "PEM file: the certificate, then those that lead to its issuer; relative to this file's folder; without one "
        "STARTTLS is not offered",
    )
    key: Path | None = secret_file(
        "PEM file: its private key, not encrypted and closed to others; empty: in the certificate's file"
    )
    minimum_version: Literal["TLSv1.2", "TLSv1.3"] = setting("TLSv1.2", "the oldest version of TLS that is spoken")
    expiry_warning: float = setting(
        14.0, "warn so long before the certificate runs out, in `check`, at start and at SIGHUP", unit="days", ge=0
    )

    def within(self, folder: Path) -> Tls:
        """The same with its paths, which are relative to ``folder``, made absolute."""
        paths = {"certificate": self.certificate, "key": self.key}
        return self.model_copy(update={name: folder / path for name, path in paths.items() if path is not None})


Extension: TypeAlias = Literal["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING"]


class Backend(Section):
    """One mail server behind mailguard."""

    address: SocketAddress = required("host and port of the mail server")
    priority: int = setting(0, "servers of a lower number are asked first, those of a higher where none is left", ge=0)
    weight: int = setting(1, "share of the mail among servers of one priority", ge=1, le=1000)
    connections: int = setting(
        200,
        "connections of each worker at the same time, our probes apart (of all: less than Exim's `smtp_accept_max`)",
        unit="connections",
        ge=1,
    )
    client_identity: Literal["proxy", "xclient", "none"] = setting(
        "proxy",
        "how the client is named to this server: by a PROXY v2 header (Exim: `hosts_proxy`), by XCLIENT (Postfix: "
        "`smtpd_authorized_xclient_hosts`), or not at all",
    )
    tls: Literal["none", "opportunistic", "required"] = setting(
        "none", "STARTTLS: never; where it works, with any certificate; or always, and no mail without it"
    )
    tls_name: HostName | None = setting(
        None, "with `tls: required`: the name in the certificate, for which authorities vouch"
    )
    tls_ca_file: Path | None = setting(
        None, "PEM file of these authorities, relative to this file's folder; empty: those of the system"
    )
    tls_fingerprints: list[Fingerprint] = setting(
        [], "with `tls: required`: SHA-256 of the certificate or of its public key, one of which it must have"
    )
    ignore_extensions: list[Extension] = setting([], "what this server offers and had better not be used")
    relay_probe: bool = setting(
        True, "refuse to use this backend if it takes a recipient of a domain that cannot exist: it is an open relay"
    )

    @model_validator(mode="after")
    def _verification_is_required(self) -> Backend:
        """A certificate that is looked at counts only where nothing goes on without it."""
        for key in ("tls_name", "tls_fingerprints"):
            if getattr(self, key) and self.tls != "required":
                raise Refusal(f"`{key}` has no use with `tls: {self.tls}`", "write `tls: required`, or remove it", key)
        if self.tls_name and self.tls_fingerprints:
            hint = "remove one of them: a fingerprint needs no authority"
            raise Refusal("a certificate is known by `tls_name` or by `tls_fingerprints`", hint, "tls_fingerprints")
        if self.tls_ca_file and not self.tls_name:
            raise Refusal("`tls_ca_file` has no use without `tls_name`", "name the server in `tls_name`", "tls_ca_file")
        return self

    def within(self, folder: Path) -> Backend:
        """The same with its path, which is relative to ``folder``, made absolute."""
        return self.model_copy(update={"tls_ca_file": folder / self.tls_ca_file} if self.tls_ca_file else {})


class Dns(Section):
    """The resolver."""

    servers: list[IpSocketAddress] = setting([], "resolvers to ask, in order; empty: those of /etc/resolv.conf")
    timeout: float = setting(2.0, "one question to one resolver, before the next is asked", unit="s", gt=0)
    attempts: int = setting(2, "questions to a resolver that stays silent", unit="questions", ge=1, le=10)
    server_retry: float = setting(30.0, "a resolver that does not answer is tried last for so long", unit="s", ge=0)
    max_questions: int = setting(
        512, "questions under way at the same time; each takes a socket at the most", unit="questions", ge=1
    )
    cache_size: int = setting(
        50_000, "answers kept at the most, and conclusions from them about clients and names", unit="answers", ge=0
    )
    max_ttl: float = setting(3600.0, "an answer is kept no longer, whatever its TTL", unit="s", ge=0)
    failure_ttl: float = setting(
        1.0, "a question that failed is not asked again for so long (RFC 9520 3.2)", unit="s", ge=0, le=300
    )
    probe_interval: float = setting(1800.0, "time between probes of a DNSBL's test points (RFC 5782 5)", unit="s", gt=0)
    ill_probe_interval: float = setting(60.0, "time between probes of a DNSBL that was found ill", unit="s", gt=0)
    probe_timeout: float = setting(10.0, "one probe of a DNSBL, all its test points", unit="s", gt=0)
    ask_about_private_clients: bool = setting(False, "ask DNSBLs about private and reserved client addresses too")


class Clamav(Section):
    """clamd."""

    address: SocketAddress | None = setting(
        None, "clamd's socket; without one nothing is scanned and `virus.*` is unknown"
    )
    timeout: float = setting(30.0, "one scan, connecting included", unit="s", gt=0)
    connections: int = setting(
        8, "scans of each worker at the same time; those beyond clamd's MaxThreads wait there", unit="scans", ge=1
    )


class Spamassassin(Section):
    """spamd."""

    address: SocketAddress | None = setting(
        None, "spamd's socket; without one nothing is scored and `spam.*` is unknown"
    )
    timeout: float = setting(40.0, "one scoring, waiting for a free child included", unit="s", gt=0)
    connections: int = setting(
        5,
        "scorings of each worker at the same time; those beyond spamd's --max-children wait there",
        unit="scans",
        ge=1,
    )
    max_size: int = setting(512 * 1024, "of a longer body the first octets are scored", unit="octets", ge=1024)
    user: SpamdUser = setting("", "user name sent to spamd; empty: none")
    rule_dirs: list[Path] = setting(
        [], "spamd's live rule folders, where readable: the tainted rules are derived from them afresh"
    )
    rules_interval: float = setting(60.0, "time between looks into `rule_dirs` for changed rules", unit="s", gt=0)


class Limits(Section):
    """Bounds of time, size and number (smtp.md)."""

    max_message_size: int = setting(50 * 1024 * 1024, "message, offered as SIZE", unit="octets", ge=65536)
    max_message_memory: int = setting(
        1024 * 1024, "of one message in memory, before it goes to a file", unit="octets", ge=0
    )
    min_spool_free: int = setting(
        64 * 1024 * 1024,
        "left free on the file system of `spool_dir`; a message that would take of it is deferred; 0: none",
        unit="octets",
        ge=0,
    )
    max_command_line: int = setting(2048, "command line, CR LF included", unit="octets", ge=512)
    max_data_line: int = setting(65536, "line of content, CR LF included", unit="octets", ge=1000)
    max_recipients: int = setting(
        100, "recipients in one transaction, offered as RCPTMAX", unit="recipients", ge=100, le=999_999
    )
    max_messages: int = setting(
        1000, "messages in one session, offered as MAILMAX, before 421", unit="messages", ge=1, le=999_999
    )
    max_header_size: int = setting(
        1024 * 1024,
        "header section of a message, the empty line behind it not counted; Exim's `header_maxsize`",
        unit="octets",
        ge=65536,
    )
    max_received: int = setting(100, "Received lines; more is a loop", unit="lines", ge=30)
    max_errors: int = setting(10, "errors before 421", unit="errors", ge=1)
    max_commands_without_mail: int = setting(
        100,
        "commands before 421, but RCPTs that were taken, since the last message that arrived whole",
        unit="commands",
        ge=10,
    )
    max_connections: int = setting(1000, "connections at the same time", unit="connections", ge=1)
    max_connections_per_client: int = setting(
        50, "connections of one client (IPv4 /32, IPv6 /64)", unit="connections", ge=1
    )
    reserved_share: float = setting(
        5.0,
        "of `max_connections`, kept for `own_relays` and for this machine itself (loopback)",
        unit="%",
        ge=0,
        le=50,
    )
    max_loop_lag: float = setting(
        1.0,
        "how late the event loop may be for `overload_after` on end, before strangers get 421; 0: as late as it likes",
        unit="s",
        ge=0,
    )
    overload_after: float = setting(2.0, "lag over `max_loop_lag` is borne for so long", unit="s", ge=0)
    overload_recovery: float = setting(
        5.0, "less than half of `max_loop_lag` for so long, before strangers are let in again", unit="s", ge=0
    )
    lag_interval: float = setting(0.25, "between two measurements of the event loop's lag", unit="s", gt=0, le=10)
    max_refusals_recorded: int = setting(
        300,
        "refusals of one kind, of commands and of connections before policy is asked, in log and journal in a minute, "
        "of one process; of the rest the log tells how many there were",
        unit="refusals",
        ge=1,
    )
    greeting_wait: float = setting(
        3.0, "wait before the greeting, where the policy asks about early talkers; 0: never", unit="s", ge=0, le=6
    )
    envelope_deadline: float = setting(
        5.0, "each question about client and envelope, from when it can be asked: connect, EHLO, MAIL", unit="s", gt=0
    )
    proxy_header_timeout: float = setting(
        5.0, "waiting for the PROXY header of a peer that must send one", unit="s", gt=0
    )
    tls_handshake_timeout: float = setting(30.0, "a TLS handshake, from our reply to STARTTLS", unit="s", gt=0)
    command_timeout: float = setting(300.0, "waiting for a command", unit="s", gt=0)
    session_timeout: float = setting(1800.0, "a session outside content", unit="s", gt=0)
    data_timeout: float = setting(180.0, "between two chunks of content", unit="s", gt=0)
    min_data_rate: int = setting(500, "content after the grace", unit="octets/s", ge=0)
    min_data_rate_grace: float = setting(30.0, "content without a minimum rate", unit="s", ge=0)
    close_timeout: float = setting(
        5.0, "for the last reply to reach the client, before the connection is cut", unit="s", gt=0
    )
    scan_deadline: float = setting(45.0, "all scanners together", unit="s", gt=0)
    backend_connect_timeout: float = setting(
        10.0, "connecting to a backend; of our own probes its greeting too", unit="s", gt=0
    )
    backend_reply_timeout: float = setting(60.0, "one reply of a backend", unit="s", gt=0)
    backend_final_timeout: float = setting(600.0, "a backend's reply to the content", unit="s", gt=0)
    backend_retry: float = setting(
        30.0, "a dead backend is left alone before mail tries it again; also between probes", unit="s", gt=0
    )
    backend_idle_timeout: float = setting(
        15.0, "a client silent in a transaction; the backend is let go, and told again when it goes on", unit="s", gt=0
    )
    backend_reuse_timeout: float = setting(
        5.0,
        "an unused connection to a backend waits for its next message, where `client_identity` is none; 0: never",
        unit="s",
        ge=0,
    )
    max_messages_per_backend_connection: int = setting(
        10, "messages of one such connection (Exim's `smtp_accept_queue_per_connection`)", unit="messages", ge=1
    )
    max_backend_connections_per_client: int = setting(
        20, "connections to backends for one client (IPv4 /32, IPv6 /64)", unit="connections", ge=1
    )
    backend_failures: int = setting(3, "failures in a row after which a backend counts as dead", unit="failures", ge=1)
    policy_timeout: float = setting(
        60.0, "loading the policy, and the certificate, again, at SIGHUP; after that the old one stays", unit="s", gt=0
    )
    drain_timeout: float = setting(60.0, "sessions in the middle of a message, at shutdown", unit="s", ge=0)

    @property
    def reserve(self) -> int:
        """Connections that strangers cannot have."""
        return int(self.max_connections * self.reserved_share / 100)


class Admin(Section):
    """The metrics and health endpoint."""

    address: TcpAddress = setting(
        "127.0.0.1:9625",
        "host and port of /metrics, /healthz (200 while the process answers) and /readyz (503, with reasons, while "
        "clients should go elsewhere); port 0 takes a free one",
    )


class Processes(Section):
    """The supervisor and the processes that it keeps."""

    control_group: str | None = setting(
        None, "group that may use the control socket beside the user that mailguard runs as, and root", min_length=1
    )
    own_cores: bool = setting(
        True,
        "where there are as many workers as cores, each keeps to one; no: the kernel moves them, as is better where "
        "other busy programs are bound to the same cores",
    )
    start_timeout: float = setting(
        60.0, "for a process to get ready: reading settings and policy, asking each backend", unit="s", gt=0
    )
    bind_timeout: float = setting(
        30.0,
        "at the start, for workers of a service whose supervisor was killed to give back the addresses that they "
        "listen on; without such a service an address in use ends the start at once",
        unit="s",
        ge=0,
    )
    heartbeat_interval: float = setting(1.0, "between two signs of life of a process", unit="s", gt=0)
    heartbeat_timeout: float = setting(
        30.0, "without a sign of life, before a process is killed and replaced", unit="s", gt=0
    )
    restart_delay: float = setting(0.2, "before a process that died is replaced; doubled each time", unit="s", gt=0)
    max_restart_delay: float = setting(30.0, "before a process that died is replaced, at the most", unit="s", gt=0)
    healthy_after: float = setting(
        60.0, "after which a process that lives counts as healthy, so that the delay begins anew", unit="s", gt=0
    )
    stop_grace: float = setting(
        5.0, "for a process to end, behind `drain_timeout` and `close_timeout`, before it is killed", unit="s", gt=0
    )
    generation_drain_timeout: float = setting(
        1800.0, "for sessions of workers that a new generation replaces, to end what they are in", unit="s", ge=0
    )
    watch_interval: float = setting(
        0.0,
        "between looks at the policy's files, which are loaded when they have changed and then stayed the same for two "
        "looks; 0: they are loaded when mailguard is told to",
        unit="s",
        ge=0,
    )
    control_timeout: float = setting(5.0, "for a command to be said on the control socket", unit="s", gt=0)
    max_observe: float = setting(7.0, "the longest time that `mailguard observe --for` takes", unit="days", gt=0)


class Log(Section):
    """The log."""

    format: Literal["json", "logfmt"] = setting("logfmt", "one line an event in this format")
    level: Literal["debug", "info", "warning", "error"] = setting("info", "the least severity that is logged")
    syslog: Path | None = setting(
        None, "socket of a syslog daemon, `/dev/log`: lines go there (facility mail) and not to standard output"
    )

    def within(self, folder: Path) -> Log:
        """The same with its path, which is relative to ``folder``, made absolute."""
        return self.model_copy(update={"syslog": folder / self.syslog} if self.syslog else {})


class Journal(Section):
    """The journal: a record of each message and each refusal."""

    directory: Path | None = setting(
        None,
        "folder of the journal, made where it is missing; relative to this file's folder; empty: no journal is kept",
    )
    sync: Literal["never", "interval", "always"] = setting(
        "interval",
        "when records are forced onto the disk: when the system likes, once in `sync_interval`, or behind every write; "
        "what was not is lost with the machine's power, never with the process",
    )
    sync_interval: float = setting(1.0, "between two syncs, with `sync: interval`", unit="s", gt=0)
    queue_size: int = setting(
        16 * 1024 * 1024, "records that wait to be written; what comes on top is lost", unit="octets", ge=65536
    )
    retry: float = setting(10.0, "after a write that failed, before the next is tried", unit="s", gt=0)
    close_timeout: float = setting(5.0, "for what waits to be written, at the end", unit="s", gt=0)
    segment_size: int = setting(
        32 * 1024 * 1024,
        "of one file, before it is compressed and another is begun",
        unit="octets",
        ge=4096,
        le=1 << 30,
    )
    segment_age: float = setting(3600.0, "of one file, before it is compressed and another is begun", unit="s", gt=0)
    max_age: float = setting(30.0, "records are kept for so long", unit="days", gt=0)
    max_size: int = setting(
        10 * 1024 * 1024 * 1024, "all files together; the oldest go first", unit="octets", ge=1024 * 1024
    )
    pseudonymise: list[Literal["client", "sender", "recipient"]] = setting(
        [], "whose addresses are written as keyed hashes: `client`, `sender`, `recipient`"
    )
    pseudonym_key: Path | None = secret_file(
        "file with the key of these hashes, 32 octets or more, closed to others; blanks at its ends are left out, but "
        "for a binary key that is too short without them; relative to this file's folder"
    )

    @model_validator(mode="after")
    def _with_a_key(self) -> Journal:
        if self.pseudonymise and self.pseudonym_key is None:
            hint = "make one by `openssl rand -hex 32 > FILE; chmod 640 FILE`, and name it in `pseudonym_key`"
            raise Refusal("`pseudonymise` needs a key", hint, "pseudonymise")
        return self

    def within(self, folder: Path) -> Journal:
        """The same with absolute paths, relative ones being in ``folder``."""
        paths = {"directory": self.directory, "pseudonym_key": self.pseudonym_key}
        return self.model_copy(update={name: folder / path for name, path in paths.items() if path is not None})


class Doctor(Section):
    """What `mailguard doctor` expects."""

    timeout: float = setting(60.0, "the examination of one part, all that it waits for", unit="s", gt=0)
    max_signature_age: float = setting(3.0, "clamd's signatures, before it warns", unit="days", gt=0)
    max_recipients_asked: int = setting(
        20, "relay domains whose postmaster each backend is asked about, the first ones", unit="domains", ge=1, le=100
    )


class Settings(Section):
    """All of mailguard.yaml."""

    hostname: OwnName = required("our name: in the greeting, in Received, and as authserv-id")
    relay_domains: list[Domain] = required("domains that we take mail for; any other recipient is 550", min_length=1)
    listen: list[Listener] = required("where to listen", min_length=1)
    backends: list[Backend] = required(
        "mail servers behind us; `priority` and `weight` say who is asked first", min_length=1
    )
    policy: Path = required("the policy file; relative to this file's folder")
    own_relays: list[NetworkEntry] = setting([], "our backup MX and forwarders: no question is asked about them")
    bare_line_ends: Literal["normalize", "refuse"] = setting(
        "normalize", "a bare CR or LF in content is made CR LF, or refused with 550"
    )
    spool_dir: Path | None = setting(
        None, "where messages over `max_message_memory` lie; empty: the system's temporary folder"
    )
    run_dir: Path = setting(
        Path("/run/mailguard"), "folder of the control socket and of the metrics, made where it is missing; on a tmpfs"
    )
    user: str | None = setting(
        None, "user that mailguard becomes once it listens, where it is started as root; empty: it stays", min_length=1
    )
    workers: int | None = setting(
        None, "processes that serve clients; empty: one for each core", unit="processes", ge=1, le=256
    )
    dns: Dns = setting(Dns(), "the resolver")
    tls: Tls = setting(Tls(), "our certificate towards clients")
    clamav: Clamav = setting(Clamav(), "clamd")
    spamassassin: Spamassassin = setting(Spamassassin(), "spamd")
    limits: Limits = setting(Limits(), "bounds of time, size and number")
    admin: Admin = setting(Admin(), "metrics and health")
    processes: Processes = setting(Processes(), "the supervisor and the processes that it keeps")
    log: Log = setting(Log(), "the log")
    journal: Journal = setting(Journal(), "the journal")
    doctor: Doctor = setting(Doctor(), "what `mailguard doctor` expects")


VARIABLE: Final = "MAILGUARD_"
"""How the names of environment variables begin that name files; they end in ``_FILE``."""


def secret_variables(model: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """The environment variables that name files of secrets, each with the path of the setting that it stands for.

    ``MAILGUARD_JOURNAL_PSEUDONYM_KEY_FILE`` is ``journal.pseudonym_key``. A secret itself stands neither in the
    settings nor in the environment, where every child process and many a bug report would have it.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, field in model.model_fields.items():
        here = (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= secret_variables(field.annotation, here)
        elif isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret"):
            found[VARIABLE + "_".join(here).upper() + "_FILE"] = here
    return found


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a :data:`TcpAddress`, brackets removed."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
