"""Usage by instance: pushed, collected, refused. Each distinct record counts once. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from .stored import State, StoredRecord

_Identity = tuple[object, ...]


@dataclass
class _Total:
    pushed: dict[_Identity, Decimal] = field(default_factory=dict)
    collected: dict[_Identity, Decimal] = field(default_factory=dict)
    refused: dict[_Identity, Decimal] = field(default_factory=dict)

    def add(self, stored: StoredRecord) -> None:
        identity, usage = stored.identity, stored.usage
        self.pushed[identity] = usage
        if stored.state is State.COLLECTED:
            self.collected[identity] = usage
        elif stored.state in (State.REFUSED, State.DUPLICATE):
            self.refused[identity] = usage

    def as_json(self) -> dict[str, str]:
        """A record that was refused first and collected when it came again is collected."""
        refused = {key: self.refused[key] for key in self.refused.keys() - self.collected.keys()}
        return {
            "pushed": _sum(self.pushed),
            "collected": _sum(self.collected),
            "refused": _sum(refused),
        }


def totals(records: Iterable[StoredRecord]) -> dict[str, dict[str, str]]:
    """Decimals as text."""
    by_instance: dict[str, _Total] = {}
    for stored in records:
        by_instance.setdefault(stored.instance_id, _Total()).add(stored)
    return {instance_id: total.as_json() for instance_id, total in by_instance.items()}


def _sum(usages: Mapping[_Identity, Decimal]) -> str:
    return f"{sum(usages.values(), Decimal(0)):f}"
