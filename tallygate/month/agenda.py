"""What is to be done when, in simulated time. Pure."""

import heapq
from collections.abc import Awaitable, Callable
from itertools import count

Job = Callable[[], Awaitable[None]]


class Agenda:
    """Jobs by their time; those of one moment in the order in which they were noted."""

    def __init__(self) -> None:
        self._jobs: list[tuple[int, int, Job]] = []
        self._numbers = count()

    def note(self, at_ms: int, job: Job) -> None:
        heapq.heappush(self._jobs, (at_ms, next(self._numbers), job))

    def next(self, before_ms: int) -> tuple[int, Job] | None:
        """The next job before that moment, which is taken off."""
        if not self._jobs or self._jobs[0][0] >= before_ms:
            return None
        at_ms, _, job = heapq.heappop(self._jobs)
        return at_ms, job
