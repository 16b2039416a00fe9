"""How often somebody may ask."""

from billing_sync.allowances import Allowances

NOW = 1_790_000_000_000


def test_a_burst_and_then_by_and_by() -> None:
    """So many at once, then one each time that another is due; others are not held up."""
    allowed: Allowances[str] = Allowances(burst=3, every_ms=1000)
    assert [allowed.take("a", NOW) for _ in range(5)] == [0, 0, 0, 1000, 1000]
    assert allowed.take("b", NOW) == 0
    assert allowed.take("a", NOW + 400) == 600
    assert allowed.take("a", NOW + 1000) == 0
    assert allowed.take("a", NOW + 1000) == 1000
    assert [allowed.take("a", NOW + 60_000) for _ in range(4)] == [0, 0, 0, 1000]


def test_memory_is_bounded() -> None:
    """However many come; a clock that is set back locks nobody out for longer than the burst."""
    allowed: Allowances[int] = Allowances(burst=2, every_ms=1000)
    for caller in range(30_000):
        assert allowed.take(caller, NOW) == 0
    assert len(allowed._until) <= 10_000
