"""What can go wrong in the kernel.

MeteringError
 ├── MeteringUnavailable   the counters cannot be reached; nothing was changed
 ├── WriteUnknown          a write was sent and its reply was lost; sending it again is safe
 └── StoreUnsuitable       the store is reachable but must not be used (wrong policy)
"""


class MeteringError(Exception):
    """Root of the kernel's errors."""


class MeteringUnavailable(MeteringError):
    """The counters cannot be reached; nothing was changed."""


class WriteUnknown(MeteringError):
    """A write was sent and its reply was lost. Every write here may be sent again."""


class StoreUnsuitable(MeteringError):
    """The store answers, but counting in it would lose usage."""
