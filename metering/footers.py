"""What a segment holds, said at its end: so that nobody has to read all of it to know."""

from collections.abc import Iterable, Mapping

import msgspec

from metering.usage import UsageRecord


class Footer(msgspec.Struct):
    """What a segment, or a run of them, holds: the last number of each partition, times, and sums."""

    last: dict[int, int] = {}
    first_ms: int = 0
    last_ms: int = 0
    last_number: int = 0
    records: int = 0
    quantities: dict[str, int] = {}

    def add(self, number: int, partition: int, record: UsageRecord) -> None:
        """Count one record; they come in order."""
        self.first_ms = self.first_ms or record.time_ms
        self.last_ms = record.time_ms
        self.last_number = number
        self.last[partition] = number
        self.records += 1
        quantities = self.quantities
        for meter, quantity in record.quantities.items():
            quantities[meter] = quantities.get(meter, 0) + quantity[0]

    def extend(self, later: "Footer") -> None:
        """Count what follows."""
        self.first_ms = self.first_ms or later.first_ms
        self.last_ms = max(self.last_ms, later.last_ms)
        self.last_number = max(self.last_number, later.last_number)
        self.records += later.records
        self.last |= later.last
        for meter, quantity in later.quantities.items():
            self.quantities[meter] = self.quantities.get(meter, 0) + quantity

    def done(self, checkpoints: Mapping[int, int]) -> bool:
        """Whether the ledger holds all of it, by the checkpoint of each partition."""
        return all(checkpoints.get(partition, 0) >= last for partition, last in self.last.items())


def footer_room(partitions: int, meters: Iterable[str]) -> int:
    """Bytes kept for a footer: a number a partition and a sum a meter, and those of one record more."""
    return 8192 + 32 * partitions + sum(32 + 2 * len(meter.encode()) for meter in meters)
