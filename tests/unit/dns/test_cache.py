"""The cache: its bounds in time and number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailguard.dns.cache import TtlCache
from tests.unit.dns.fakes import Clock

_STEPS = st.lists(st.tuples(st.sampled_from(["put", "get", "wait"]), st.integers(0, 6), st.integers(0, 5)), max_size=60)


def test_the_least_recently_used_goes_first() -> None:
    cache: TtlCache[str, int] = TtlCache(2, 100, Clock())
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a") == 1
    cache.put("c", 3, 10)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_a_second_value_replaces_the_first_even_with_no_time_to_live() -> None:
    cache: TtlCache[str, int] = TtlCache(2, 100, Clock())
    cache.put("a", 1, 10)
    cache.put("a", 2, 0)
    assert cache.get("a") is None


def test_size_zero_keeps_nothing() -> None:
    cache: TtlCache[str, int] = TtlCache(0, 100, Clock())
    cache.put("a", 1, 10)
    assert (cache.get("a"), len(cache)) == (None, 0)


@given(_STEPS, st.integers(1, 4), st.integers(1, 4))
def test_never_too_many_never_too_old_and_never_another_value(
    steps: list[tuple[str, int, int]], size: int, max_ttl: int
) -> None:
    """Against a model that keeps everything with the time of its end."""
    clock = Clock()
    cache: TtlCache[int, int] = TtlCache(size, max_ttl, clock)
    model: dict[int, tuple[float, int]] = {}
    for number, (step, key, amount) in enumerate(steps):
        if step == "put":
            cache.put(key, number, amount)
            model[key] = (clock.now + min(amount, max_ttl), number)
        elif step == "wait":
            clock.now += amount
        else:
            expires, value = model.get(key, (0.0, None))
            assert cache.get(key) in ({None, value} if expires > clock.now else {None})
        assert len(cache) <= size
    last = next((key for step, key, ttl in reversed(steps) if step == "put"), None)
    if last is not None and model[last][0] > clock.now:
        assert cache.get(last) == model[last][1]
