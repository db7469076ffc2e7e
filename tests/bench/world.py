"""All that runs in a measurement: rbldnsd and a resolver, the sink, and every server that is compared."""

from __future__ import annotations

from mailguard.lab import Lab
from mailguard.lab.rbldnsd import Rbldnsd
from mailguard.lab.unbound import Unbound
from tests.bench.loads import CLEAN
from tests.bench.real_peers import DNS_PORT, REAL_PEERS, cannot_run
from tests.bench.subjects import (
    LISTS,
    NAMING,
    POOLED,
    Bare,
    Mailguard,
    Peer,
    Shape,
    SinkProcess,
    Subject,
    can_come_from,
)

NAMES = Shape("mailguard, all questions", POOLED.workers, POOLED.client_identity)


class Bench:
    """The world of a run, its servers started when they are first asked for.

    Attributes:
        proxied: clients have no addresses of their own here, and are named in PROXY headers.
        left_out: the peers that cannot be measured here, by name, and why.
        sink: the backend of all.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.proxied = not can_come_from(str(CLEAN[1]))
        self.left_out = cannot_run(proxied=self.proxied)
        lists = lab.server("rbldnsd", Rbldnsd, lambda folder: Rbldnsd(folder, LISTS))
        real = len(self.left_out) < len(REAL_PEERS)
        resolver = lab.server("unbound", Unbound, lambda at: Unbound(at, lists.address, port=DNS_PORT if real else 0))
        self.dns = resolver.address
        self.sink = lab.server("sink", SinkProcess)

    def mailguard(self, shape: Shape = POOLED, *, names: bool = False, **settings: object) -> Mailguard:
        """mailguard of this ``shape``, which stands for one set of ``settings``; ``names``: see :class:`Mailguard`."""
        return self._lab.server(
            shape.name,
            Mailguard,
            lambda at: Mailguard(
                at, self.dns, self.sink.address, proxied=self.proxied, shape=shape, names=names, **settings
            ),
        )

    def subjects(self, *, alone: bool) -> list[Subject]:
        """Who does a load in turn; ``alone``: the mailguard that asks all questions, which no peer does."""
        if alone:
            return [self.mailguard(NAMES, names=True)]
        return [self.mailguard(POOLED), self.mailguard(NAMING), *self.peers()]

    def peers(self) -> list[Subject]:
        """Every peer that can run here, those of stock parts and of next to none included."""
        kinds = [kind for kind in REAL_PEERS if kind.name not in self.left_out]
        real = [
            self._lab.server(kind.name, kind, lambda at, kind=kind: kind(at, self.sink.address))  # type: ignore[misc]
            for kind in kinds
        ]
        stock = self._lab.server(
            Peer.name, Peer, lambda at: Peer(at, self.dns, self.sink.address, proxied=self.proxied)
        )
        if self.proxied:
            return [*real, stock]
        return [*real, stock, self._lab.server(Bare.name, Bare, lambda at: Bare(at, self.dns, self.sink.address))]
