"""What the exchanges of a worker share in the portable shell."""

from dataclasses import dataclass, field
from typing import Protocol

from gateway.access_log import OFF, AccessLog
from gateway.desk import Desk
from gateway.disconnect import Drains
from gateway.errors import GatewayError
from gateway.passage import Passage
from gateway.recording import Recorder
from gateway.telemetry import Telemetry
from gateway.tracing import Tracing
from gateway.upstream import Upstreams
from metering.clock import Clock


class OpenCall(Protocol):
    """An exchange or a WebSocket on its way."""

    @property
    def passage(self) -> Passage:
        """What let it in."""

    def stop(self, refusal: GatewayError) -> None:
        """End it, with its record: answer this, or cut off what was begun."""


@dataclass(frozen=True, slots=True)
class Workings:
    """One for a worker."""

    upstreams: Upstreams
    recorder: Recorder
    clock: Clock
    telemetry: Telemetry
    drains: Drains
    relays: set[OpenCall] = field(default_factory=set)  # that are open
    desk: Desk | None = None  # for calls with limits
    access: AccessLog = OFF
    tracing: Tracing | None = None
