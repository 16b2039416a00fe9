"""The SQL of findings: each once, listed in the order they came in, counted by kind."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.asking import FindingPage
from billing_sync.finding_models import FindingRow
from billing_sync.models import Checkpoint
from billing_sync.store.engine import inserting
from metering.findings import Finding


def insert(session: Session, found: Iterable[Finding]) -> int:
    """Store the findings that are not known yet; how many there were."""
    rows = [_row(each) for each in found]
    if not rows:
        return 0
    new = inserting(session, FindingRow).on_conflict_do_nothing(index_elements=["identity"])
    return len(session.execute(new.returning(FindingRow.identity), rows).all())


def _row(finding: Finding) -> dict[str, Any]:
    """PostgreSQL takes no NUL in a text; whoever wrote it, one must not hold up all others."""
    values = {**asdict(finding), "identity": finding.identity}
    return {k: v.replace("\0", "") if isinstance(v, str) else v for k, v in values.items()}


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
