"""Samples, their medians and ratios. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

# More than this of the proxy's core left idle: load or origin was the limit, not the proxy.
MOST_IDLE: Final = 0.1
# More than this of it used by somebody else: the figure says nothing.
MOST_OTHERS: Final = 0.1
MOST_LATE_MS: Final = 1.0


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
        """`†` the proxy was not the limit, `‡` it was not alone on its core, `≈` estimated."""
        found = [
            mark
            for mark, figure, most in (
                ("†", "idle", MOST_IDLE),
                ("†", "late_ms", MOST_LATE_MS),
                ("‡", "others", MOST_OTHERS),
                ("≈", "estimated", 0.0),
            )
            if (self.median(scenario, peer, figure) or 0.0) > most
        ]
        return "".join(found)
