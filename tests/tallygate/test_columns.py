"""Tables on a terminal."""

import pytest

from tallygate.columns import in_columns


def test_columns_are_as_wide_as_what_they_hold() -> None:
    """Titles too; nothing trails."""
    rows = [("1", "", "long"), ("12345", "b", "")]
    assert list(in_columns(("id", "name", "x"), rows)) == [
        "id     name  x",
        "1            long",
        "12345  b",
    ]


def test_without_rows_there_are_titles() -> None:
    """So whoever looks sees that there is nothing."""
    assert list(in_columns(("id", "name"), [])) == ["id  name"]


def test_a_row_that_lacks_a_cell() -> None:
    """Is our mistake, and not printed askew."""
    with pytest.raises(ValueError, match="zip"):
        list(in_columns(("id", "name"), [("1",)]))
