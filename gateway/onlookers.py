"""Who looks on while a worker serves: nobody, unless the configuration says so."""

from typing import NamedTuple

from gateway.access_log import OFF, AccessLog
from gateway.tracing import Tracing


class Onlookers(NamedTuple):
    """Of one worker."""

    access: AccessLog = OFF
    tracing: Tracing | None = None


NOBODY = Onlookers()
