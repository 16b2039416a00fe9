"""The load test of scrapes, in a very short form: everything is filled and measured."""

from pathlib import Path

from click.testing import CliRunner

from loadtests.scraping import main, measure
from tests.debian import needed


def test_a_short_run(tmp_path: Path) -> None:
    """How fast is no matter here."""
    needed("wrk")
    lines = [line for line, _ in measure(tmp_path, 20, 2, 1.0)]
    begins = ("control plane, 20", "one scrape costs it", "gateway", "one scrape costs the gateway")
    assert len(lines) == len(begins)
    for line, begin in zip(lines, begins, strict=True):
        assert line.startswith(begin)


def test_its_help() -> None:
    """With an example."""
    assert "python -m loadtests.scraping" in CliRunner().invoke(main, ["--help"]).output
