"""Works on licences again because a person says so: what was made is uploaded, what was not is made."""

from sqlalchemy import Engine

from billing_sync.errors import UnknownLicence, WrongState
from billing_sync.licences import LicenceState
from billing_sync.store import licences as store
from billing_sync.store.engine import writing


def retry(engine: Engine, licence_id: str, now_ms: int) -> str:
    """Work on one again; the state that it is in now. Raises UnknownLicence, WrongState."""
    with writing(engine) as session:
        row = store.of(session, licence_id) if licence_id.isprintable() else None
        if row is None:
            raise UnknownLicence("there is no licence with this id")
        if not row.sealed and not row.asked:
            raise WrongState("the buyer's data were erased: there is nothing to make or upload")
        if not store.retry(session, licence_id, now_ms):
            raise WrongState("it is due already")
        return str(row.state)


def retry_rejected(engine: Engine, now_ms: int) -> list[str]:
    """Work again on everything that was refused or rejected; the ids."""
    with writing(engine) as session:
        wanted = store.in_states(session, (LicenceState.REFUSED, LicenceState.REJECTED))
        return [each for each in wanted if store.retry(session, each, now_ms)]
