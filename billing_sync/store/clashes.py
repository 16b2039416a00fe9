"""Refuses to put records back over others that the ledger made for the same time meanwhile."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Final

from sqlmodel import Session, col, select

from billing_sync.errors import RecordsClash
from billing_sync.models import UsageRecord
from billing_sync.push_entries import Logged
from billing_sync.store.engine import in_parts

_SAID: Final = ("instance_id", "begin", "end", "recorded_at", "value", "relate_pkg_instance")
_WHAT_NOW: Final = (
    "nothing was changed; one was made after the backup was restored, and a person has to decide "
    "which one is right"
)


def held_alike(session: Session, wanted: Mapping[str, Logged]) -> set[str]:
    """The serials that the ledger has. Raises RecordsClash where it says other things of one."""
    found: set[str] = set()
    for some in in_parts(list(wanted)):
        for row in session.exec(select(UsageRecord).where(col(UsageRecord.metering_sn).in_(some))):
            if any(getattr(row, name) != getattr(wanted[row.metering_sn], name) for name in _SAID):
                raise RecordsClash(
                    f"record {row.metering_sn} is not the same in the ledger and in the push log: "
                    f"{_WHAT_NOW}"
                )
            found.add(row.metering_sn)
    return found


def refuse_overlaps(session: Session, lacking: Iterable[Logged]) -> None:
    """No two records of an instance share a second. `lacking` comes sorted by instance."""
    for instance_id, records in groupby(lacking, key=lambda record: record.instance_id):
        mine = [(record.begin, record.end, record.metering_sn) for record in records]
        query = select(UsageRecord.begin, UsageRecord.end, UsageRecord.metering_sn).where(
            UsageRecord.instance_id == instance_id, UsageRecord.end > min(mine)[0]
        )
        _refuse(instance_id, sorted([*mine, *session.exec(query)]))


def _refuse(instance_id: str, intervals: Sequence[tuple[int, int, str]]) -> None:
    for (_, end, one), (begin, _, other) in pairwise(intervals):
        if begin < end:
            raise RecordsClash(
                f"records {one} and {other} of instance {instance_id} overlap: {_WHAT_NOW}"
            )
