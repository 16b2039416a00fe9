"""Which host of the open APIs is asked first: the site's own, and its fallback while that is away. Pure."""

from collections.abc import Sequence
from typing import Final

RETURN_MS: Final = 600_000


class Hosts:
    """Base URLs, the preferred one first. One that could not be reached is asked last for ten minutes."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._away: dict[str, int] = {}

    def in_turn(self, now_ms: int) -> list[str]:
        """Every host; those that were away lately come last."""
        return sorted(self._urls, key=lambda url: self._is_away(url, now_ms))

    def away(self, url: str, now_ms: int) -> None:
        """This one could not be reached."""
        self._away[url] = now_ms

    def there(self, url: str) -> None:
        """This one answered."""
        self._away.pop(url, None)

    def _is_away(self, url: str, now_ms: int) -> bool:
        since = self._away.get(url)
        return since is not None and now_ms - since < RETURN_MS
