"""The processes that speak SMTP in a run: the sink, mailguard in several shapes, the stock and the bare filter.

Those that others wrote are in :mod:`tests.bench.real_peers`; :mod:`tests.bench.world` starts all. mailguard is
``mailguard serve`` with a configuration file, everything at its default but what is said here, and with the policy that
it ships, made smaller where it is compared with peers: no rule about content, as no scanner runs (SpamAssassin's own
time would drown all else), and none of ``weights``, which would have it ask about EHLO names and sender domains. The
client's reverse name it asks for all the same, to put it into Received; the peers do not.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from mailguard.config import Limits
from mailguard.lab import world
from mailguard.lab.folders import free_port, shipped
from mailguard.lab.server import Server
from mailguard.lab.settings import DEFAULT_POLICY
from tests.bench.loads import LISTED

LISTS = {
    world.ZEN: {"ip4set": f"{world.ZEN_IP4}{LISTED} :127.0.0.4:XBL $\n", "ip6trie": world.ZEN_IP6},
    world.SPAMCOP: {"ip4set": f"{world.SPAMCOP_IP4}{LISTED}\n"},
    world.DNSWL: world.LISTS[world.DNSWL],
}
"""The default policy's three lists: with every client of ``LISTED`` on the two black ones."""

_PATIENCE = 0.5


class Subject(Server):
    """A Python process of this run that speaks SMTP.

    Args:
        folder: for its files and log.
        proxied: clients begin with a PROXY header.
    """

    program, package, user = sys.executable, "python3", "root"
    name: str = ""
    """For the report."""

    def __init__(self, folder: Path, *, proxied: bool = False) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.proxied = proxied

    @property
    @override
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @override
    def answers(self) -> bool:
        """Whether it greets."""
        header = b"PROXY TCP4 198.19.0.1 127.0.0.1 40000 25\r\n" if self.proxied else b""
        return converse(self.port, header).startswith(b"220 ")


def converse(port: int, octets: bytes) -> bytes:
    """Send ``octets`` to a loopback port; the first segment that comes back, empty where none does."""
    try:
        with socket.create_connection(("127.0.0.1", port), _PATIENCE) as client:
            client.sendall(octets)
            return client.recv(4096)
    except OSError:
        return b""


