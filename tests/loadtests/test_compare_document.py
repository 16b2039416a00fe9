"""Tables, the chart, and their place in the page."""

import json
from xml.etree import ElementTree as ET

import pytest

from loadtests.compare import chart, document
from loadtests.compare.document import BEGIN, END, Measured, placed
from loadtests.compare.results import Results, Sample
from loadtests.compare.scenarios import SCENARIOS
from loadtests.compare.tables import table

FIGURES = {"rate": 20_000.0, "cpu": 0.04, "p50_ms": 1.0, "p99_ms": 2.0, "anonymous": 2.0**20}
OURS = {"rate": 15_000.0, "cpu": 0.06, "counted": 7.0, "answered": 8.0}
HALF = {"offered": 9000.0, "added_p50_ms": 0.123, "direct_p50_ms": 0.1}
MEASURED = Measured(
    date="2026-01-02 03:04 UTC",
    command="python -m loadtests.compare",
    runs=5,
    seconds=4,
    origin="nginx",
    cores="proxy 0, origin 1, load 1",
    machine={"kernel": "Linux 6"},
    versions={"nginx-lua": "nginx/1"},
    does={"tallygate": "meter, journal"},
    missing={"haproxy": "apt-get install haproxy"},
    samples=[
        Sample("json", "tallygate", 0, OURS),
        Sample("json", "nginx-lua", 0, FIGURES),
        Sample("json", "broken", 0, FIGURES, failure="3 errors beside 2 replies"),
    ],
)


def scenario(name: str) -> str:
    return next(s.title for s in SCENARIOS if s.name == name)


def test_a_table_has_a_row_per_peer_and_says_failures_loudly() -> None:
    """A peer that failed has no figures but a reason."""
    lines = table(SCENARIOS[0], Results(MEASURED.samples), MEASURED.does)
    assert len({line.count("|") for line in lines}) == 1
    ours, theirs, broken, why = lines[2:]
    assert "| 15,000 | 0.75 | 0.060 | 1.50 |" in ours
    assert "| 7 / 8 |" in ours
    assert "| 20,000 |  | 0.040 |  | 1.00 | 2.00 | 1.0 MiB |" in theirs
    assert "20,000" not in broken
    assert "**FAILED**: 3 errors beside 2 replies" in why


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
def test_every_scenario_has_a_table(one: object) -> None:
    """Also where nothing of what it shows was measured."""
    found = next(s for s in SCENARIOS if s is one)
    sample = Sample(found.name, "us", 0, HALF | {"per_stream": 2048.0})
    lines = table(found, Results([sample]), {})
    assert len(lines) == 3
    assert "None" not in lines[2]


def test_the_page_around_the_marks_stays() -> None:
    """What people wrote is theirs, however often the part is written."""
    page = f"# Ours\n\n{BEGIN}\nold\n{END}\n\nAfter it.\n"
    once = placed(page, "new")
    assert once == f"# Ours\n\n{BEGIN}\n\nnew\n\n{END}\n\nAfter it.\n"
    assert placed(once, "new") == once


def test_a_page_without_marks_gets_them_at_its_end() -> None:
    """And a page that does not exist gets a title."""
    assert placed("# Ours", "new").startswith("# Ours\n\n<!--")
    assert placed("", "new").startswith("# Performance\n")


def test_the_part_says_what_was_measured_where_and_who_is_missing() -> None:
    """And reads the same from a file."""
    store = {"json": MEASURED}
    text = document.text(store)
    for said in (scenario("json"), "5 turns of 4 s", "Linux 6", "apt-get install haproxy"):
        assert said in text
    again = {name: Measured.read(json.loads(json.dumps(m.plain()))) for name, m in store.items()}
    assert document.text(again) == text


def bars(picture: str) -> list[float]:
    rectangles = ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}rect")
    return [float(rectangle.attrib["width"]) for rectangle in rectangles][1:]  # the first: paper


def test_a_longer_bar_is_a_higher_ratio() -> None:
    """On a logarithmic scale, all bars of one picture on the same one."""
    picture = chart.svg("t", {"A & <B>": {"x": 0.01, "y": 1.0}, "C": {"z": 100.0}}, "y")
    short, one, long = bars(picture)
    assert 0 <= short < one < long
    assert long - one == pytest.approx(one - short, abs=0.2)


def test_a_picture_of_nothing_is_a_picture() -> None:
    """Before anything was measured."""
    assert bars(chart.svg("t", {}, "y")) == []
    assert bars(chart.svg("t", {"A": {"x": 0.0}}, "y")) == [0.0]


def test_the_picture_shows_ratios_to_the_base() -> None:
    """Three quarters of nginx with Lua."""
    picture = document.picture({"json": MEASURED})
    assert ">0.75<" in picture
    assert ">1.00<" in picture
