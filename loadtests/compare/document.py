"""What `docs/performance.md` says between its marks, made from stored measurements. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtests.compare import chart
from loadtests.compare.results import Results, Sample
from loadtests.compare.scenarios import SCENARIOS, Scenario
from loadtests.compare.tables import Does, table

BEGIN: Final = "<!-- make compare: begin -->"
END: Final = "<!-- make compare: end -->"
BASE: Final = "nginx-lua"
_CHARTED: Final = ("json", "sse", "post16k", "unique", "churn")
_LEGEND: Final = """\
Medians of all turns; a ratio is the median of the turns' own ratios. The proxy has a core to itself.
CPU is user and kernel time of all the proxy's processes. `counted / answered`: requests in the journal, and
calls that the origin read; they differ only by calls that the load generator hung up on at the end of a run.

`†` the proxy's core had time left (at half load: the generator was late), so that load or origin was the limit
and the proxy is faster than shown. `‡` something else used the proxy's core: measure again. `≈` hardly a stream
ended within the run; estimated from bytes."""
_NEW: Final = f"# Performance\n\n{BEGIN}\n{END}\n"


@dataclass(frozen=True)
class Measured:
    """One scenario's samples, and under which conditions they were taken."""

    date: str
    command: str
    runs: int
    seconds: int
    origin: str
    cores: str
    machine: dict[str, str]
    versions: dict[str, str]
    does: Does
    missing: dict[str, str]
    samples: list[Sample]

    @staticmethod
    def read(said: dict[str, Any]) -> "Measured":
        """From `plain`."""
        return Measured(**{**said, "samples": [Sample.read(s) for s in said["samples"]]})

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


Store = dict[str, Measured]  # by the scenario's name


def text(store: Store) -> str:
    """The part between the marks."""
    known = [scenario for scenario in SCENARIOS if scenario.name in store]
    parts = ["![Ratios to nginx with Lua metering](performance.svg)", _LEGEND]
    for scenario in known:
        parts += _section(scenario, store[scenario.name])
    return "\n\n".join(parts)


def _section(scenario: Scenario, measured: Measured) -> list[str]:
    lines = table(scenario, Results(measured.samples), measured.does)
    return [f"## {scenario.title}", "\n".join(lines), "\n".join(_conditions(measured))]


def _conditions(measured: Measured) -> Iterable[str]:
    yield f"{measured.date}, {measured.runs} turns of {measured.seconds} s: `{measured.command}`.  "
    yield f"{', '.join(measured.machine.values())}. Cores: {measured.cores}. Origin: {measured.origin}.  "
    yield f"{', '.join(filter(None, measured.versions.values()))}."
    for peer, command in measured.missing.items():
        # A command with the paths of this machine is for the screen, not for the page.
        how = "not fetched" if "venv" in command else f"`{command}`"
        yield f"  \nNot compared: {peer} ({how})."


def placed(page: str, part: str) -> str:
    """The page with `part` between its marks; they come at the end of a page that has none."""
    page = page or _NEW
    if BEGIN not in page or END not in page:
        page = f"{page.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{part.strip()}\n\n{END}{rest.partition(END)[2]}"


def picture(store: Store) -> str:
    """The chart of ratios."""
    titles = {scenario.name: scenario.title for scenario in SCENARIOS}
    groups = {}
    for name in _CHARTED:
        if name in store:
            results = Results(store[name].samples)
            groups[titles[name]] = _ratios(name, results, results.peers())
    return chart.svg("Throughput on one core, × nginx with Lua metering", groups, BASE)


def _ratios(scenario: str, results: Results, peers: Sequence[str]) -> dict[str, float]:
    found = {peer: results.ratio(scenario, peer, BASE) for peer in peers if peer != "direct"}
    return {peer: ratio for peer, ratio in found.items() if ratio is not None}
