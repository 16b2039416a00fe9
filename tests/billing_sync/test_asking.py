"""Parameters of the operator's API: read, or refused by name."""

import pytest
from starlette.datastructures import QueryParams

from billing_sync.asking import Page, page_question, usage_question
from billing_sync.errors import BadQuestion
from billing_sync.questions import EVERY_ROW, UsageFilter
from metering.windows import window_of

NOON = window_of(1_769_864_400_000)  # 2026-01-31T13:00:00Z


def usage(query: str) -> UsageFilter:
    return usage_question(QueryParams(query))


def test_nothing_asked_is_everything() -> None:
    """No filter, every row."""
    assert usage("") == UsageFilter()
    assert usage("").by == EVERY_ROW


def test_filters() -> None:
    """Each by its own parameter."""
    assert usage("customer=c&instance=i&meter=requests&by=meter,day") == UsageFilter(
        "c", "i", "requests", by=frozenset({"meter", "day"})
    )


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("2026-01-31T13:00:00Z", NOON, NOON),
        ("2026-01-31T13:00:00", NOON, NOON),
        ("2026-01-31T21:00:00%2B08:00", NOON, NOON),
        ("2026-01-31T13:30:00Z", NOON, NOON + 1),
        ("2026-01-31", NOON - 13, NOON - 13),
        ("0001-01-01", -17259888, -17259888),
    ],
)
def test_times(text: str, first: int, end: int) -> None:
    """ISO 8601, UTC unless said otherwise; an hour that is begun is in the answer."""
    assert usage(f"from={text}").from_window == first
    assert usage(f"to={text}").to_window == end


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("custommer=c", "'custommer'"),
        ("customer=c&customer=d", "customer is given twice"),
        ("customer=", "customer must be"),
        ("instance=%00", "instance must be"),
        (f"meter={'m' * 257}", "meter must be"),
        ("from=yesterday", "from='yesterday'"),
        ("to=2026-13-01", "to='2026-13-01'"),
        ("from=2026-02-01&to=2026-01-01", "from is later than to"),
        ("by=route", "by='route'"),
        ("by=,", "by=''"),
        ("limit=5", "'limit'"),
        (f"{'x' * 500}=1", "'" + "x" * 40 + "'"),
    ],
)
def test_refusals_name_the_parameter(query: str, says: str) -> None:
    """What was wrong, and no more of it than fits a line."""
    with pytest.raises(BadQuestion) as refusal:
        usage(query)
    assert says in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_pages() -> None:
    """A hundred rows unless another number is asked for."""
    assert page_question(QueryParams(""), by_state=False) == Page(None, None, None, None, 100)
    asked = QueryParams("customer=c&instance=i&state=sent&after=x&limit=1000")
    assert page_question(asked, by_state=True) == Page("c", "i", "sent", "x", 1000)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=-1", "limit=%D9%A3", "state=sent"]
)
def test_bad_pages(query: str) -> None:
    """A list is never endless, and an instance has no record's state."""
    with pytest.raises(BadQuestion, match=query.partition("=")[0]):
        page_question(QueryParams(query), by_state=False)
