"""The shape of the usage answer, and that every use is counted once in it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.questions import EVERY_ROW, Cell, Usage, UsageFilter
from billing_sync.usage_report import report
from metering.deltas import DeltaKey
from metering.usage import Grade
from metering.windows import Window

DAY = 20_000
NOON = DAY * 24 + 12
AT = 1_728_043_200_000


def key(instance: str = "", *, window: int = NOON, **columns: Any) -> DeltaKey:
    given = {"customer_id": "c", "route": "chat", "meter": "tokens_in", "grade": Grade.EXACT}
    return DeltaKey(Window(window), instance_id=instance, **(given | columns))


def answered(deltas: dict[DeltaKey, int], wanted: UsageFilter | None = None) -> dict[str, Any]:
    """What the ledger and Redis would answer: the deltas, filtered and folded into cells."""
    wanted = wanted or UsageFilter()
    cells: dict[Cell, int] = {}
    for delta, quantity in deltas.items():
        if wanted.matches(delta):
            cell = wanted.cell(delta)
            cells[cell] = cells.get(cell, 0) + quantity
    return report(Usage(cells, AT, live=True), wanted)


def row(**columns: Any) -> dict[str, Any]:
    return {
        "customer_id": "c",
        "instance_id": None,
        "meter": "tokens_in",
        "window_start": "2024-10-04T12:00:00Z",
        "quantity": 7,
    } | columns


def test_the_shape() -> None:
    """Rows with times in UTC, totals as decimal text, when it was true, and whether Redis is in."""
    assert answered({key("i"): 7, key(): 7}) == {
        "data": [row(instance_id="i")],
        "total": {"tokens_in": "7"},
        "at": "2024-10-04T12:00:00Z",
        "live": True,
    }


def test_nothing() -> None:
    """No usage is an empty answer."""
    found = answered({})
    assert (found["data"], found["total"]) == ([], {})


def test_what_nobody_is_charged_for_is_a_row_without_instance() -> None:
    """And only the part that nobody is charged for."""
    assert answered({key(): 10, key("i"): 7})["data"] == [row(quantity=3), row(instance_id="i")]
    assert answered({key(): 10})["data"] == [row(quantity=10)]


def test_two_instances_charged_for_one_use() -> None:
    """Each has its row; the total counts the use once."""
    found = answered({key(): 7, key("i"): 7, key("j"): 7})
    assert found["data"] == [row(instance_id="i"), row(instance_id="j")]
    assert found["total"] == {"tokens_in": "7"}


def test_routes_and_grades_are_one_row() -> None:
    """They are not among the dimensions."""
    deltas = {key(): 3, key(route="images"): 2, key(grade=Grade.PARTIAL): 2}
    assert answered(deltas)["data"] == [row()]


def test_one_instance() -> None:
    """Only what it is charged, in rows and total."""
    deltas = {key(): 10, key("i"): 7, key("j"): 10}
    found = answered(deltas, UsageFilter(instance_id="i"))
    assert found["data"] == [row(instance_id="i")]
    assert found["total"] == {"tokens_in": "7"}


def test_by_day() -> None:
    """Hours of one UTC day together."""
    deltas = {key(window=NOON): 3, key(window=DAY * 24): 2, key(window=DAY * 24 + 24): 5}
    found = answered(deltas, UsageFilter(by=frozenset({"day", "customer", "meter"})))
    assert found["data"] == [
        row(window_start="2024-10-04T00:00:00Z", quantity=5),
        row(window_start="2024-10-05T00:00:00Z", quantity=5),
    ]


def test_dimensions_left_out_are_null() -> None:
    """Without instance each use is counted once, not once per instance."""
    deltas = {key(): 7, key("i"): 7, key("j"): 7, key(customer_id="d"): 5}
    found = answered(deltas, UsageFilter(by=frozenset({"meter"})))
    assert found["data"] == [row(customer_id=None, window_start=None, quantity=12)]
    assert found["total"] == {"tokens_in": "12"}


def test_rows_are_in_order() -> None:
    """By time, customer, instance, meter."""
    deltas = {
        key("b"): 1,
        key("a"): 1,
        key("a", window=NOON - 1): 1,
        key("a", customer_id="b"): 1,
        key("a", meter="requests"): 1,
    }
    found = [
        (r["window_start"], r["customer_id"], r["instance_id"], r["meter"])
        for r in answered(deltas)["data"]
    ]
    assert found == sorted(found)
    assert len(found) == 5


amounts = st.dictionaries(
    st.builds(
        key,
        st.sampled_from(["", "i", "j"]),
        window=st.integers(NOON, NOON + 30),
        customer_id=st.sampled_from("cd"),
        meter=st.sampled_from(["requests", "tokens_in"]),
    ),
    st.integers(1, 9),
    max_size=12,
)


@given(amounts, st.sets(st.sampled_from(["customer", "meter", "window", "day"])))
def test_however_it_is_grouped_the_sum_is_the_total(
    deltas: dict[DeltaKey, int], by: set[str]
) -> None:
    """Grouping never loses a use or counts it twice."""
    found = answered(deltas, UsageFilter(by=frozenset(by)))
    counted = sum(quantity for delta, quantity in deltas.items() if not delta.instance_id)
    assert sum(r["quantity"] for r in found["data"]) == counted
    assert sum(map(int, found["total"].values())) == counted
    assert found["total"] == answered(deltas, UsageFilter(by=EVERY_ROW))["total"]
