"""A finding is one mistake of the merchant that the marketplace noticed."""

from collections import deque
from dataclasses import dataclass
from typing import Final

KEPT: Final = 10_000


@dataclass(frozen=True)
class Finding:
    """`check` names the rule, `message` says what was seen, `subject` whom it concerns."""

    check: str
    message: str
    subject: str = ""

    def about(self, subject: str) -> "Finding":
        return Finding(self.check, self.message, self.subject or subject)

    def as_json(self) -> dict[str, str]:
        return {"check": self.check, "message": self.message, "subject": self.subject}


class FindingLog:
    """The latest findings, oldest first; `total` counts also those that were dropped."""

    def __init__(self) -> None:
        self._kept: deque[Finding] = deque(maxlen=KEPT)
        self.total = 0

    def add(self, *findings: Finding) -> None:
        self._kept.extend(findings)
        self.total += len(findings)

    def as_json(self) -> list[dict[str, str]]:
        return [finding.as_json() for finding in self._kept]
