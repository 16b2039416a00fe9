"""Which zone's days are billed."""

import pytest

from billing_sync.settings import BillingSettings, KooGallerySettings
from billing_sync.zones import BadZone, day_zone, zone_named


@pytest.mark.parametrize(
    ("site", "named", "expected"),
    [
        ("cn", None, "Asia/Shanghai"),
        ("intl", None, "UTC"),
        ("eu", None, "UTC"),
        ("cn", "Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_the_site_decides_unless_one_is_named(site: str, named: str | None, expected: str) -> None:
    """The pages give the collection times without a zone; Beijing is that of the China site."""
    billing = BillingSettings(day_zone=named)
    assert day_zone(billing, KooGallerySettings.model_validate({"site": site})).key == expected


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Asia/Shangai", "did you mean Asia/Shanghai"),
        ("GMT+8 please", "write an IANA name such as"),
        ("../etc/passwd", "there is no time zone"),
        ("Asia", "there is no time zone"),
        ("", "there is no time zone"),
        ("Asia/Kolkata", "not a whole number of hours"),
    ],
)
def test_what_no_day_can_be_billed_by_is_refused(name: str, says: str) -> None:
    """In one line that says what to write."""
    with pytest.raises(BadZone, match=says):
        zone_named(name)
