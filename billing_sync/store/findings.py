"""The SQL of findings: each once, listed in the order they came in, counted by kind."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from billing_sync.asking import FindingPage
from billing_sync.models import Checkpoint, FindingRow
from metering.findings import Finding


def insert(session: Session, found: Iterable[Finding]) -> int:
    """Store the findings that are not known yet; how many there were."""
    rows = [{**asdict(each), "identity": each.identity} for each in found]
    if not rows:
        return 0
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(FindingRow).on_conflict_do_nothing(index_elements=["identity"])
    before = _count(session)
    session.execute(statement, rows)
    return _count(session) - before


def contradicted(session: Session, finding: Finding) -> bool:
    """Whether the checkpoint of its lane and partition says otherwise."""
    if finding.partition < 0:
        return False
    row = session.get(Checkpoint, (finding.partition, finding.lane))
    reached = row.position if row else 0
    if finding.kind == "unexplained":  # that much is counted
        return reached < finding.last
    return finding.kind == "lost_lane" and reached >= finding.first  # that is not


def count_by_kind(session: Session) -> dict[str, int]:
    """How many findings of each kind there are."""
    query = select(FindingRow.kind, func.count()).group_by(FindingRow.kind)
    return {kind: int(count) for kind, count in session.exec(query)}


def listed(session: Session, page: FindingPage) -> list[FindingRow]:
    """Findings in the order they came in."""
    query: Any = select(FindingRow).order_by(col(FindingRow.id)).limit(page.limit)
    if page.after is not None:
        query = query.where(col(FindingRow.id) > page.after)
    for column, wanted in (
        (FindingRow.kind, page.kind),
        (FindingRow.lane, page.lane),
        (FindingRow.customer_id, page.customer_id),
        (FindingRow.request_id, page.request_id),
    ):
        if wanted is not None:
            query = query.where(col(column) == wanted)
    return list(session.exec(query))


def _count(session: Session) -> int:
    return int(session.exec(select(func.count()).select_from(FindingRow)).one())