class SinkProcess(Subject):
    """The backend; ``chunking``: it takes messages by BDAT."""

    name = "sink"

    def __init__(self, folder: Path, *, chunking: bool = False) -> None:
        super().__init__(folder)
        self._options = ["--chunking"] if chunking else []

    @override
    def command(self) -> list[str]:
        return [self.binary, "-m", "tests.bench.sink", str(self.port), *self._options]

    def taken(self) -> tuple[int, int]:
        """Messages and octets taken so far."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 10 * _PATIENCE) as client,
            client.makefile("rb") as lines,
        ):
            lines.readline()
            client.sendall(b"NOOP\r\n")
            words = lines.readline().split()
        return int(words[2]), int(words[4])


class Peer(Subject):
    """The stock filter of :mod:`tests.bench.peer`."""

    name = "stock Python"

    def __init__(self, folder: Path, dns: str, backend: str, *, proxied: bool) -> None:
        super().__init__(folder, proxied=proxied)
        self._options = ["--dns", dns, "--backend", backend, "--zones", *LISTS]

    @override
    def command(self) -> list[str]:
        proxied = ["--proxied"] if self.proxied else []
        return [self.binary, "-m", "tests.bench.peer", "--port", str(self.port), *proxied, *self._options]


class Bare(Subject):
    """The filter with nothing in it, of :mod:`tests.bench.bare`."""

    name = "bare Python"

    def __init__(self, folder: Path, dns: str, backend: str) -> None:
        super().__init__(folder)
        self._options = ["--dns", dns, "--backend", backend, "--zones", *LISTS]

    @override
    def command(self) -> list[str]:
        return [self.binary, "-m", "tests.bench.bare", "--port", str(self.port), *self._options]


@dataclass(frozen=True)
class Shape:
    """How a mailguard is set up.

    Attributes:
        name: for the report.
        workers: processes that serve clients.
        client_identity: how the backend learns the client: by ``none`` connections to it are used again.
    """

    name: str
    workers: int
    client_identity: str


POOLED = Shape("mailguard", 2, "none")
NAMING = Shape("mailguard, PROXY", 2, "proxy")
ONE_WORKER = Shape("mailguard, one worker, PROXY", 1, "proxy")
ONE_POOLED = Shape("mailguard, one worker", 1, "none")


class Mailguard(Subject):
    """``mailguard serve``.

    Args:
        folder: for its configuration, journal and log.
        dns: the resolver.
        backend: where its mail goes.
        proxied: clients begin with a PROXY header.
        names: with the default policy's questions about EHLO name and sender domain, too.
        shape: how it is set up.
        policy: instead of that which goes by ``names`` and ``settings``.
        settings: further ones, of mailguard.yaml; with ``spamassassin`` the shipped policy is used whole.
    """

    name = "mailguard"

    def __init__(
        self,
        folder: Path,
        dns: str,
        backend: str,
        *,
        proxied: bool,
        names: bool = False,
        shape: Shape = ONE_WORKER,
        policy: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(folder, proxied=proxied)
        self.name = shape.name
        self._shape = shape
        file = folder / "policy.yaml"
        shipped_or_less = whole_policy() if "spamassassin" in settings else small_policy(names=names)
        file.write_text(yaml.safe_dump(policy or shipped_or_less, sort_keys=False))
        self._configuration = folder / "mailguard.yaml"
        self._configuration.write_text(yaml.safe_dump(self._settings(file, dns, backend) | settings))

    @override
    def command(self) -> list[str]:
        return [self.binary, "-m", "mailguard", "serve", "--config", str(self._configuration)]

    @property
    def configuration(self) -> Path:
        """Its settings' file."""
        return self._configuration

    @property
    def run_dir(self) -> Path:
        """Where it is asked to reload."""
        return self.folder / "run"

    def _settings(self, policy: Path, dns: str, backend: str) -> dict[str, Any]:
        trusted = ["127.0.0.0/8"] if self.proxied else []
        sink = {
            "address": backend,
            "relay_probe": False,
            "client_identity": self._shape.client_identity,
            "connections": Limits().max_connections,
        }
        return {
            "hostname": world.MAILGUARD_NAME,
            "relay_domains": list(world.DOMAINS),
            "listen": [{"address": self.address, "proxy_protocol_from": trusted}],
            "backends": [sink],  # which takes mail for anybody: relay_probe
            "policy": str(policy),
            "dns": {"servers": [dns]},
            "admin": {"address": "127.0.0.1:0"},
            "log": {"format": "json"},
            "run_dir": str(self.run_dir),
            "journal": {"directory": str(self.folder / "journal")},
            "workers": self._shape.workers,
        }


def whole_policy() -> dict[str, Any]:
    """The shipped default policy."""
    policy: dict[str, Any] = yaml.safe_load(shipped(DEFAULT_POLICY).read_text())
    return policy


def small_policy(*, names: bool) -> dict[str, Any]:
    """The shipped default policy without content rules; ``names``: with its weights, so with questions about names."""
    policy = whole_policy()
    policy["rules"]["content"] = []
    policy["cases"] = [
        {
            "name": "two lists agree",
            "given": {"dnsbl.zen": "127.0.0.4", "dnsbl.spamcop": "127.0.0.2"},
            "expect": {"reject": 554},
        }
    ]
    if not names:
        del policy["weights"]
    return policy


def can_come_from(address: str) -> bool:
    """Whether a connection from ``address`` can be made here: the tests' namespace has all of 198.18.0.0/15."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
