"""What can go wrong in the kernel.

MeteringError
 ├── MeteringUnavailable   the counters cannot be reached, or refused; calling again is safe
 │    └── NodeUnavailable  one node of a cluster cannot be reached; the others may
 ├── WriteUnknown          a write was sent and its reply was lost; sending it again is safe
 ├── StoreUnsuitable       the store is reachable but must not be used (wrong policy)
 └── JournalFull           the journal cannot take one more request
"""


class MeteringError(Exception):
    """Root of the kernel's errors."""


class MeteringUnavailable(MeteringError):
    """The counters cannot be reached, or refused. Every call may be made again."""


class NodeUnavailable(MeteringUnavailable):
    """One node of the cluster cannot be reached: other partitions may do better."""


class WriteUnknown(MeteringError):
    """A write was sent and its reply was lost. Every write here may be sent again."""


class StoreUnsuitable(MeteringError):
    """The store answers, but counting in it would lose usage."""


class JournalFull(MeteringError):
    """The journal cannot take one more request: no room on the disk, or too many are open."""
