"""The tables of a comparison, in Markdown, a row per peer. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from loadtests.compare.results import Results
from loadtests.compare.scenarios import Scenario

BASES: Final = ("nginx-lua", "envoy", "litellm")

Cell = Callable[[str], str]
Does = dict[str, str]


def table(scenario: Scenario, results: Results, does: Does) -> list[str]:
    """Lines of the scenario's table."""
    columns = _COLUMNS["against" if scenario.against else scenario.kind](scenario, results)
    lines = [_row(["peer", "does", *columns]), _row(["---", "---", *["---:"] * len(columns)])]
    for peer in results.peers():
        failures = results.failures(peer)
        cells = [cell(peer) for cell in columns.values()]
        lines.append(_row([f"**{peer}**", does.get(peer, ""), *cells]))
        lines += [_row(["", f"**FAILED**: {said}", *[""] * len(columns)]) for said in failures]
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(scenario: str, results: Results, name: str, form: Callable[[float], str]) -> Cell:
    def cell(peer: str) -> str:
        value = results.median(scenario, peer, name)
        return "" if value is None else form(value)

    return cell


def _ratio(scenario: str, results: Results, base: str, figure: str = "rate") -> Cell:
    def cell(peer: str) -> str:
        value = None if peer == base else results.ratio(scenario, peer, base, figure)
        return "" if value is None else times(value)

    return cell


def _rate(scenario: str, results: Results) -> Cell:
    plain = _figure(scenario, results, "rate", number)
    return lambda peer: plain(peer) + results.marks(scenario, peer)


def _flood(scenario: Scenario, results: Results) -> dict[str, Cell]:
    name = scenario.name
    bases = [base for base in BASES if base in results.peers()]
    return {
        scenario.unit: _rate(name, results),
        **{f"× {base}": _ratio(name, results, base) for base in bases},
        "CPU s / 1000 replies": _figure(name, results, "cpu", lambda v: f"{v:.3f}"),
        **{f"CPU × {base}": _ratio(name, results, base, "cpu") for base in bases[:1]},
        "p50 ms": _figure(name, results, "p50_ms", lambda v: f"{v:.2f}"),
        "p99 ms": _figure(name, results, "p99_ms", lambda v: f"{v:.2f}"),
        "anonymous": _figure(name, results, "anonymous", mebibytes),
        "counted / answered": _books(name, results),
    }


def _books(scenario: str, results: Results) -> Cell:
    """Of all turns together: they must agree in each."""

    def cell(peer: str) -> str:
        turns = [s.figures for s in results.of(scenario, peer) if "counted" in s.figures]
        sums = [sum(figures[name] for figures in turns) for name in ("counted", "answered")]
        return f"{sums[0]:,.0f} / {sums[1]:,.0f}" if turns else ""

    return cell


def _against(scenario: Scenario, results: Results) -> dict[str, Cell]:
    one, many = scenario.against, scenario.name

    def change(peer: str) -> str:
        value = results.change(many, one, peer)
        return "" if value is None else f"{(value - 1) * 100:+.0f} %"

    return {
        f"{scenario.unit}, one": _rate(one, results),
        f"{scenario.unit}, {scenario.customers:,}": _rate(many, results),
        "change": change,
        "anonymous, one": _figure(one, results, "anonymous", mebibytes),
        f"anonymous, {scenario.customers:,}": _figure(many, results, "anonymous", mebibytes),
        "counted / answered": _books(many, results),
    }


def _idle(scenario: Scenario, results: Results) -> dict[str, Cell]:
    name = scenario.name
    return {
        "anonymous per stream": _figure(
            name, results, "per_stream", lambda v: f"{v / 1024:.1f} KiB"
        ),
        "anonymous, all open": _figure(name, results, "anonymous", mebibytes),
    }


def _half(scenario: Scenario, results: Results) -> dict[str, Cell]:
    def of(figure: str, form: Callable[[float], str] = lambda v: f"{v:.2f}") -> Cell:
        return _figure(scenario.name, results, figure, form)

    offered = of("offered", number)
    return {
        "offered, requests/s": lambda peer: offered(peer) + results.marks(scenario.name, peer),
        "direct p50 ms": of("direct_p50_ms"),
        "direct p99 ms": of("direct_p99_ms"),
        "added p50 ms": of("added_p50_ms"),
        "added p99 ms": of("added_p99_ms"),
    }


_COLUMNS: Final = {"flood": _flood, "idle": _idle, "half": _half, "against": _against}


def number(value: float) -> str:
    """`29,600`; small ones keep what matters of them."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def times(value: float) -> str:
    """`0.84`, `211`."""
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}"


def mebibytes(value: float) -> str:
    """Of bytes."""
    return f"{value / 2**20:.1f} MiB"
