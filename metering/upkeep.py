"""The thread beside the event loop that syncs a lane's files and does its slow work on the disk.

`fdatasync` of the file, because flushing the mapping would hold the interpreter's lock for tens of
milliseconds. What was written before a sync began is durable when it ends; writers that must know
share one sync (group commit). What nobody waits for is synced within the interval all the same.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

log = logging.getLogger("tallygate.journal")

Fsync = Literal["interval", "always", "never"]
EVERY_S: Final = 0.05
# macOS has no fdatasync.
SYNC: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)


class Upkeep:
    """Start it, give it work, stop it. Its methods may be called from any thread."""

    def __init__(
        self, fsync: Fsync, every_s: float = EVERY_S, sync: Callable[[int], None] = SYNC
    ) -> None:
        self._fsync = fsync
        self._every_s = every_s
        self._sync_one = sync
        self._handles: list[int] = []
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._waiting: deque[Callable[[], None]] = deque()
        self._work = threading.Event()
        self._ending = threading.Event()
        self.dirty = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.failed = False  # a sync failed: what was written may not be durable, ever
        self.syncs = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the jobs, sync once more and end."""
        self._ending.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, handle: int) -> None:
        """Sync this file from now on."""
        with self._lock:
            self._handles = [*self._handles, handle]

    def sync_last(self, handle: int) -> None:
        """Sync the file once more and then never again. Only from a job."""
        with self._lock:
            self._handles = [each for each in self._handles if each != handle]
        self._sync([handle])

    def wrote(self) -> None:
        """Something was written."""
        if not self.dirty:
            self.dirty = True
            if self._fsync == "interval":
                self._work.set()

    def when_durable(self, then: Callable[[], None]) -> bool:
        """Call `then`, from the thread, once all that is written now is durable.

        False when nobody has to wait: the policy is not `always`.
        """
        if self._fsync != "always":
            return False
        self._waiting.append(then)
        self._work.set()
        return True

    def submit(self, job: Callable[[], None]) -> None:
        """Do this soon."""
        self._jobs.append(job)
        self._work.set()

    def _run(self) -> None:
        # Under `always` only who waits for a sync wakes the thread: a client that left does not.
        longest = self._every_s if self._fsync == "always" else None
        while not self._ending.is_set():
            self._work.wait(longest)
            self._work.clear()
            self._do_jobs()
            if self._fsync == "interval" and self.dirty:
                self._ending.wait(self._every_s)
            self._make_durable()
        self._do_jobs()
        self._make_durable()

    def _do_jobs(self) -> None:
        while self._jobs:
            self._do(self._jobs.popleft())

    def _make_durable(self) -> None:
        waiting = len(self._waiting)  # who comes later waits for the next sync
        if self.dirty or waiting:
            self.dirty = False
            self._sync(self._handles)
        for _ in range(waiting):
            self._do(self._waiting.popleft())

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:
            log.exception("the journal's upkeep failed")

    def _sync(self, handles: list[int]) -> None:
        if self._fsync == "never":
            return
        try:
            for handle in handles:
                self._sync_one(handle)
            self.syncs += 1
        except OSError:
            if not self.failed:
                log.exception("the journal cannot be made durable; no more calls are let in")
            self.failed = True
