"""The throw-away installation of a drill: a folder of its own, its processes, and its customers."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import anyio
import httpx
import yaml

from tallygate.config import load
from tallygate.demo.processes import DidNotStart, running
from tallygate.drills.configuration import callers, throw_away
from tallygate.drills.load import Load
from tallygate.drills.processes import Processes
from tallygate.drills.terms import Make, Terms
from tallygate.installation import Installation

_READY_S: Final = 60.0
_ANSWER_S: Final = 5.0
_SAYS_URLS: Final = (
    ("gateway", re.compile(r"^gateway +(http\S+)", re.MULTILINE)),
    ("api", re.compile(r"^control .*\(API +(http[^\s)]+)\)", re.MULTILINE)),
)


@dataclass
class Stage:
    """A running installation and its load. Faults are done to it."""

    folder: Path
    terms: Terms
    upstream: str
    processes: Processes
    http: httpx.AsyncClient = field(repr=False)
    dice: Random
    in_its_own_files: bool = False
    unsynced: set[str] = field(default_factory=set)  # requests whose records a power cut took
    problems: list[str] = field(default_factory=list)  # what a fault found wrong by itself
    notes: list[str] = field(default_factory=list)  # what a fault wants to be known
    workers_died: bool = False  # then requests may be uncertain
    interrupted: bool = False  # calls were, on purpose: else customers notice nothing

    def __post_init__(self) -> None:
        self.installation = Installation(load(self.folder / "tallygate.yaml", {}))
        self.interrupted = self.installation.config.gateway.on_store_down == "deny"
        self._urls: dict[str, str] = {}
        self.load = Load(
            lambda: self._urls.get("gateway"), callers(self.terms.given), self.terms.rate, self.dice
        )

    @property
    def data_dir(self) -> Path:
        """Where its files are, as seen from here."""
        inside = self.installation.data_dir
        if not self.in_its_own_files:
            return inside
        return Path(f"/proc/{self.processes.pid}/root{inside}")

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises DidNotStart."""
        said = self.processes.log.stat().st_size if self.processes.log.exists() else 0
        self.processes.start()
        with anyio.move_on_after(_READY_S):
            while self.processes.running:
                urls = _urls_in(self.processes.log.read_bytes()[said:].decode(errors="replace"))
                if len(urls) == len(_SAYS_URLS):
                    self._urls = urls
                    return
                await anyio.sleep(0.02)
        raise DidNotStart(f"tallygate serve did not start: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what its processes said."""
        return " | ".join(self.processes.log.read_text(errors="replace").splitlines()[-3:])

    async def ask(self, path: str, **asked: str) -> Any:
        """What the operator's API answers; None while it does not."""
        with suppress(httpx.TransportError, OSError):
            token = (self.data_dir / "admin_token").read_text().strip()
            reply = await self.http.get(
                f"{self._urls['api']}/api/v1/{path}",
                params=asked,
                headers={"Authorization": f"Bearer {token}"},
            )
            return reply.json() if reply.status_code == 200 else None
        return None

    async def stopped_billing(self) -> str | None:
        """Why billing is stopped, empty while it is not; None while the control plane is away."""
        with suppress(httpx.TransportError, ValueError):
            reply = await self.http.get(f"{self._urls['api']}/healthz")
            if reply.status_code == 200:
                return str(reply.json().get("billing", ""))
        return None


def _urls_in(text: str) -> dict[str, str]:
    """Where the gateway and the operator's API are, as `tallygate serve` says once it is ready."""
    said = {name: pattern.findall(text) for name, pattern in _SAYS_URLS}
    return {name: urls[-1] for name, urls in said.items() if urls}


Fault = Callable[[Stage], Awaitable[None]]


class Prepared(NamedTuple):
    """A fault, and the installation it is done to."""

    fault: Fault
    make: Make = Make()


Prepare = Callable[[Path], AbstractAsyncContextManager[Prepared]]


def plain(fault: Fault) -> Prepare:
    """A fault that needs nothing but an installation."""

    @asynccontextmanager
    async def prepare(_: Path) -> AsyncIterator[Prepared]:
        yield Prepared(fault)

    return prepare


@asynccontextmanager
async def staged(folder: Path, terms: Terms, make: Make) -> AsyncIterator[Stage]:
    """A throw-away installation in `folder`, ready; nothing of it runs after the block."""
    async with (
        running("tallygate.demo.upstream", "--listen", "127.0.0.1:0") as upstream,
        httpx.AsyncClient(trust_env=False, timeout=_ANSWER_S) as http,
    ):
        config = throw_away(terms.given, upstream, make.changes)
        (folder / "tallygate.yaml").write_text(yaml.safe_dump(config))
        processes = Processes(folder, make.environ, make.wrap)
        dice = Random(terms.seed)  # noqa: S311  (a seed makes a drill repeatable, as far as it can be)
        stage = Stage(folder, terms, upstream, processes, http, dice, bool(make.wrap))
        try:
            await stage.start()
            yield stage
        finally:
            with anyio.CancelScope(shield=True):
                if processes.running:
                    await processes.kill_everything()
