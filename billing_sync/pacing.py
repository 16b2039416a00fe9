"""Decides what becomes of a pushed batch, and how large and when the next one is. Pure.

Records that the marketplace names as bad are rejected and the others go again. A batch that fails
without names is halved until a single record is left, so that one bad record holds nobody up.
Where our keys or rights are at fault, or we push too often, no record is: all wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from billing_sync.koogallery.aksk import sdk_date
from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.models import UsageRecord
from billing_sync.states import State

_FIRST_WAIT_MS: Final = 1000
_LONGEST_WAIT_MS: Final = 60_000
_MAX_ERROR: Final = 500

Verdict = tuple[list[str], dict[str, object]]


def judge(batch: Sequence[UsageRecord], outcome: PushOutcome, now_ms: int) -> list[Verdict]:
    """What becomes of a batch's records: ids and the columns to set."""
    serials = [record.metering_sn for record in batch]
    error = f"{outcome.code} {outcome.message}".strip()[:_MAX_ERROR]
    if outcome.kind is Kind.ACCEPTED:
        return [(serials, {"state": State.SENT, "sent_at": now_ms, "code": "", "error": ""})]
    if outcome.kind is Kind.PERMANENT and outcome.blame is not Blame.CALLER:
        return _blame_records(batch, outcome, error, now_ms)
    columns: dict[str, object] = {
        "state": State.SENDING if outcome.kind is Kind.AMBIGUOUS else State.PENDING,
        "next_attempt": now_ms + _wait_ms(batch, outcome),
        "error": error,
    }
    if len(batch) == 1 and outcome.blame is not Blame.CALLER:
        columns["alone"] = True  # it may be the one that spoils every batch it is in
    return [(serials, columns)]


def _blame_records(
    batch: Sequence[UsageRecord], outcome: PushOutcome, error: str, now_ms: int
) -> list[Verdict]:
    serials = [record.metering_sn for record in batch]
    rejected: dict[str, object] = {"state": State.REJECTED, "code": outcome.code, "error": error}
    if len(serials) == 1:
        return [(serials, rejected)]
    again: dict[str, object] = {"state": State.PENDING, "next_attempt": now_ms, "error": error}
    bad = {record.metering_sn for record in batch if _is_named(record, outcome)}
    good = [serial for serial in serials if serial not in bad]
    return [(ids, columns) for ids, columns in ((sorted(bad), rejected), (good, again)) if ids]


def _is_named(record: UsageRecord, outcome: PushOutcome) -> bool:
    """By its number, or where the old interface has none, by its instance and interval."""
    if not outcome.abnormal_places:
        return record.metering_sn in outcome.abnormal
    place = (record.instance_id, sdk_date(record.begin), sdk_date(record.end))
    return record.metering_sn in outcome.abnormal or place in outcome.abnormal_places


def _wait_ms(batch: Sequence[UsageRecord], outcome: PushOutcome) -> int:
    """A batch that will be halved goes again soon, a single record after ever longer times."""
    halved = len(batch) > 1 and outcome.blame is not Blame.CALLER
    attempts = 1 if halved else max(record.attempts for record in batch)
    return max(backoff_ms(attempts), int((outcome.retry_after_s or 0) * 1000))


def backoff_ms(attempts: int) -> int:
    """1, 2, 4 … 60 seconds after the first, second, third … attempt."""
    return int(min(_FIRST_WAIT_MS * 2 ** min(max(attempts, 1) - 1, 10), _LONGEST_WAIT_MS))


@dataclass(frozen=True, slots=True)
class Pace:
    """How many records the next batch may hold, and before when nothing is pushed at all."""

    size: int
    most: int
    resume_ms: int = 0
    failures: int = 0  # in a row, of batches that could not be halved any more

    def after(self, batch: Sequence[UsageRecord], outcome: PushOutcome, now_ms: int) -> "Pace":
        """The pace once `batch` has had this outcome."""
        if batch[0].alone and outcome.blame is not Blame.CALLER:
            return self  # it says nothing about the others
        if outcome.kind is Kind.ACCEPTED:
            return replace(self, size=min(self.size * 2, self.most), failures=0)
        if outcome.blame is Blame.CALLER:
            return self._paused(outcome, now_ms, self.size)
        # Names of strangers alone are none: the same batch would go for ever.
        named = any(_is_named(record, outcome) for record in batch)
        size = self.size if named else max(len(batch) // 2, 1)
        if outcome.kind is Kind.PERMANENT:
            return replace(self, size=size)
        return self._paused(outcome, now_ms, size)

    def _paused(self, outcome: PushOutcome, now_ms: int, size: int) -> "Pace":
        failures = self.failures + 1 if size == self.size else 0
        wait = max(backoff_ms(failures), int((outcome.retry_after_s or 0) * 1000))
        return replace(self, size=size, failures=failures, resume_ms=now_ms + wait)
