"""The clock of a simulated month: it stands still until it is told to go on."""


class MonthClock:
    """UTC ms. It never goes back."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def now_ms(self) -> int:
        return self._at_ms

    def to(self, at_ms: int) -> None:
        """Go on to this moment, unless it is over."""
        self._at_ms = max(self._at_ms, at_ms)
