"""Decides when a helper process is due: for lanes whose process died, and for our own when it fell
behind what memory holds. The helper replays, so that no worker's loop does. Pure but for looking.

What is due and what became of it: a lane that nobody adopted yet is due at once, then later and
later; a look at retired lanes is owed until a helper has ended well; our own lane is due for as long
as it is behind. Only one helper runs, and nothing that is due waits for ever for something else.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

log = logging.getLogger("tallygate.gateway")

_LONGEST_PAUSE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 2.0


class Helper(Protocol):
    """A process that ends by itself."""

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def wait(self) -> int: ...


class _Due:
    """When something may be tried: at once, and after each try later than the last time."""

    def __init__(self) -> None:
        self.at_once(0.0)

    def at_once(self, now_s: float) -> None:
        self.pause_s = _FIRST_PAUSE_S
        self.at_s = now_s

    def tried(self, now_s: float) -> None:
        self.at_s = now_s + self.pause_s
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)


class Caretaker:
    """Starts at most one helper at a time. `look` is called about once a second."""

    def __init__(self, start: Callable[[list[str]], Helper]) -> None:
        """`start` starts `tallygate lanes` with these words. It may raise OSError."""
        self._start = start
        self._running: Helper | None = None
        self._runs_again = False  # the one that runs, or ran last, looks at retired lanes too
        self._owed = False  # such a look
        self._known: frozenset[str] = frozenset()
        self._adopting, self._replaying = _Due(), _Due()
        self._was_behind = False
        self.started = 0

    def look(self, now_s: float, ownerless: Iterable[str], *, again: bool, behind: str) -> bool:
        """Start a helper if one is due; whether it was.

        `ownerless` are the lanes that nobody holds and the ledger lacks; `again` asks, once, for a
        look at retired ones too; `behind` is our own lane's id when it must be replayed from its
        files.
        """
        if self._running is not None and self._running.poll() == 0 and self._runs_again:
            self._owed = self._runs_again = False
        self._note(now_s, frozenset(ownerless), again=again, behind=behind)
        if self._running is not None and self._running.poll() is None:
            return False
        due = self._due(behind)
        if due is None or due.at_s > now_s:
            return False
        due.tried(now_s)
        if due is self._replaying:
            return self._run(["replay", behind])
        self._runs_again = self._owed
        return self._run(["adopt", *(["--again"] if self._owed else [])])

    def _note(self, now_s: float, lanes: frozenset[str], *, again: bool, behind: str) -> None:
        if lanes - self._known or again:
            self._adopting.at_once(now_s)  # one more died, or one more thing was asked for
        if behind and not self._was_behind:
            self._replaying.at_once(now_s)
        self._known, self._was_behind = lanes, bool(behind)
        if again:
            self._owed, self._runs_again = True, False  # what runs already may have looked too soon

    def _due(self, behind: str) -> _Due | None:
        wanted = [self._replaying] if behind else []
        if self._owed or self._known:
            wanted.append(self._adopting)
        return min(wanted, key=lambda due: due.at_s, default=None)

    def _run(self, words: list[str]) -> bool:
        try:
            self._running = self._start(words)
        except OSError as reason:
            log.warning("no helper process can be started: %s", reason)
            self._running = None
            return False
        self.started += 1
        return True

    def end(self) -> None:
        """End the helper that runs; what it leaves, the next one finds."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait()
            self._running = None
