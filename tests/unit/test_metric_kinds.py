"""Our counters and histograms count what prometheus_client's count."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest, values

from mailguard.metric_kinds import Cells, Counter, Histogram, Value

BUCKETS = (0.001, 0.5, 1, 10)
LABELS = st.sampled_from(["a", "b", "c"])
AMOUNTS = st.sampled_from([*BUCKETS, float("inf")]) | st.floats(0, 20)


def shown(counter: Any, histogram: Any, events: list[tuple[str, float]]) -> bytes:
    """What a scrape sees after ``events``."""
    registry = CollectorRegistry()
    counted = counter("counted", "", ["label"], registry=registry)
    plain = counter("plain", "", registry=registry)
    observed = histogram("observed", "", ["label"], registry=registry, buckets=BUCKETS)
    for label, amount in events:
        counted.labels(label).inc()
        counted.labels(label=label).inc(amount)
        plain.inc(amount)
        observed.labels(label).observe(amount)
    return scraped(registry)


def scraped(registry: CollectorRegistry) -> bytes:
    """What a scrape sees, but for when each series began."""
    return b"".join(line for line in generate_latest(registry).splitlines(keepends=True) if b"_created" not in line)


@contextmanager
def values_of_theirs() -> Iterator[None]:
    ours, values.ValueClass = values.ValueClass, values.MutexValue
    try:
        yield
    finally:
        values.ValueClass = ours


@given(st.lists(st.tuples(LABELS, AMOUNTS), max_size=30))
def test_a_scrape_sees_the_same(events: list[tuple[str, float]]) -> None:
    with values_of_theirs():
        theirs = shown(prometheus_client.Counter, prometheus_client.Histogram, events)
    assert shown(Counter, Histogram, events) == theirs


@given(st.lists(LABELS, max_size=5))
def test_to_add_one_to_the_bucket_of_nothing_is_to_observe_it(labels: list[str]) -> None:
    def seen(*, observed: bool) -> bytes:
        registry = CollectorRegistry()
        histogram = Histogram("observed", "", ["label"], registry=registry, buckets=BUCKETS)
        for label in labels:
            histogram.labels(label).observe(0.5)
            if observed:
                histogram.labels(label).observe(0.0)
            else:
                histogram.labels(label).bucket(0.0)[0] += 1
        return scraped(registry)

    assert seen(observed=False) == seen(observed=True)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """CPython changes from one thread to another wherever it may."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-9)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("cells", [[0.0, 0.0], memoryview(bytearray(16)).cast("d")], ids=["list", "memory"])
@pytest.mark.usefixtures("hasty_threads")
def test_threads_count_the_same(monkeypatch: pytest.MonkeyPatch, cells: Cells) -> None:
    monkeypatch.setattr(values, "ValueClass", lambda *_, **__: Value(cells))
    counter = Counter("counter", "", registry=None)

    def count() -> None:
        for _ in range(50_000):
            counter.inc()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cells[0] == 200_000


def test_a_child_is_made_once() -> None:
    counter = Counter("counter", "", ["label"], registry=None)
    assert counter.labels("a") is counter.labels(label="a") is counter.labels("a")
    assert counter.labels(1) is counter.labels("1")


def test_mistakes_are_told() -> None:
    counter = Counter("counter", "", ["label"], registry=None)
    with pytest.raises(ValueError, match="grows"):
        counter.labels("a").inc(-1)
    with pytest.raises(ValueError, match="label"):
        counter.labels("a", "b")
    with pytest.raises(ValueError, match="label"):
        Counter("plain", "", registry=None).labels("a")
