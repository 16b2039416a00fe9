"""Makes API keys: the key itself, shown once, and the forms of it that may be stored. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from metering import keys


class MadeKey(NamedTuple):
    """A new API key in the forms that may be stored; `shown` is how it begins."""

    digest: str
    sealed: str
    shown: str = ""


@dataclass
class KeyMaker:
    """`secret` is the installation's; `randomness(n)` gives n random bytes."""

    secret: bytes = field(repr=False)
    randomness: Callable[[int], bytes]

    def make(self) -> tuple[str, MadeKey]:
        """A key, and what is stored of it. Without the sealed copy nobody can ever show it again."""
        key = keys.make_key(self.randomness(32))
        digest = keys.digest(keys.pepper(self.secret), key)
        sealed = keys.seal(self.secret, key, self.randomness(12))
        return key, MadeKey(digest, sealed, keys.shown(key))
