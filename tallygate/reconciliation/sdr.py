"""The words of a comparison with the marketplace's own list of records (SDR, 话单)."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

MOST_FINDINGS: Final = 10_000  # kept; the others are counted


class Line(NamedTuple):
    """One line of the list. Without a `metering_sn` it has an instance and an interval, UTC ms."""

    line: int
    metering_sn: str
    instance_id: str
    begin: int | None
    end: int | None
    value: Decimal
    refused: str = ""  # the marketplace's word, where it says that the record does not count


class Faulty(NamedTuple):
    """A line that cannot be read, and why."""

    line: int
    text: str


class Finding(NamedTuple):
    """Where the two differ. `line` is 0 for a record that the list lacks."""

    kind: str  # unreadable, unknown, value, interval, refused, unsent, twice, missing
    line: int
    metering_sn: str
    instance_id: str
    text: str


@dataclass
class Matched:
    """What came of it. [begin, end) is the time that the list speaks of, UTC ms."""

    lines: int = 0
    lines_matched: int = 0
    equal: int = 0
    confirmed: int = 0
    begin: int = 0
    end: int = 0
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def exact(self) -> bool:
        """Both lists are the same."""
        return not self.findings

    def found(self, finding: Finding) -> None:
        """One more finding."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        else:
            self.more += 1

    def speaks_of(self, begin: int, end: int) -> None:
        """A record that is in both lists."""
        self.begin = min(self.begin, begin) if self.lines_matched else begin
        self.end = max(self.end, end)
        self.lines_matched += 1
