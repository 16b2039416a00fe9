"""How a month looks: lines for a terminal, and its section of docs/proof.md. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from tallygate.month.balance import SCALE, Row
from tallygate.month.outcome import Outcome

TITLE: Final = "## A simulated month"


def lines(outcome: Outcome) -> Iterator[str]:
    """For a terminal."""
    terms = outcome.terms
    verdict = "PASSED" if outcome.passed else "FAILED"
    yield f"month: {verdict} (seed {terms.seed}, {terms.customers} customers, {terms.days} days)"
    for name, *cells in _table(outcome):
        yield f"  {name:<28} {'  '.join(f'{cell:>16}' for cell in cells)}"
    yield f"  {_counts(outcome)}"
    yield from (f"  PROBLEM    {problem}" for problem in outcome.problems)


def section(outcome: Outcome) -> str:
    """For docs/proof.md."""
    terms = outcome.terms
    head, *body = _table(outcome)
    return "\n".join(
        [
            TITLE,
            "",
            f"{terms.customers} customers for {terms.days} days, the clock an argument: real lanes, a real",
            "Redis, the real control plane, and the marketplace simulator, which validates and collects",
            "at minute 15. Customers buy, are frozen, upgrade, release and come back; every dependency",
            "goes away at least twice. Quantities are in each meter's smallest unit.",
            "",
            "**Difference 0, per instance and in total.**" if outcome.passed else "**Not proved.**",
            "",
            f"| {' | '.join(head)} |",
            f"|---|{'---:|' * (len(head) - 1)}",
            *(f"| {' | '.join(row)} |" for row in body),
            "",
            *(f"* {kind.value}: noticed {count} times" for kind, count in outcome.noticed.items()),
            f"* {_counts(outcome)}",
            *(f"* PROBLEM: {problem}" for problem in outcome.problems),
            "",
            f"The same month again: `tallygate drill month --seed {terms.seed}`.",
            "",
        ]
    )


def _counts(outcome: Outcome) -> str:
    pushes = {f"pushes {kind}": count for kind, count in sorted(outcome.pushes.items())}
    return ", ".join(
        f"{name} {count}" for name, count in [*outcome.counts.items(), *pushes.items()]
    )


def _table(outcome: Outcome) -> Iterator[list[str]]:
    """The head, then a line for each figure, with a column for each product."""
    found = outcome.rows
    yield ["", *(row.product for row in found)]
    for name in ("served", "uncertain", "ledger", "records", "collected", "carry"):
        yield [name, *(amount(getattr(row, name)) for row in found)]
    for state in sorted({state for row in found for state in row.waiting}):
        yield [state, *(amount(row.waiting.get(state, 0)) for row in found)]
    for bucket in sorted({bucket for row in found for bucket in row.buckets}):
        yield [bucket, *(amount(row.buckets.get(bucket, 0)) for row in found)]
    yield ["unrecorded", *(amount(row.unrecorded) for row in found)]
    yield from _adjusted(found)
    yield ["**difference**", *(f"**{amount(row.difference)}**" for row in found)]


def _adjusted(found: list[Row]) -> Iterator[list[str]]:
    if any(row.adjusted for row in found):
        yield ["adjusted", *(amount(row.adjusted) for row in found)]


def amount(steps: int) -> str:
    """Steps as smallest units, with what is below one."""
    whole = Decimal(steps) / SCALE
    return f"{whole:f}" if steps % SCALE else str(steps // SCALE)
