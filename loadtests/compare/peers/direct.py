"""No proxy at all: what load and origin can do by themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.scenarios import Scenario


class Direct:
    """The origin called without anything between."""

    name = "direct"
    does = "no proxy"
    fetched = None

    def missing(self, _: Path) -> str | None:
        """It is always there."""
        return None

    def plays(self, scenario: Scenario) -> bool:
        """Where there is a flood; at half load it is part of each measurement."""
        return scenario.kind == "flood"

    def version(self, _: Path) -> str:
        """It has none."""
        return ""

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """The origin's own port."""
        yield Running(site.upstream)
