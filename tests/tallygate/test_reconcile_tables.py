from tallygate.reconciliation.tables import amount, counted, exactly, hour, table, time


def test_times_are_as_exact_as_they_are() -> None:
    """Milliseconds where there are any."""
    assert time(1_790_000_000_000) == "2026-09-21T14:13:20Z"
    assert time(1_790_000_000_007) == "2026-09-21T14:13:20.007Z"
    assert hour(480_000) == "2024-10-04T00:00:00Z"


def test_columns_of_numbers_are_flush_right() -> None:
    """Also those with a sign or separators; a column without rows is none."""
    assert list(table(("name", "n", "x"), [("a", "-1,000", "y"), ("bcdef", "7", "")])) == [
        "  name        n  x",
        "  a      -1,000  y",
        "  bcdef       7",
    ]


def test_one_is_not_many() -> None:
    """But nothing is."""
    assert [counted(number, "row") for number in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


def test_ten_thousandths_are_decimals() -> None:
    """With no more of them than there are; below zero too."""
    amounts = (0, 5, -5, 10_000, 123_456_789, -10_500, 12_345_670_000)
    assert [exactly(each) for each in amounts] == [
        *("0", "0.0005", "-0.0005", "1", "12345.6789", "-1.05", "1234567"),
    ]
    assert amount(12_345_678_900) == "1,234,567.89"
