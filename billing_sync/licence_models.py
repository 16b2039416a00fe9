"""The tables of licences: what was asked for, made and uploaded, and authorization codes.

Times are UTC milliseconds. Fingerprints, licences and codes are sealed (see licence_sealing).
"""

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel


def _big(default: int | None = None) -> int:
    field: int = Field(default=default, sa_type=BigInteger)
    return field


class Licence(SQLModel, table=True):
    """One licence: of one event for one device, for ever the same once it is made (spec §4.1).

    `asked` is the sealed fingerprint; `sealed` the sealed licence, empty until it is made and after
    the buyer's data were erased. `next_attempt`: while it is worked on, until when nobody else does.
    """

    __table_args__ = (
        UniqueConstraint("event_id", "device"),
        Index("ix_licence_due", "state", "next_attempt"),
        Index("ix_licence_received_at", "received_at", "id"),
    )

    id: str = Field(primary_key=True)  # see licences.licence_id
    event_id: str
    device: str  # keyed digest of the fingerprint; empty without one
    instance_id: str = Field(index=True)
    product_id: str = ""  # it was made for
    by_reply: bool = False  # delivered in the reply to getLicense, not uploaded (spec §4.3)
    effective: int = _big()
    expires: int = _big(0)  # 0: never
    asked: str = ""
    received_at: int = _big()
    state: str = "making"  # licences.LicenceState
    attempts: int = 0  # of the step it is at
    next_attempt: int = _big(0)
    code: str = ""  # of the last attempt: a result code of ours, or an error code of the open API
    error: str = ""
    kind: str = ""  # CHARACTERS or FILE
    file_name: str = ""
    sha256: str = ""
    sealed: str = ""
    made_at: int = _big(0)
    delivered_at: int = _big(0)


class LicenceCode(SQLModel, table=True):
    """One authorization code (spec §4.2) that became known; its events stand in the inbox."""

    __tablename__ = "licence_code"  # type: ignore[mutable-override]  # SQLModel types it so

    id: str = Field(primary_key=True)  # see licence_sealing.code_id
    shown: str = ""  # how it begins
    sealed: str = ""  # empty once it is released
    product_id: str = ""
    order_id: str = ""
    status: str = "active"  # metering.entitlement.InstanceStatus
    known_since: int = _big()
    expires: int = _big(0)
    released: int = _big(0)
    activated: int = _big(0)
    last_heartbeat: int = _big(0)
