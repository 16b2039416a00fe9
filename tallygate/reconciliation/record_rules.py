"""The marketplace's rules for records, held against those that are in the ledger. Pure."""

from collections.abc import Iterator
from typing import Final

from billing_sync import records
from billing_sync.records import MAX_STEPS, SECOND_MS
from billing_sync.store.balancing import Holding, Recorded
from tallygate.reconciliation.amounts import Difference, steps_of

STATES: Final = (
    "pending",
    "held",
    "sending",
    "sent",
    "collected",
    "confirmed",
    "rejected",
    "withheld",  # rejected by a person, not by the marketplace
    "expired",
)


def broken_rules(holding: Holding) -> Iterator[Difference]:
    """What the marketplace would refuse, or count once for two (spec §7.1, §7.2)."""
    until = 0
    for record in holding.records:
        for text in _faults(record, holding.instance_id, until):
            place = (holding.instance_id, record.meter, record.window, record.window)
            yield Difference("rule", *place, 0, record.metering_sn, text)
        until = max(until, record.end)


def _faults(record: Recorded, instance_id: str, until: int) -> Iterator[str]:
    steps = steps_of(record.value)
    if steps is None or not 0 < steps <= MAX_STEPS:
        yield f"value {record.value[:40]!r} is none the marketplace takes"
    if record.begin >= record.end or record.begin % SECOND_MS or record.end % SECOND_MS:
        yield "its interval is empty, or not of whole seconds"
    if record.begin < until:
        yield "its interval begins before the one before it ends"
    if record.metering_sn != records.metering_sn(instance_id, record.begin, record.end):
        yield "its metering_sn is not that of its instance and interval"
    if record.state not in STATES:
        yield f"nobody knows its state {record.state[:40]!r}"
