"""Which customers have a series of their own."""

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.top_customers import Named, continued, named, others


def test_whoever_has_a_series_keeps_it_for_the_day() -> None:
    """Others come while there is room; the next day the busiest have theirs."""
    first = named(Named(), ["a", "b"], 2, 1)
    assert first == ("a", "b")
    before = Named(first, 1)
    assert named(before, ["c", "a"], 2, 1) == ("a", "b")
    assert named(before, ["c", "a"], 2, 2) == ("a", "c")
    assert named(before, ["c", "a", "b"], 3, 1) == ("a", "b", "c")
    assert named(before, ["b", "a"], 1, 1) == ("b",)
    assert named(before, [], 0, 1) == ()


def test_it_is_kept_as_text() -> None:
    """And nobody is named before anything was kept."""
    said = Named(("a",), 3, {"requests": 4})
    assert Named.of(said.text()) == said
    assert Named.of("") == Named()


Days = st.lists(
    st.tuples(st.integers(0, 2), st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100)))
)


@given(Days, st.integers(0, 3))
def test_no_series_ever_goes_back(days: list[tuple[int, dict[str, int]]], most: int) -> None:
    """Whoever uses what, and whoever takes whose place: neither a customer's nor that of others;
    and what all series grow by is never more than what was used."""
    used: dict[tuple[str, str], int] = {}
    standing, shown, day = Named(), {"other": 0}, 0
    for passed, more in days:
        grown = dict(shown)
        for customer, quantity in more.items():
            used[customer, "requests"] = used.get((customer, "requests"), 0) + quantity
        totals = {"requests": sum(used.values())}
        day += passed
        busiest = sorted({c for c, _ in used}, key=lambda c: (-used[c, "requests"], c))[:most]
        after = named(standing, busiest, most, day)
        if (after, day) != (standing.customers, standing.day):
            standing = continued(standing, after, used, totals, day)
        shown = {c: used.get((c, "requests"), 0) for c in standing.customers}
        shown["other"] = others(standing, used, totals)["requests"]
        known = grown.keys() & shown.keys()
        assert all(shown[name] >= grown[name] for name in known)
        assert sum(shown[name] - grown[name] for name in known) <= sum(more.values())
