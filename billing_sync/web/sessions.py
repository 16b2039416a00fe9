"""Sessions of signed-in people, in memory: a new start of the process signs everybody out.

The browser holds a random token; here only its digest is kept, with the token that forms must carry.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

LIFE_MS: Final = 12 * 3_600_000
_BYTES: Final = 32
_MOST_NOTICES: Final = 5


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who signed in. `subject` says who, `csrf` is what his forms carry, `notices` are tones
    and texts for his next page. Times are UTC ms."""

    subject: str
    csrf: str = field(repr=False)
    opened: int
    ends: int
    notices: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def tell(self, tone: str, text: str) -> None:
        """To be shown, once, on the next page."""
        self.notices.append((tone, text))
        del self.notices[:-_MOST_NOTICES]

    def told(self) -> list[tuple[str, str]]:
        """What is to be shown now; it is gone afterwards."""
        notices = self.notices.copy()
        self.notices.clear()
        return notices


class Sessions:
    """Opens, finds and ends sessions; the oldest give way when there are too many."""

    def __init__(
        self,
        randomness: Callable[[int], bytes],
        life_ms: int = LIFE_MS,
        most: int = 1000,
    ) -> None:
        self._randomness = randomness
        self._life_ms = life_ms
        self._most = most
        self._open: OrderedDict[str, Session] = OrderedDict()

    def open(self, subject: str, now_ms: int) -> str:
        """A new session; the token is for the browser's cookie and nobody else."""
        token = self._randomness(_BYTES).hex()
        csrf = self._randomness(_BYTES).hex()
        self._open[_digest(token)] = Session(subject, csrf, now_ms, now_ms + self._life_ms)
        while len(self._open) > self._most:
            self._open.popitem(last=False)
        return token

    def find(self, token: str, now_ms: int) -> Session | None:
        """The session of a cookie, unless it is over."""
        session = self._open.get(_digest(token))
        if session is None or not session.opened <= now_ms < session.ends:
            return None
        return session

    def close(self, token: str) -> None:
        """Sign out; again changes nothing."""
        self._open.pop(_digest(token), None)


def same(presented: str, expected: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return secrets.compare_digest(presented.encode("utf-8", "surrogatepass"), expected.encode())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
