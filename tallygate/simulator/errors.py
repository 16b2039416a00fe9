"""What a control request can do wrong.

SimulatorError
  BadRequest   400  a field is missing or has no sense
  NotFound     404  no such order, instance or product
  TooLarge     413  the body is larger than anything the marketplace takes
  NotReady     409  the production address is not set yet
"""

from typing import ClassVar


class SimulatorError(Exception):
    """Base of the simulator's own errors; the text tells the caller what to do."""

    status: ClassVar[int] = 500


class BadRequest(SimulatorError):
    status = 400


class NotFound(SimulatorError):
    status = 404


class NotReady(SimulatorError):
    status = 409


class TooLarge(SimulatorError):
    status = 413
