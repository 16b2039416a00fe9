"""What the console is given: the parts of the control plane that its pages read and act through."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import NamedTuple, Protocol

from sqlalchemy import Engine

from billing_sync.acting import Decision
from billing_sync.correcting import Corrector
from billing_sync.key_ring import KeyRing
from billing_sync.mapping import Mapper
from billing_sync.models import UsageRecord
from billing_sync.store.stops import Stop
from billing_sync.usage_view import UsageView
from billing_sync.watching import Terms
from metering.catalogue import Catalogue
from metering.clock import Clock


class Proof(NamedTuple):
    """A reconciliation that was made: when (UTC ms), what it found, and the day it is about; the
    day is empty for one that somebody asked for just now."""

    at: int
    exact: bool
    day: str = ""


class Printed(NamedTuple):
    """What a command printed, and whether it found everything in order; `cut` where there was more."""

    text: str
    well: bool
    cut: bool = False


class Prover(Protocol):
    """Reads reports and runs `tallygate reconcile` and `explain`, each in a process of its own."""

    def reports(self, most: int) -> Sequence[Proof]:
        """The newest daily reports. Reads files: call it in a thread."""

    def last(self) -> Proof | None:
        """The newest reconciliation, whoever asked for it. Reads files as well."""

    async def reconcile(self) -> Printed:
        """Of the last hours. Raises ProofUnavailable."""

    async def explain(self, wanted: str) -> Printed:
        """A request id or a record's metering_sn. Raises ProofUnavailable."""


class Facts(NamedTuple):
    """How the loops are: counts since the process began, `closed_through` in UTC ms, `failures` by
    loop and reason."""

    runs: int
    drains: int
    records_made: int
    closed_through: int
    silent: Sequence[str]
    stuck: int
    unrecorded: int
    failures: Sequence[tuple[str, str, int]]
    pushes: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Ports:
    """`decide` does what a person decided about a record; `stop` says why billing is stopped;
    `zone` is the one times are shown in; `webhooks` are the names of those configured."""

    engine: Engine
    view: UsageView
    clock: Clock
    zone: tzinfo
    terms: Terms
    decide: Callable[[Decision], UsageRecord]
    corrector: Corrector
    keys: KeyRing
    mapper: Mapper
    webhooks: Collection[str]
    facts: Callable[[], Facts]
    stop: Callable[[], Stop | None]
    admin_token: str = field(repr=False)
    randomness: Callable[[int], bytes]
    prover: Prover | None = None

    @property
    def catalogue(self) -> Catalogue:
        """The products."""
        return self.terms.catalogue
