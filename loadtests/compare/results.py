"""Samples, their medians and ratios. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

# Below this the proxy's core had time left: load or origin was the limit, not the proxy.
SATURATED: Final = 0.9


@dataclass(frozen=True)
class Sample:
    """One measurement of one peer in one scenario and turn. Figures by name; see `measuring.py`."""

    scenario: str
    peer: str
    turn: int
    figures: dict[str, float] = field(default_factory=dict)
    failure: str = ""

    @staticmethod
    def read(said: dict[str, Any]) -> "Sample":
        """From `plain`."""
        return Sample(**said)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Results:
    """The samples of one scenario (and of the one it is compared with)."""

    samples: Sequence[Sample]

    def peers(self) -> list[str]:
        """In the order in which they first came."""
        return list(dict.fromkeys(sample.peer for sample in self.samples))

    def of(self, scenario: str, peer: str) -> list[Sample]:
        """Samples that count, by turn."""
        return [
            sample
            for sample in self.samples
            if (sample.scenario, sample.peer) == (scenario, peer) and not sample.failure
        ]

    def failures(self, peer: str) -> list[str]:
        """What went wrong, each said once."""
        said = [sample.failure for sample in self.samples if sample.peer == peer]
        return list(dict.fromkeys(failure for failure in said if failure))

    def median(self, scenario: str, peer: str, figure: str) -> float | None:
        """Of all turns that have the figure; None without any."""
        values = [s.figures[figure] for s in self.of(scenario, peer) if figure in s.figures]
        return median(values) if values else None

    def ratio(self, scenario: str, peer: str, base: str, figure: str = "rate") -> float | None:
        """The median of the turns' own ratios: what drifts with the machine drifts in both."""
        return self._paired((scenario, peer), (scenario, base), figure)

    def change(self, scenario: str, against: str, peer: str) -> float | None:
        """The rate in one scenario by that in another of the same turn."""
        return self._paired((scenario, peer), (against, peer), "rate")

    def _paired(self, one: tuple[str, str], other: tuple[str, str], figure: str) -> float | None:
        base = {sample.turn: sample.figures.get(figure, 0.0) for sample in self.of(*other)}
        ratios = [
            sample.figures[figure] / base[sample.turn]
            for sample in self.of(*one)
            if figure in sample.figures and base.get(sample.turn)
        ]
        return median(ratios) if ratios else None

    def marks(self, scenario: str, peer: str) -> str:
        """`†` where the proxy was not the limit, `≈` where its rate is an estimate."""
        busy = self.median(scenario, peer, "busy")
        idle = busy is not None and busy < SATURATED
        late = (self.median(scenario, peer, "late_ms") or 0) > 1
        estimated = self.median(scenario, peer, "estimated")
        return ("†" if idle or late else "") + ("≈" if estimated else "")
