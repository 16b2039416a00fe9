"""Takes over instances that exist at KooGallery already, from a file.

Crash order, and what is left after each step:
1. the whole file is checked      nothing; with a single problem nothing is taken over
2. commits of 50 rows, the       some of them; the same file again takes over the rest, and finds
   pay-per-use instances first    the others there
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from sqlmodel import Session

from billing_sync.errors import ImportRefused
from billing_sync.key_making import KeyMaker
from billing_sync.store import taking_over as store
from billing_sync.store.worker import SqlWorker
from billing_sync.takeover_checks import Verdict, judge, opening_of, wrong_times
from billing_sync.takeover_rows import Problem, Taken, read
from metering.catalogue import Catalogue
from metering.clock import Clock

_AT_ONCE: Final = 50  # callbacks wait for the ledger meanwhile


class Outcome(NamedTuple):
    """How many instances the file brings, how many were there, and what is wrong with it."""

    new: int
    there: int
    problems: list[Problem]


class _Plan(NamedTuple):
    new: list[Taken]
    there: int
    problems: list[Problem]
    products: dict[str, str]


@dataclass
class Taker:
    """`maker` makes a key for each buyer who has none."""

    sql: SqlWorker
    catalogue: Catalogue
    maker: KeyMaker = field(repr=False)
    clock: Clock
    on_change: Callable[[], None]

    async def run(self, raw: bytes, *, as_json: bool, dry: bool) -> Outcome:
        """Take over what the file says, or only say what that would be (`dry`).

        Raises ImportRefused for what is no such file, SQLAlchemyError.
        """
        rows, problems = read(raw, as_json=as_json)
        problems += wrong_times(rows, self.clock.now_ms())
        plan = await self.sql.read(lambda session: self._plan(session, rows))
        problems = sorted([*problems, *plan.problems])
        outcome = Outcome(len(plan.new), plan.there, problems)
        if not dry and not problems:
            await self._take(plan)
        return outcome

    def _plan(self, session: Session, rows: Sequence[Taken]) -> _Plan:
        named = {each for row in rows for each, _ in row.used}
        known = store.known(session, sorted(named | {row.instance_id for row in rows}))
        bought = store.bought_by(session, sorted({row.order_id for row in rows}))
        products = {i: each.product_id for i, each in known.items()}
        products |= {row.instance_id: row.product_id for row in rows}
        owners = {i: each.customer_id for i, each in known.items()}
        owners |= {row.instance_id: row.customer_id for row in rows}
        plan = _Plan([], 0, [], products)
        there = 0
        for row in rows:
            other = bought.get((row.order_id, row.order_line_id, row.product_id), row.instance_id)
            found = judge(row, known.get(row.instance_id), products, owners, self.catalogue)
            if other != row.instance_id:
                found = Problem(row.line, f"its order line is instance {other} already")
            if isinstance(found, Problem):
                plan.problems.append(found)
            elif found is Verdict.NEW:
                plan.new.append(row)
            else:
                there += 1
        return plan._replace(there=there)

    async def _take(self, plan: _Plan) -> None:
        # What packages gave is theirs who must be there first.
        ordered = sorted(plan.new, key=lambda row: self.catalogue[row.product_id].is_package)
        for start in range(0, len(ordered), _AT_ONCE):
            part = ordered[start : start + _AT_ONCE]
            await self.sql.write(partial(self._add, rows=part, products=plan.products))
        if ordered:
            self.on_change()

    def _add(self, session: Session, rows: Sequence[Taken], products: dict[str, str]) -> None:
        now = self.clock.now_ms()
        taken = store.known(session, [row.instance_id for row in rows])
        for row in rows:
            if row.instance_id in taken:
                raise ImportRefused(
                    f"line {row.line}: instance {row.instance_id} came up meanwhile; run it again"
                )
            _, key = self.maker.make()
            package = self.catalogue[row.product_id].is_package
            opening = opening_of(row, self.catalogue, products)
            store.add(session, row, opening, key, now, package=package)
        store.tell(session, (row.customer_id for row in rows), now)
