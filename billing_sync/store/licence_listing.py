"""The SQL of looking at licences: a page of them without their secrets, and how they stand."""

from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, and_, col, or_, select

from billing_sync.asking import Page
from billing_sync.errors import BadQuestion
from billing_sync.licence_models import Licence, LicenceCode
from billing_sync.licences import LicenceState
from billing_sync.models import Instance

_HIDDEN: Final = {"asked", "sealed", "device"}
_WAITING: Final = (LicenceState.MAKING, LicenceState.UPLOADING)


class Standing(NamedTuple):
    """Licences by state, when the oldest was asked for that is not delivered (UTC ms, 0: none), and
    authorization codes by status."""

    states: dict[str, int]
    oldest: int
    codes: dict[str, int]


def listed(session: Session, page: Page) -> list[dict[str, Any]]:
    """Licences in the order in which they were asked for. Raises BadQuestion."""
    query = select(Licence, Instance.customer_id).join(
        Instance, col(Instance.id) == Licence.instance_id, isouter=True
    )
    query = query.where(*_wanted(session, page))
    query = query.order_by(col(Licence.received_at), col(Licence.id)).limit(page.limit)
    return [shown(row) | {"customer_id": customer or ""} for row, customer in session.exec(query)]


def shown(row: Licence) -> dict[str, Any]:
    """A licence without what is secret; `for_device` says whether it is bound to one."""
    return {
        **row.model_dump(exclude=_HIDDEN),
        "for_device": bool(row.device),
        "is_kept": bool(row.sealed),
    }


def _wanted(session: Session, page: Page) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if page.customer_id is not None:
        wanted.append(col(Instance.customer_id) == page.customer_id)
    if page.instance_id is not None:
        wanted.append(col(Licence.instance_id) == page.instance_id)
    if page.state is not None:
        wanted.append(col(Licence.state) == page.state)
    if page.after is not None:
        last = session.get(Licence, page.after)
        if last is None:
            raise BadQuestion("after is no licence; take `next` of the page before")
        behind = and_(col(Licence.received_at) == last.received_at, col(Licence.id) > last.id)
        wanted.append(or_(col(Licence.received_at) > last.received_at, behind))
    return wanted


def codes(session: Session, page: Page) -> list[dict[str, Any]]:
    """Authorization codes in the order of their ids, without the codes themselves."""
    query = select(LicenceCode).order_by(col(LicenceCode.id)).limit(page.limit)
    if page.after is not None:
        query = query.where(col(LicenceCode.id) > page.after)
    if page.state is not None:
        query = query.where(col(LicenceCode.status) == page.state)
    return [row.model_dump(exclude={"sealed"}) for row in session.exec(query)]


def standing(session: Session) -> Standing:
    """How licences stand, for metrics."""
    states = session.exec(select(Licence.state, func.count()).group_by(col(Licence.state)))
    status = session.exec(
        select(LicenceCode.status, func.count()).group_by(col(LicenceCode.status))
    )
    oldest = select(func.min(Licence.received_at)).where(col(Licence.state).in_(_WAITING))
    return Standing(
        {state: int(count) for state, count in states},
        session.exec(oldest).one() or 0,
        {state: int(count) for state, count in status},
    )
