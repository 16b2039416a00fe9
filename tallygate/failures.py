"""Which failures a user can mend, and the one line that is said about each."""

from typing import Final

from sqlalchemy.exc import OperationalError

from billing_sync.errors import BillingSyncError
from billing_sync.store.ledger import PartitionsDiffer
from metering.errors import MeteringError
from tallygate.secret_files import SecretUnusable
from tallygate.serve import CouldNotStart, InUse

NAMED: Final = (
    BillingSyncError,
    CouldNotStart,
    InUse,
    MeteringError,
    OSError,
    PartitionsDiffer,
    SecretUnusable,
)


def mendable(failure: BaseException, *also: type[Exception]) -> str | None:
    """What the user is told; None for what can only be a mistake of ours. `also` is mendable too."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, OperationalError):
        return f"the ledger cannot be used: {failure.orig}"
    if not isinstance(failure, (*NAMED, *also)):
        return None
    return (str(failure) or type(failure).__name__).splitlines()[0]
