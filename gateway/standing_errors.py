"""How a call is refused for how what was bought stands. The words are in statuses.py. Pure.

NotEntitled
 ├── InstanceFrozen 403 instance_frozen
 ├── InstanceExpired 403 instance_expired
 ├── TrialOver 403 trial_over
 ├── InstanceReleased 403 instance_released
 └── InstanceNotReady 403 instance_not_ready
"""

from collections.abc import Mapping
from typing import Final

from gateway.errors import NotEntitled, said_of
from gateway.statuses import Standing


class InstanceFrozen(NotEntitled):
    status, code, message, message_zh, headers = said_of(Standing.FROZEN)


class InstanceReleased(NotEntitled):
    status, code, message, message_zh, headers = said_of(Standing.RELEASED)


class InstanceNotReady(NotEntitled):
    status, code, message, message_zh, headers = said_of(Standing.CREATING)


class InstanceExpired(NotEntitled):
    status, code, message, message_zh, headers = said_of(Standing.IN_GRACE)


class TrialOver(NotEntitled):
    status, code, message, message_zh, headers = said_of(Standing.TRIAL_OVER)


REFUSED: Final[Mapping[Standing, type[NotEntitled]]] = {
    Standing.CREATING: InstanceNotReady,
    Standing.FROZEN: InstanceFrozen,
    Standing.IN_GRACE: InstanceExpired,
    Standing.TRIAL_OVER: TrialOver,
    Standing.RELEASED: InstanceReleased,
    Standing.NOT_BOUGHT: NotEntitled,
}
"""The error of each standing that refuses a call from the start."""
