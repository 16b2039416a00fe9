"""The load test of callbacks, in a very short form: it plays, and all is answered."""

from pathlib import Path

from click.testing import CliRunner

from loadtests.callbacks.calling import figures
from loadtests.callbacks.command import Terms, main, measure
from tests.debian import needed


def test_a_short_run(tmp_path: Path) -> None:
    """Every callback succeeds beside traffic that is counted; how fast is no matter here."""
    needed("wrk")
    terms = Terms(seconds=2, rate=10.0, share=0.1, customers=8, flood_s=1, cores=(0, 0))
    measured = measure(tmp_path, terms)
    assert measured.called.wrong == {}
    assert len(measured.called.seconds) == 20
    assert measured.traffic["errors"] == 0
    assert [line.split(":")[0] for line in measured.lines()] == [
        *("gateway", "control plane", "callbacks"),
    ]


def test_figures() -> None:
    """Of a hundred times the ninety-ninth is exceeded by one."""
    assert list(figures([n / 1000 for n in range(100)])) == ["p50 50.0 ms", "p99 99.0 ms", "slowest 99.0 ms"]  # fmt: skip


def test_its_help() -> None:
    """With an example."""
    assert "python -m loadtests.callbacks" in CliRunner().invoke(main, ["--help"]).output
