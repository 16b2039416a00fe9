"""Sends the Kit's syncs as a company changes, and checks the replies (spec §5)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from . import kit_bodies
from .callbacks import Call, Callbacks, new_nonce
from .checks import SUCCESS, check_reply
from .clock import Clock
from .conversation import Answered
from .debug_case import Version
from .directory import App, Org, Person, Tenant
from .errors import BadRequest, NotReady
from .findings import FindingLog
from .kit_bodies import MOST_PEOPLE, Dialect, Flag
from .kit_calls import Sync, signed_v1, signed_v2
from .kit_cipher import SHA256, sealed
from .settings import SimulatorSettings
from .tampering import EXPECTED
from .v1_calls import V1_EXPECTED
from .v1_checks import check_v1

_SUCCESS: Final = frozenset({SUCCESS})


@dataclass(frozen=True)
class Manner:
    """How syncs are sent. `oaep` names a hash of `kit_cipher.PADDINGS`."""

    dialect: Dialect = field(default_factory=lambda: Dialect(test_flag=0))
    tamper: str = "none"
    repeat: int = 1
    oaep: str = SHA256
    expect: frozenset[str] | None = None


DEFAULT: Final = Manner()


class Syncing:
    """The marketplace's side of the Kit. `url` is the production address."""

    def __init__(
        self,
        settings: SimulatorSettings,
        callbacks: Callbacks,
        findings: FindingLog,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._callbacks = callbacks
        self._findings = findings
        self._clock = clock

    async def tenant(self, url: str, tenant: Tenant, flag: Flag, manner: Manner) -> list[Answered]:
        """tenantSync."""
        body = kit_bodies.tenant_body(tenant, flag, manner.dialect)
        return await self.send(url, Sync("tenantSync", body), manner)

    async def app(
        self, url: str, tenant: Tenant, app: App, flag: Flag, manner: Manner
    ) -> list[Answered]:
        """applicationSync; its secret is encrypted anew. Raises NotReady without a public key."""
        key = self._settings.public_key
        if key is None:
            raise NotReady("no public key of the merchant: start with --public-key FILE")
        secret = sealed(app.client_secret, key, manner.oaep)
        body = kit_bodies.app_body(tenant, app, secret, flag, manner.dialect)
        return await self.send(url, Sync("applicationSync", body), manner)

    async def people(
        self, url: str, tenant: Tenant, people: Sequence[Person], flag: Flag, manner: Manner
    ) -> list[Answered]:
        """authSync, for every app of the tenant, of at most 500 people at once."""
        answers: list[Answered] = []
        for app_id in tenant.apps:
            for batch in _batches(people):
                body = kit_bodies.people_body(tenant, app_id, batch, flag, manner.dialect)
                timed = kit_bodies.synced_at(body, self._clock.now_ms())
                answers += await self.send(url, Sync("authSync", timed), manner)
        if not tenant.apps:
            raise BadRequest("the tenant has no app yet; PUT /_sim/tenants/ID/apps/APP first")
        return answers

    async def org(
        self, url: str, tenant: Tenant, org: Org, flag: Flag, manner: Manner
    ) -> list[Answered]:
        """singleOrgSync."""
        body = kit_bodies.org_body(tenant, org, flag, manner.dialect)
        return await self.send(url, Sync("singleOrgSync", body), manner)

    async def orgs(self, url: str, tenant: Tenant, manner: Manner) -> list[Answered]:
        """allOrgSync with every department there is."""
        body = kit_bodies.orgs_body(tenant, list(tenant.orgs.values()), manner.dialect)
        return await self.send(url, Sync("allOrgSync", body), manner)

    async def send(self, url: str, sync: Sync, manner: Manner) -> list[Answered]:
        """The same sync `repeat` times, signed anew each time. A replay repeats the very same call."""
        if not self._settings.kit_key:
            raise NotReady("no key of the Kit: start with KOO_KIT_KEY set")
        call = self._signed(sync, manner)
        answers: list[Answered] = []
        for attempt in range(manner.repeat):
            if attempt and manner.tamper != "replay":
                call = self._signed(sync, manner)
            reply = await self._callbacks.deliver(url, call)
            answers.append(Answered(reply, call.sent_ms))
            codes = manner.expect or _expected(manner, attempt)
            found = check_reply(sync.name, reply, codes)
            if manner.dialect.version is Version.KIT_V1:
                found += check_v1(sync.name, reply, self._settings.kit_key)
            answers[-1].findings = [finding.about(sync.name) for finding in found]
            self._findings.add(*answers[-1].findings)
        return answers

    def _signed(self, sync: Sync, manner: Manner) -> Call:
        key, now_ms = self._settings.kit_key, self._clock.now_ms()
        if manner.dialect.version is Version.KIT_V1:
            return signed_v1(key, sync, now_ms, manner.tamper)
        return signed_v2(key, sync, new_nonce(), now_ms, manner.tamper)


def _batches(people: Sequence[Person]) -> Iterator[Sequence[Person]]:
    for start in range(0, len(people), MOST_PEOPLE):
        yield people[start : start + MOST_PEOPLE]


def _expected(manner: Manner, attempt: int) -> frozenset[str]:
    if manner.tamper == "none" or (manner.tamper == "replay" and not attempt):
        return _SUCCESS
    known: Mapping[str, frozenset[str]] = EXPECTED
    if manner.dialect.version is Version.KIT_V1:
        known = V1_EXPECTED
    return known.get(manner.tamper, EXPECTED[manner.tamper])
