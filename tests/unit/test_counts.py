"""What a message costs, in counts that no busy machine changes, is what it was; a figure moves only on purpose.

``tests/bench/counts.py`` counts, in a process of its own. Where a test here is red for a change that is wanted, or that
saves work, put the new figure into :data:`FIGURES`, in the same commit: so its history tells what each change costs.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from tests.bench.counts import LOADS, MEMORY, counted

pytestmark = pytest.mark.slow

Counts = dict[str, dict[str, float]]

FIGURES: Counts = {
    "refusal, new clients": {
        "calls": 1885,
        "tasks": 2,
        "callbacks": 14.2,
        "cycles": 0,
        "sends": 9,
        "connects": 1,
        "datagrams": 4,
    },
    "refusal, known clients": {
        "calls": 1245,
        "tasks": 2,
        "callbacks": 14.1,
        "cycles": 0,
        "sends": 5,
        "connects": 0,
        "datagrams": 0,
    },
    "relay, a connection each": {
        "calls": 2295,
        "tasks": 2,
        "callbacks": 20.5,
        "cycles": 0,
        "sends": 10.2,
        "connects": 0.1,
        "datagrams": 0,
    },
    "relay, 20 a connection": {
        "calls": 1465,
        "tasks": 0.1,
        "callbacks": 8.95,
        "cycles": 0,
        "sends": 7.35,
        "connects": 0.1,
        "datagrams": 0,
    },
    "relay of 1 MB": {
        "calls": 3805,
        "tasks": 2,
        "callbacks": 26.4,
        "cycles": 0,
        "sends": 17.1,
        "connects": 0,
        "datagrams": 0,
    },
    MEMORY: {"peak": 1500000},
}
"""For one refusal, or one message."""

TOLERANCE = 0.10
"""Of a figure, upwards and downwards; between runs of the same code it is 0.01."""
TOLERANCE_LARGE = 0.25
"""Where how the kernel cuts a large message has a share."""
ROUNDING = 0.06
"""Of any figure, in its unit: what a timer that fell due in between adds."""


def off(found: Counts, figures: Counts) -> list[str]:
    """What is not as in ``figures``, told as a developer wants to read it."""
    return [
        f"{load}: {kind} {found[load][kind]:g}, was {figure:g}"
        for load, kinds in figures.items()
        for kind, figure in kinds.items()
        if abs(found[load][kind] - figure) > ROUNDING + figure * _tolerance(load)
    ]


def _tolerance(load: str) -> float:
    return TOLERANCE_LARGE if "MB" in load else TOLERANCE


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    """The counts of today's code."""
    file = tmp_path_factory.mktemp("counts") / "counts.json"
    command = [sys.executable, "-m", "tests.bench.counts", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    counts: Counts = json.loads(file.read_text())
    return counts


@pytest.mark.parametrize("load", FIGURES)
def test_a_message_costs_what_it_did(found: Counts, load: str) -> None:
    assert off(found, {load: FIGURES[load]}) == []


def test_every_load_has_figures() -> None:
    assert set(FIGURES) == {*LOADS, MEMORY}


def test_what_costs_more_or_less_is_told() -> None:
    figures = {"relay": {"calls": 1000.0, "tasks": 7.0, "connects": 0.0}}
    assert off({"relay": {"calls": 1090.0, "tasks": 7.0, "connects": 0.05}}, figures) == []
    dearer = {"relay": {"calls": 1110.0, "tasks": 8.0, "connects": 1.0}}
    assert [line.split(",")[0] for line in off(dearer, figures)] == [
        "relay: calls 1110",
        "relay: tasks 8",
        "relay: connects 1",
    ]
    assert off({"relay": {"calls": 800.0, "tasks": 7.0, "connects": 0.0}}, figures) == ["relay: calls 800, was 1000"]


async def test_the_profile_function_counts_tasks_and_callbacks() -> None:
    async def nothing() -> None:
        pass

    loop = asyncio.get_running_loop()
    with counted() as counts:
        await asyncio.gather(*(nothing() for _ in range(5)))
    assert (counts["tasks"], counts["callbacks"] >= 5) == (5, True)
    with counted() as more:
        for _ in range(7):
            loop.call_later(0, len, "")
        await asyncio.sleep(0)
    assert more["callbacks"] >= 7
    assert more["sends"] == 0
