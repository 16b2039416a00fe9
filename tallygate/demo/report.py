"""What the demo found, and whether it agrees. Pure."""

from dataclasses import dataclass, field
from typing import Any, Final

from tallygate.demo.tally import Row

COLLECTED: Final = "collected"


@dataclass
class Report:
    """Every station's count, and what the marketplace holds and says.

    `packages` are dicts with `customer_id`, `product_id`, `instanceId` and their `usageInfo`;
    `records` and `findings` are as the marketplace shows them.
    """

    requests: int
    rows: list[Row]
    packages: list[dict[str, Any]]
    records: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Every station agrees on every meter, and the marketplace has nothing to complain of."""
        refused = [record for record in self.records if record.get("state") != COLLECTED]
        return not (any(row.difference for row in self.rows) or self.findings or refused)

    def as_json(self) -> dict[str, Any]:
        """The report for scripts."""
        return {
            "exact": self.exact,
            "requests": self.requests,
            "meters": [row.as_json() for row in self.rows],
            "packages": self.packages,
            "usage_records": len(self.records),
            "findings": self.findings,
            "urls": self.urls,
        }
