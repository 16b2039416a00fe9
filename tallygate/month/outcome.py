"""What a month came to: its books, its counts, and everything that is wrong with them. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from tallygate.month.balance import Books, Break, Row, breaks, rows, together, told
from tallygate.month.terms import Terms
from tallygate.month.trouble import Kind
from tallygate.simulator.findings import Finding

# What the marketplace says of callbacks while our database is away is no mistake of the ledger.
_ABOUT_RECORDS: Final = (
    "sdr-refused",
    "sdr-duplicate",
    "overlap",
    "empty-interval",
    "metering-sn",
    "push-order",
)
_NEEDED: Final = ("calls served", "records sent", "lanes adopted", "late rows", "calls refused")
_SHOWN: Final = 12


@dataclass(frozen=True)
class Outcome:
    """A month that was played. `unseen` are requests whose gateway died; `lost` names lost records."""

    terms: Terms
    books: Books
    counts: Mapping[str, int]
    noticed: Mapping[Kind, int]
    pushes: Mapping[str, int]
    findings: Sequence[Finding]
    uncertain: Sequence[str]
    unseen: Sequence[str]
    lost: Sequence[str]
    waiting: int  # deeds that were never done

    @cached_property
    def breaks(self) -> list[Break]:
        return breaks(self.books)

    @cached_property
    def rows(self) -> list[Row]:
        """One for each product, and the total."""
        found = rows(self.books)
        return [*found, together("total", found)]

    @cached_property
    def problems(self) -> list[str]:
        """Why nothing is proved, the first break with its books; empty when all is well."""
        return list(self._problems())

    @property
    def passed(self) -> bool:
        return not self.problems

    def _problems(self) -> Iterator[str]:
        for number, each in enumerate(self.breaks[:_SHOWN]):
            yield f"window {each.window}, {each.instance}: {each.what}"
            if not number:
                yield from told(self.books, each.instance)
        if len(self.breaks) > _SHOWN:
            yield f"and {len(self.breaks) - _SHOWN} more"
        yield from (
            f"{row.product}: difference {row.difference}" for row in self.rows if row.difference
        )
        if sorted(self.uncertain) != sorted(self.unseen):
            yield f"uncertain are {len(self.uncertain)} requests, unseen were {len(self.unseen)}"
        yield from (f"named lost: {name}" for name in self.lost)
        if self.waiting:
            yield f"{self.waiting} deeds were never done"
        yield from (f"nobody noticed: {kind}" for kind, n in self.noticed.items() if not n)
        yield from (f"there were no {name}" for name in _NEEDED if not self.counts.get(name))
        yield from self._complaints()

    def _complaints(self) -> Iterator[str]:
        found = Counter(
            (each.check, each.message)
            for each in self.findings
            if each.check.startswith(_ABOUT_RECORDS)
        )
        for (check, message), count in found.most_common(_SHOWN):
            yield f"the marketplace complains {count} times: {check}: {message}"

    def as_json(self) -> dict[str, Any]:
        """The outcome for scripts."""
        return {
            "drill": "month",
            "seed": self.terms.seed,
            "passed": self.passed,
            "counts": {**self.counts},
            "pushes": {**self.pushes},
            "steps": {
                row.product: {**asdict(row), "difference": row.difference} for row in self.rows
            },
            "problems": self.problems,
        }
