"""Which failures a user can mend, and the one line that is said about each."""

import sys
from typing import Final

from billing_sync.errors import BillingSyncError
from metering.errors import MeteringError
from tallygate.secret_files import SecretUnusable
from tallygate.serve import CouldNotStart, InUse

NAMED: Final = (BillingSyncError, CouldNotStart, InUse, MeteringError, OSError, SecretUnusable)


def mendable(failure: BaseException, *also: type[Exception]) -> str | None:
    """What the user is told; None for what can only be a mistake of ours. `also` is mendable too."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if "sqlalchemy" in sys.modules and (reason := _of_the_ledger(failure)):
        return reason
    if not isinstance(failure, (*NAMED, *also)):
        return None
    return (str(failure) or type(failure).__name__).splitlines()[0]


def _of_the_ledger(failure: BaseException) -> str | None:
    """What SQL raised. A data plane has none, and would import it only to learn that."""
    from sqlalchemy.exc import InternalError, OperationalError, TimeoutError  # noqa: PLC0415

    from billing_sync.store.engine import first_line  # noqa: PLC0415
    from billing_sync.store.ledger import PartitionsDiffer  # noqa: PLC0415

    if isinstance(failure, OperationalError | InternalError):  # the latter: it only reads
        return f"the ledger cannot be used: {first_line(failure)}"
    if isinstance(failure, TimeoutError):
        return "the ledger cannot be used: none of its connections became free"
    return str(failure) if isinstance(failure, PartitionsDiffer) else None
