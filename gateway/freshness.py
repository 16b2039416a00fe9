"""How old what a worker knows of its customers is, and whether that is too old. Pure.

Times are seconds of a clock that never steps. What a file says is as old as its writer's last word.
"""


class Freshness:
    """Nothing is known at first; its age counts from then."""

    def __init__(self, stale_after_s: float, now_s: float) -> None:
        self._stale_after_s = stale_after_s
        self._heard_s = now_s
        self.loaded = False
        self.from_disk = False

    def heard(self, now_s: float) -> None:
        """All that there is to know was heard, or heard to be the same."""
        self._heard_s = now_s
        self.loaded, self.from_disk = True, False

    def read(self, age_s: float, now_s: float) -> None:
        """It was read from a file in which it was right so long ago."""
        self._heard_s = now_s - max(0.0, age_s)
        self.loaded = self.from_disk = True

    def age_s(self, now_s: float) -> float:
        """How long ago it was right."""
        return max(0.0, now_s - self._heard_s)

    def stale(self, now_s: float) -> bool:
        """Whether that is too long."""
        return self.age_s(now_s) > self._stale_after_s
