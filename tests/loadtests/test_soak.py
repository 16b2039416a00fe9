"""The soak, in a very short form, and its judgement."""

from pathlib import Path

from loadtests.soak.command import Soak
from loadtests.soak.judging import Compared, Level, problems_of

QUIET = {"open_requests": 0}
SAME = Level(50 << 20, 27)


def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    """With leaving clients, cuts and pauses, every answered request has one record."""
    soak = Soak(tmp_path, requests=400, connections=16, seed=3, idle_s=0.2)
    found = soak.run()
    assert [each for each in found if "memory" not in each and "files" not in each] == []
    assert soak.ended["200"] > 100
    assert soak.ended["left"] > 0


def test_what_is_lost_counted_twice_or_invented_is_named() -> None:
    """By an id that can be looked for."""
    compared = Compared(3, 3, ["a"], ["b"], ["c"])
    found = problems_of(compared, SAME, SAME, QUIET, 0)
    assert found == ["1 lost, such as a", "1 twice, such as b", "1 invented, such as c"]


def test_what_stays_behind_is_a_problem() -> None:
    """Open requests, files and memory; a little memory is not."""
    after = Level(SAME.anonymous + (7 << 20), SAME.handles + 3)
    found = problems_of(Compared(1, 1, [], [], []), SAME, after, {"open_requests": 2}, 1)
    assert found == [
        "2 requests are still open",
        "1 drains were capped: the load is too heavy to be judged",
        "3 files more are open",
        "7168 KiB more anonymous memory",
    ]
    less = Level(SAME.anonymous + (1 << 20), SAME.handles)
    assert problems_of(Compared(1, 1, [], [], []), SAME, less, QUIET, 0) == []
