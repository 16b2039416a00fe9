"""What a drill found, as figures, lines, JSON and a row of docs/proof.md. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tallygate.drills.books import Books
from tallygate.drills.judging import Evidence, Verdict

TOKENS: Final = ("tokens_in", "tokens_out")


@dataclass(frozen=True)
class Result:
    """One drill. Counts are requests unless they say tokens; tokens are those in and out together."""

    drill: str
    seed: int
    answered: int = 0  # by the upstream, to the end
    seen: int = 0  # by their customers, to the end
    records: int = 0
    uncertain: int = 0
    tokens: Mapping[str, int] = field(default_factory=dict)  # by who counted them
    loss: int = 0
    double: int = 0
    late: int | None = None  # booked in another hour than their own; None where nobody could look
    unexplained: int = 0
    lost_in_cut: int = 0
    in_vain: int = 0  # answered by the upstream, and refused to their customers
    refused: Mapping[int, int] = field(default_factory=dict)  # by status
    cut: int = 0
    torn: int = 0
    unreachable: int = 0
    left: int = 0
    recovered_s: float | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Is everything counted once, or named?"""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The result for scripts."""
        return {**asdict(self), "passed": self.passed}


def result_of(name: str, seed: int, books: Books, evidence: Evidence, verdict: Verdict) -> Result:
    """The figures of a drill."""
    return Result(
        drill=name,
        seed=seed,
        answered=sum(answer.complete for answer in evidence.answered.values()),
        seen=len(books.complete),
        records=len(evidence.records),
        uncertain=len(evidence.uncertain),
        tokens=_tokens(books, evidence),
        loss=verdict.loss,
        double=verdict.double,
        unexplained=verdict.unexplained,
        lost_in_cut=verdict.lost_in_cut,
        in_vain=verdict.refused,
        refused=dict(sorted(books.refused.items())),
        cut=books.cut,
        torn=books.torn,
        unreachable=books.unreachable,
        left=books.left,
        problems=[*verdict.problems, *_complaints(books)],
    )


def unexpected(result: Result, *, workers_died: bool, interrupted: bool) -> list[str]:
    """What must not be where no worker died, and where calls were not interrupted."""
    found = []
    if result.uncertain and not workers_died:
        found.append(f"{result.uncertain} requests are uncertain, though no worker died")
    noticed = result.cut + result.torn + result.unreachable + sum(result.refused.values())
    if noticed and not interrupted:
        found.append(f"customers noticed the fault in {noticed} calls")
    return found


def _complaints(books: Books) -> list[str]:
    """What the customers themselves noticed."""
    found = []
    if books.repeated_ids:
        found.append(f"{len(books.repeated_ids)} request ids were given to two replies")
    if books.without_id:
        found.append(f"{books.without_id} replies came without X-Request-Id")
    if books.without_retry_after:
        found.append(f"{books.without_retry_after} replies 503 came without Retry-After")
    if not books.complete:
        found.append("no call was answered")
    return found


def _tokens(books: Books, evidence: Evidence) -> dict[str, int]:
    return {
        "seen": sum(seen.tokens_in + seen.tokens_out for seen in books.complete.values()),
        "answered": sum(
            answer.tokens_in + answer.tokens_out
            for answer in evidence.answered.values()
            if answer.complete
        ),
        "journal": sum(
            record.quantities.get(meter, 0) for record in evidence.records for meter in TOKENS
        ),
        "counted": sum(
            count
            for item, count in evidence.counted.items()
            if item.meter in TOKENS and not item.instance_id
        ),
    }
