"""Judges a drill request by request: what was answered, what was seen, what is in the books. Pure.

A request that the upstream answered stands in exactly one record, or is named: uncertain (its
worker died with it open), refused (its customer was told that it is not served), or lost in a power
cut, where it was never made durable. What stands in the counts is the sum of the records, and where
it is more, the surplus is named `unexplained`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from metering.partitions import partition_of
from tallygate.drills.books import Seen

_FEW = 5


class Answered(NamedTuple):
    """What the upstream says of one request; `complete` when it sent its reply to the end."""

    customer_id: str
    tokens_in: int
    tokens_out: int
    complete: bool

    @property
    def tokens(self) -> tuple[int, int]:
        """In and out."""
        return self.tokens_in, self.tokens_out


class Item(NamedTuple):
    """What is counted; without an instance it is the customer's total."""

    customer_id: str
    instance_id: str
    meter: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record of a lane, and what it adds to the counts."""

    request_id: str
    lane: str
    number: int
    time_ms: int
    customer_id: str
    complete: bool
    quantities: Mapping[str, int]
    amounts: Mapping[Item, int]
    exact: bool = True  # its tokens are the upstream's own word


class Unexplained(NamedTuple):
    """Records `first..last` that were counted and are in no journal."""

    lane: str
    partition: int
    first: int
    last: int


@dataclass(frozen=True)
class Evidence:
    """Everything a drill can know when it is over."""

    answered: Mapping[str, Answered]
    seen: Mapping[str, Seen]
    records: list[Recorded]
    counted: Mapping[Item, int]
    partitions: int
    answered_twice: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    uncertain: frozenset[str] = frozenset()
    unexplained: tuple[Unexplained, ...] = ()
    lost_lanes: tuple[str, ...] = ()
    unsynced: frozenset[str] = frozenset()  # in records that a power cut took
    fsync_always: bool = False  # a reply's last byte waited until its record was durable


@dataclass
class Verdict:
    """What was found. `problems` are sentences; without any, everything is counted or named."""

    loss: int = 0  # requests that are neither counted nor named
    double: int = 0
    unexplained: int = 0  # requests that are counted, and in no journal
    lost_in_cut: int = 0  # requests that a power cut took from the journal, and nothing counted
    refused: int = 0  # requests the upstream answered for nothing: their customers got a refusal
    problems: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Is everything counted once, or named?"""
        return not self.problems

    def finds(self, what: str, requests: Iterable[str]) -> int:
        """Note a problem with these requests, if there are any; how many there are."""
        found = sorted(requests)
        if found:
            more = ", …" if len(found) > _FEW else ""
            self.problems.append(f"{len(found)} {what}: {', '.join(found[:_FEW])}{more}")
        return len(found)


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a drill."""
    verdict = Verdict()
    recorded = Counter(record.request_id for record in evidence.records)
    _judge_names(evidence, recorded, verdict)
    _judge_lanes(evidence.records, verdict)
    _judge_tokens(evidence, verdict)
    _judge_requests(evidence, recorded.keys(), verdict)
    _judge_counts(evidence, recorded.keys(), verdict)
    return verdict


def _judge_names(evidence: Evidence, recorded: Counter[str], verdict: Verdict) -> None:
    """No request stands in two places, and no lane was given up."""
    verdict.finds("lanes are lost", evidence.lost_lanes)
    verdict.finds("requests were sent to the upstream twice", evidence.answered_twice)
    twice = [request_id for request_id, times in recorded.items() if times > 1]
    verdict.finds("requests have more than one record", twice)
    verdict.double += sum(recorded[request_id] - 1 for request_id in twice)
    both = evidence.uncertain & recorded.keys()
    verdict.finds("requests are called uncertain and have a record", both)
    used = {record.request_id for record in evidence.records if record.quantities}
    made_up = used - evidence.answered.keys()
    verdict.double += verdict.finds("records are of requests the upstream never saw", made_up)
    verdict.finds("requests were refused and are counted", used & evidence.refused)


def _judge_requests(evidence: Evidence, recorded: Set[str], verdict: Verdict) -> None:
    """Every request is in a record, or it is named; or a power cut took its record."""
    named = evidence.uncertain | evidence.refused | evidence.unsynced
    lost = evidence.answered.keys() - recorded - named
    verdict.refused = len((evidence.answered.keys() & evidence.refused) - recorded)
    verdict.loss += verdict.finds("requests the upstream answered have no record", lost)
    # The last byte of a reply comes after its record: no name replaces that.
    excused = frozenset() if evidence.fsync_always else evidence.unsynced
    unkept = evidence.seen.keys() - recorded - excused
    verdict.finds("requests their customers saw complete have no record", unkept)
    verdict.loss += len(unkept - lost)


def _judge_tokens(evidence: Evidence, verdict: Verdict) -> None:
    """A complete reply is recorded with the tokens that were answered, and those that were seen.

    So is one that was read to its end for a customer who had left.
    """
    said, seen = [], []
    for record in evidence.records:
        if "tokens_in" not in record.quantities or not (record.complete or record.exact):
            continue
        tokens = (record.quantities["tokens_in"], record.quantities.get("tokens_out", 0))
        answered = evidence.answered.get(record.request_id)
        if answered is not None and answered.complete and tokens != answered.tokens:
            said.append(record.request_id)
        whole = evidence.seen.get(record.request_id)
        if whole is not None and tokens != (whole.tokens_in, whole.tokens_out):
            seen.append(record.request_id)
    verdict.finds("records have other tokens than the upstream answered", said)
    verdict.finds("records have other tokens than their customers saw", seen)


def _judge_lanes(records: Iterable[Recorded], verdict: Verdict) -> None:
    """In a lane numbers only grow, and time never goes back."""
    last: dict[str, Recorded] = {}
    wrong = []
    for record in sorted(records, key=lambda record: (record.lane, record.number)):
        before = last.get(record.lane)
        if before is not None and (
            record.number == before.number or record.time_ms < before.time_ms
        ):
            wrong.append(record.request_id)
        last[record.lane] = record
    verdict.finds("records go back in number or time", wrong)


def _judge_counts(evidence: Evidence, recorded: Set[str], verdict: Verdict) -> None:
    """What is counted is what the records say; more than that must be named, and be missing there."""
    taken = evidence.unsynced - recorded
    gone = Counter(
        evidence.answered[request_id].customer_id
        for request_id in taken
        if request_id in evidence.answered
    )
    touched = {entry.partition for entry in evidence.unexplained}
    wrong: Counter[tuple[str, str]] = Counter()
    for item, difference in _differences(evidence):
        named = partition_of(item.customer_id, evidence.partitions) in touched
        known = gone[item.customer_id] if named else 0
        surplus = max(0, difference)
        is_count = item.meter == "requests" and not item.instance_id
        # Of other meters a surplus can be any number, where requests are known to be missing.
        if difference < 0 or not known or (is_count and surplus > known):
            place = "charged to instances" if item.instance_id else "of customers"
            wrong[f"{item.meter} {place}", "more" if difference > 0 else "fewer"] += abs(difference)
        if is_count:
            verdict.loss += max(0, -difference)
            verdict.double += max(0, surplus - known)
            verdict.unexplained += min(surplus, known)
    verdict.problems += [
        f"{what}: {count} {way} are counted than recorded" for (what, way), count in wrong.items()
    ]
    unnamed = (taken - evidence.uncertain) & evidence.answered.keys()
    verdict.lost_in_cut = max(0, len(unnamed) - verdict.unexplained)


def _differences(evidence: Evidence) -> Iterable[tuple[Item, int]]:
    """Counted less recorded, where it is not 0."""
    total: Counter[Item] = Counter()
    for record in evidence.records:
        total.update(record.amounts)
    items = sorted(total.keys() | evidence.counted.keys())
    differences = ((item, evidence.counted.get(item, 0) - total[item]) for item in items)
    return [(item, difference) for item, difference in differences if difference]
