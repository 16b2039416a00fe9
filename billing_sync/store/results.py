"""The SQL of a close, second half: what a page's decisions come to, written in bulk."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Dialect, Insert, Table, Update, bindparam, insert, update
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlmodel import Session, SQLModel

from billing_sync.grouping import Unrecorded
from billing_sync.models import Bucket
from billing_sync.store.engine import add_up
from billing_sync.store.running_totals import recorded

_TABLES: Final = SQLModel.metadata.tables
_USED: Final = _TABLES["usage_window"]
_INSTANCE: Final = _TABLES["instance"]
_CARRY: Final = _TABLES["carry"]
_USE: Final = _TABLES["package_use"]
_WAITING: Final = _USED.c.quantity > _USED.c.recorded


class Held(NamedTuple):
    """A remainder (models.Carry)."""

    quantity: int = 0
    waiting: int = 0
    origins: str = "[]"
    unit: int = 1


_ADD_RECORD: Final = insert(_TABLES["usage_record"])
_ADD_CARRY: Final = insert(_CARRY)
_SET_RECORDED: Final = (
    update(_USED)
    .where(
        _WAITING,  # with the partition: the index of what is unrecorded, else all of an hour is read
        _USED.c.partition == bindparam("its_partition"),
        _USED.c.instance_id == bindparam("its_id"),
        _USED.c.window == bindparam("its_window"),
        _USED.c.meter == bindparam("its_meter"),
        _USED.c.origin == bindparam("its_origin"),
    )
    .values(recorded=_USED.c.quantity)
)
_SET_GIVEN: Final = (
    update(_USE)
    .where(_USE.c.instance_id == bindparam("its_id"), _USE.c.window == bindparam("its_window"))
    .values(recorded=_USE.c.quantity)
)
_SET_UNTIL: Final = (
    update(_INSTANCE)
    .where(_INSTANCE.c.id == bindparam("its_id"))
    .values(recorded_until=bindparam("until"))
)
_SET_CARRY: Final = (
    update(_CARRY)
    .where(
        _CARRY.c.instance_id == bindparam("its_id"),
        _CARRY.c.package_id == bindparam("its_package"),
    )
    .values(**{name: bindparam(f"new_{name}") for name in Held._fields})
)


@dataclass
class Results:
    """What a page's decisions come to; written all at once.

    `carries` holds the remainders as they are by now, `known` those that stand in SQL, `until` where
    the last record of an instance ends.
    """

    partition: int
    carries: dict[tuple[str, str], Held]
    records: list[dict[str, Any]] = field(default_factory=list)
    until: dict[str, int] = field(default_factory=dict)
    recorded: list[Unrecorded] = field(default_factory=list)
    given: set[tuple[str, int]] = field(default_factory=set)
    buckets: dict[tuple[str, int, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = dict(self.carries)

    def put_in_bucket(self, usage: Sequence[Unrecorded], name: str, quantity: int) -> None:
        """Name so much of the usage that no record will carry, the latest first."""
        for each in reversed(usage):
            part = min(quantity, each.quantity)
            if part:
                place = (each.instance_id, each.window, name)
                self.buckets[place] = self.buckets.get(place, 0) + part
                quantity -= part

    def write(self, session: Session) -> None:
        """Everything, in the caller's transaction."""
        marks = [
            {
                "its_partition": self.partition,
                "its_id": u.instance_id,
                "its_window": u.window,
                "its_meter": u.meter,
                "its_origin": origin,
            }
            for u in self.recorded
            for origin, _ in u.origins
        ]
        given = [{"its_id": i, "its_window": window} for i, window in self.given]
        until = [{"its_id": i, "until": until} for i, until in self.until.items()]
        session.flush()  # what goes past the session comes after what is in it
        _run(session, _ADD_RECORD, self.records)
        recorded(session, self.partition, self.records)
        _run(session, _SET_RECORDED, marks)
        _run(session, _SET_GIVEN, given)
        _run(session, _SET_UNTIL, until)
        self._write_carries(session)
        buckets = [
            {"instance_id": i, "window": window, "name": name, "quantity": quantity}
            for (i, window, name), quantity in self.buckets.items()
        ]
        add_up(session, Bucket, buckets, "quantity")

    def _write_carries(self, session: Session) -> None:
        changed = {key: held for key, held in self.carries.items() if self._known.get(key) != held}
        old = [
            {"its_id": i, "its_package": p, **{f"new_{n}": v for n, v in held._asdict().items()}}
            for (i, p), held in changed.items()
            if (i, p) in self._known
        ]
        new = [
            {"instance_id": i, "package_id": p, **held._asdict()}
            for (i, p), held in changed.items()
            if (i, p) not in self._known
        ]
        _run(session, _SET_CARRY, old)
        _run(session, _ADD_CARRY, new)


def _run(session: Session, statement: Insert | Update, rows: Sequence[dict[str, Any]]) -> None:
    """The driver's own executemany: what SQLAlchemy does to each row takes longer than the row."""
    if not rows:
        return
    connection = session.connection()
    fixed = _defaults(statement)
    compiled = _compiled(statement, connection.dialect, (*(fixed | rows[0]),))
    names = compiled.positiontup
    if names is None:
        connection.exec_driver_sql(compiled.string, [fixed | row for row in rows])
    else:
        pick = itemgetter(*names)
        connection.exec_driver_sql(compiled.string, [pick(fixed | row) for row in rows])


@lru_cache
def _defaults(statement: Insert | Update) -> dict[str, Any]:
    """What a new row has where nothing is said."""
    if not isinstance(statement, Insert):
        return {}
    columns = cast(Table, statement.table).c
    return {
        c.name: c.default.arg for c in columns if isinstance(c.default, ScalarElementColumnDefault)
    }


@lru_cache
def _compiled(statement: Insert | Update, dialect: Dialect, names: tuple[str, ...]) -> SQLCompiler:
    return statement.compile(dialect=dialect, column_keys=list(names))
