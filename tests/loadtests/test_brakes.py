"""Packages used up by many at once, in a short form, and how it is judged."""

from collections import Counter

from click.testing import CliRunner

from loadtests.brakes.command import main
from loadtests.brakes.crashes import Crashed
from loadtests.brakes.overshoot import Run

SERVED = Counter({"200": 40, "402": 20, "429": 7})


def test_a_short_run_stays_within_its_bound() -> None:
    """Of unknown sizes, and of known ones; two workers."""
    words = ["--runs", "1", "--clients", "30", "--workers", "2", "--quota", "8000"]
    ran = CliRunner().invoke(main, [*words, "--reservations", "0"])
    assert ran.exit_code == 0, ran.output
    assert [line.split(":")[0] for line in ran.stdout.splitlines()] == ["unknown", "exact"]


def test_what_is_beyond_its_bound_is_a_problem() -> None:
    """Of known sizes anything is."""
    run = Run(1000, 1200, 1200, 250, SERVED, 20)
    assert run.problems(exact=False) == []
    assert run.problems(exact=True) == ["overshoot 200 is more than 0"]
    far = run._replace(used=1251, said=1251)
    assert far.problems(exact=False) == ["overshoot 251 is more than 250"]


def test_what_is_counted_wrongly_or_refused_too_early_is_a_problem() -> None:
    """And calls that end as none should."""
    run = Run(9000, 400, 300, 250, SERVED + Counter({"500": 2}), 20)
    assert run.problems(exact=True) == [
        "400 tokens are counted and 300 were answered",
        "only 400 of 9000 could be used",
        "calls ended otherwise: {'500': 2}",
    ]


def test_quota_that_does_not_come_back_is_a_problem() -> None:
    """Or comes back twice."""
    crashed = Crashed(100, 60, 40, "200", "402", 5, SERVED)
    assert crashed.problems() == []
    lost = crashed._replace(status_of_rest="429", status_of_more="200", kills=0)
    assert len(lost.problems()) == 3
