"""How often a sign-in may fail."""

from billing_sync.web.attempts import MINUTE_MS, Attempts


def failing(attempts: Attempts, times: int, at: int = 0, address: str = "a") -> None:
    for _ in range(times):
        attempts.failed(address, at)


def test_five_failures_a_minute() -> None:
    """Then nobody may try from there until the first of them is a minute old."""
    attempts = Attempts()
    failing(attempts, 4)
    assert attempts.wait_ms("a", 0) == 0
    attempts.failed("a", 1000)
    assert attempts.wait_ms("a", 2000) == MINUTE_MS - 2000
    assert attempts.wait_ms("b", 2000) == 0
    assert attempts.wait_ms("a", MINUTE_MS) == 0


def test_all_together() -> None:
    """Many addresses do not help."""
    attempts = Attempts(each=5, together=10)
    for number in range(10):
        failing(attempts, 1, address=str(number))
    assert attempts.wait_ms("new", 0) == MINUTE_MS


def test_a_clock_that_goes_back() -> None:
    """Locks nobody out for longer than a minute."""
    attempts = Attempts()
    failing(attempts, 5, at=10**12)
    assert attempts.wait_ms("a", 0) == MINUTE_MS


def test_memory_is_bounded() -> None:
    """Whoever has many addresses fills none."""
    attempts = Attempts()
    for number in range(10_050):
        attempts.failed(str(number), number * MINUTE_MS)
    assert len(attempts._failed) == 10_000
