from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tallygate.top.showing import age, drawn, plain, rate
from tallygate.top.view import view
from tests.tallygate.top.rounds import control, silent, taken, worker

BUSY = view(
    taken(0, worker(calls=0), control=control({("acme", "requests"): 0})),
    taken(
        2,
        worker(calls=300, tokens=5000),
        silent("gateway-1"),
        control=control(
            {("acme", "requests"): 20},
            records={"sent": 4.0},
            alerts={"80": 1.0},
            deadlines_s={"hourly": 90.0},
        ),
    ),
)


def test_plain_lines() -> None:
    """Every figure under its heading."""
    text = "\n".join(plain(BUSY))
    for words in (
        "calls/s  5xx/s",
        "150    0.0",
        "gateway-1 does not answer",
        "1 m 30 s (hourly)",
        "sent",
        "acme",
        "80 % used",
        "! gateway-1 does not answer",
    ):
        assert words in text, words
    assert "\x1b" not in text


def test_a_quiet_one() -> None:
    """Nothing is made up where nothing is known."""
    quiet = view(taken(0, worker()), taken(1, worker()))
    assert list(plain(quiet))[-1] == "nothing needs attention"


def test_both_forms_say_the_same() -> None:
    """What is drawn on a terminal holds every word that is printed."""
    console = Console(width=160, record=True, file=StringIO())
    console.print(drawn(BUSY))
    text = console.export_text()
    for line in plain(BUSY):
        for word in line.split():
            assert word in text


@given(st.text(min_size=1, max_size=20))
def test_ids_of_others_move_no_cursor(customer: str) -> None:
    """A customer may have any id."""
    seen = view(taken(0), taken(1, control=control({(customer, "requests"): 1})))
    for line in plain(seen):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.04, "0.0 s"), (9.4, "9.4 s"), (59.4, "59 s"), (60, "1 m 0 s"), (7500, "2 h 5 m"), (-75, "-1 m 15 s")],
)  # fmt: skip
def test_ages(seconds: float | None, text: str) -> None:
    """As people say them."""
    assert age(seconds) == text


def test_rates() -> None:
    """Few digits."""
    assert [rate(each) for each in (None, 0.0, 99.94, 12345.6)] == ["-", "0.0", "99.9", "12346"]
