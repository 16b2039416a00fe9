"""How results look: lines for a terminal, and docs/proof.md. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from tallygate.drills.results import Result

_NOT_KNOWN: Final = "-"
_HEADINGS: Final = (
    "drill",
    "answered by the upstream",
    "seen complete",
    "records",
    "uncertain",
    "tokens: customers / upstream / journal / Redis + ledger",
    "**loss**",
    "**double**",
    "late",
    "unexplained",
    "lost in a power cut",
    "answered, then refused",
    "503",
    "cut, torn, not connected",
    "recovered in",
    "seed",
)


def lines(result: Result) -> Iterator[str]:
    """One result for a terminal."""
    yield f"{result.drill}: {'PASSED' if result.passed else 'FAILED'} (seed {result.seed})"
    yield (
        f"  requests   upstream answered {result.answered}, customers saw complete {result.seen}, "
        f"records {result.records}, uncertain {result.uncertain}"
    )
    yield f"  tokens     {_tokens(result, ', ')}"
    yield (
        f"  exactness  loss {result.loss}, double count {result.double}; late {_known(result.late)}, "
        f"unexplained {result.unexplained}, lost in a power cut {result.lost_in_cut}, "
        f"answered in vain {result.in_vain}"
    )
    refused = ", ".join(f"{count} × {status}" for status, count in result.refused.items())
    yield (
        f"  customers  refused {refused or 0}; cut {result.cut}, torn {result.torn}, "
        f"not connected {result.unreachable}, hung up {result.left}"
    )
    yield f"  recovered  {_recovered(result)}"
    yield from (f"  note       {note}" for note in result.notes)
    yield from (f"  PROBLEM    {problem}" for problem in result.problems)


def proof(results: Sequence[Result], facts: Mapping[str, str]) -> str:
    """docs/proof.md; `facts` are what it was shown with, by name."""
    return "\n".join(
        [
            "# What was shown",
            "",
            "Written by `make prove`. Each drill is real load (JSON, SSE with and without usage, slow",
            "replies, customers who hang up) on a throw-away installation with two gateway workers, a",
            "fault in the middle of it, and a judgement request by request: what the upstream answered",
            "stands in exactly one record or is named, what a customer saw complete stands in a record,",
            "and the counts in Redis and the ledger are the sum of the records.",
            "",
            *_verdict(results),
            "",
            *(f"* {name}: {fact}" for name, fact in facts.items()),
            "",
            f"| {' | '.join(_HEADINGS)} |",
            f"|{'---|' * len(_HEADINGS)}",
            *(f"| {' | '.join(_cells(result))} |" for result in results),
            "",
            *_below(results),
            "One drill alone, with the same dice: `tallygate drill NAME --seed N`. With your own routes,",
            "meters and products: `-c tallygate.yaml`. Processes and time are not drawn by the dice, so",
            "counts differ from run to run; the verdict must not.",
            "",
        ]
    )


def _verdict(results: Sequence[Result]) -> Iterator[str]:
    failed = [result.drill for result in results if not result.passed]
    yield f"**Not proved: {', '.join(failed)}.**" if failed else "**Loss 0, double count 0.**"
    taken = sum(result.lost_in_cut for result in results)
    if taken:
        yield (
            f"Power cuts took {taken} requests from journal and counts that the upstream had answered:"
        )
        yield "that much `fsync: interval` allows. Of those seen complete `fsync: always` took none."


def _below(results: Iterable[Result]) -> Iterator[str]:
    said = [
        f"* {result.drill}: {text}"
        for result in results
        for text in (*result.notes, *(f"PROBLEM: {problem}" for problem in result.problems))
    ]
    if said:
        yield from (*said, "")


def _cells(result: Result) -> Iterator[str]:
    yield result.drill
    yield from map(str, (result.answered, result.seen, result.records, result.uncertain))
    yield _tokens(result, " / ", named=False)
    yield from (f"**{result.loss}**", f"**{result.double}**", _known(result.late))
    yield from map(str, (result.unexplained, result.lost_in_cut, result.in_vain))
    yield str(result.refused.get(503, 0))
    yield f"{result.cut}, {result.torn}, {result.unreachable}"
    yield from (_recovered(result), str(result.seed))


_WHO: Final = {
    "seen": "customers",
    "answered": "upstream",
    "journal": "journal",
    "counted": "Redis + ledger",
}


def _tokens(result: Result, between: str, *, named: bool = True) -> str:
    counts = {_WHO[who]: count for who, count in result.tokens.items()}
    return between.join(f"{who} {n}" if named else str(n) for who, n in counts.items())


def _known(count: int | None) -> str:
    return _NOT_KNOWN if count is None else str(count)


def _recovered(result: Result) -> str:
    return _NOT_KNOWN if result.recovered_s is None else f"{result.recovered_s:.1f} s"
