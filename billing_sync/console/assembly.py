"""Makes the console of the parts of a control plane that is put together already."""

import os
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.routing import Route

from billing_sync.acting import Decision, perform
from billing_sync.console.ports import Ports, Prover
from billing_sync.console.running import facts_of
from billing_sync.console.site import console_routes
from billing_sync.correcting import Corrector
from billing_sync.key_ring import KeyRing
from billing_sync.mapping import Mapper
from billing_sync.models import UsageRecord
from billing_sync.runner import Runner
from billing_sync.usage_view import UsageView
from billing_sync.watching import Terms


@dataclass(frozen=True)
class ControlParts:
    """What the control plane has. `webhooks` are the names of those configured."""

    runner: Runner
    view: UsageView
    mapper: Mapper
    corrector: Corrector
    keys: KeyRing
    admin_token: str = field(repr=False)
    webhooks: Collection[str] = ()
    prover: Prover | None = None


def routes_of(parts: ControlParts) -> list[Route]:
    """Every route of the console."""
    return console_routes(ports_of(parts))


def ports_of(parts: ControlParts) -> Ports:
    """What its pages are given."""
    runner, corrector = parts.runner, parts.corrector

    def decide(decision: Decision) -> UsageRecord:
        act_id, now_ms = uuid.uuid4().hex, runner.clock.now_ms()
        return perform(runner.engine, corrector.log, decision, act_id=act_id, now_ms=now_ms)

    return Ports(
        engine=runner.engine,
        view=parts.view,
        clock=runner.clock,
        zone=runner.zone,
        terms=Terms(runner.catalogue, runner.zone),
        decide=decide,
        corrector=corrector,
        keys=parts.keys,
        mapper=parts.mapper,
        webhooks=parts.webhooks,
        facts=lambda: facts_of(runner),
        stop=lambda: runner.halt.stop,
        admin_token=parts.admin_token,
        randomness=os.urandom,
        prover=parts.prover,
    )
