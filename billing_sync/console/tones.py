"""The colours of states. The word beside it says it all; the colour only helps."""

from collections.abc import Mapping
from typing import Final

from billing_sync.states import State
from metering.entitlement import InstanceStatus

INSTANCES: Final[Mapping[str, str]] = {
    InstanceStatus.CREATING: "info",
    InstanceStatus.ACTIVE: "good",
    InstanceStatus.FROZEN: "wait",
    InstanceStatus.RELEASED: "quiet",
}
RECORDS: Final[Mapping[str, str]] = {
    State.PENDING: "info",
    State.HELD: "wait",
    State.SENDING: "info",
    State.SENT: "info",
    State.COLLECTED: "good",
    State.CONFIRMED: "good",
    State.REJECTED: "bad",
    State.EXPIRED: "bad",
}
