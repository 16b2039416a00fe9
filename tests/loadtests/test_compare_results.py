"""Medians, ratios and marks."""

from loadtests.compare.results import Results, Sample

RESULTS = Results(
    [
        Sample("json", "us", 0, {"rate": 100.0}),
        Sample("json", "them", 0, {"rate": 200.0}),
        Sample("json", "us", 1, {"rate": 10.0}),
        Sample("json", "them", 1, {"rate": 10.0}),
        Sample("json", "us", 2, {"rate": 90.0}),
        Sample("json", "them", 2, {"rate": 100.0}),
        Sample("json", "us", 3, {"rate": 9e9}, failure="12 errors"),
        Sample("json", "them", 3, {"rate": 1.0}),
    ]
)


def test_the_median_leaves_failures_out() -> None:
    """A failed run's figures are not to be believed."""
    assert RESULTS.median("json", "us", "rate") == 90
    assert RESULTS.failures("us") == ["12 errors"]


def test_a_ratio_is_made_within_turns() -> None:
    """A slow turn is slow for both: 0.5, 1.0 and 0.9, not the ratio of the medians."""
    assert RESULTS.ratio("json", "us", "them") == 0.9


def test_what_was_not_measured_has_no_figure() -> None:
    """None, and not 0."""
    assert RESULTS.median("sse", "us", "rate") is None
    assert RESULTS.ratio("json", "us", "nobody") is None


def test_a_change_is_of_the_same_peer_and_turn() -> None:
    """10,000 customers by one."""
    results = Results(
        [
            Sample("one", "us", 0, {"rate": 100.0}),
            Sample("many", "us", 0, {"rate": 95.0}),
            Sample("one", "us", 1, {"rate": 10.0}),
            Sample("many", "us", 1, {"rate": 9.5}),
        ]
    )
    assert results.change("many", "one", "us") == 0.95


def test_figures_that_mislead_are_marked() -> None:
    """A proxy that was not the limit, or not alone on its core."""
    busy = Sample("json", "busy", 0, {"idle": 0.01, "others": 0.01})
    waiting = Sample("json", "waiting", 0, {"idle": 0.3, "others": 0.0})
    disturbed = Sample("json", "disturbed", 0, {"idle": 0.0, "others": 0.5, "estimated": 1})
    results = Results([busy, waiting, disturbed])
    assert [results.marks("json", peer) for peer in results.peers()] == ["", "†", "‡≈"]


def test_samples_survive_a_file() -> None:
    """What is stored is what was measured."""
    for sample in RESULTS.samples:
        assert Sample.read(sample.plain()) == sample
