"""What every peer is: a name, what it lacks, and how it is started before an origin."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loadtests.compare.fetching import Fetched
from loadtests.compare.machine import Cores
from loadtests.compare.scenarios import Scenario


@dataclass(frozen=True)
class Site:
    """Where a peer is started: a folder of its own, its port, the origin's port, who may call."""

    folder: Path
    port: int
    upstream: int
    cores: Cores
    customers: Sequence[tuple[str, str]]
    cache: Path


@dataclass(frozen=True)
class Running:
    """A peer that answers: where, and the processes that are the proxy (their descendants too)."""

    port: int
    pids: Sequence[int] = field(default_factory=tuple)
    admin: str = ""  # the URL of Tallygate's admin listener
    beside: Sequence[int] = ()  # its processes that have a machine of their own in earnest


class Peer(Protocol):
    """`does` is what it does with a call, in a word or two; `fetched` is what of PyPI it needs."""

    @property
    def name(self) -> str: ...
    @property
    def does(self) -> str: ...
    @property
    def fetched(self) -> Fetched | None: ...

    def missing(self, cache: Path) -> str | None:
        """The command that would install what it lacks; None when it can run."""

    def plays(self, scenario: Scenario) -> bool:
        """Whether it is compared in this scenario."""

    def version(self, cache: Path) -> str: ...

    def running(self, site: Site) -> AbstractContextManager[Running]:
        """It runs until the block ends. Raises DidNotStart."""
