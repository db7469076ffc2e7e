"""A sample of ``make test-ha``: a real cluster of three nodes, moved on purpose, then the serving node is killed."""

from __future__ import annotations

import os

import pytest

from tests.ha.account import played, require_nothing_lost
from tests.ha.cluster import Cluster
from tests.ha.scenarios import crash, move

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(os.geteuid()), reason="nodes in namespaces want root"),
    pytest.mark.timeout(400),
]


async def test_mail_outlives_a_planned_move_and_the_death_of_a_node() -> None:
    with Cluster() as cluster:
        moved = await played(cluster, "planned move", move)
        require_nothing_lost(moved)
        assert not moved.fenced
        owner = cluster.owner()
        killed = await played(cluster, "node killed", crash)
        require_nothing_lost(killed)
        assert killed.fenced == (owner,)
        assert killed.outage > 0
