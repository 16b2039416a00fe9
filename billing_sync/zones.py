"""Reads the time zone of daily billing from the zone database."""

import difflib
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from billing_sync.cycles import has_whole_hours
from billing_sync.settings import BillingSettings, KooGallerySettings

# The pages name no zone; for the China site 01:00 is taken as Beijing time (spec §8.7).
_OF_SITE: Final = {"cn": "Asia/Shanghai"}


class BadZone(ValueError):
    """No zone that days can be billed by. Its text says what to write instead."""


def day_zone(billing: BillingSettings, koogallery: KooGallerySettings) -> ZoneInfo:
    """The zone whose days are billed: the one that is set, else that of the site. Raises BadZone."""
    named = billing.day_zone
    return zone_named(_OF_SITE.get(koogallery.site, "UTC") if named is None else named)


def zone_named(name: str) -> ZoneInfo:
    """The zone with this IANA name. Raises BadZone."""
    try:
        zone = ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a folder of names
        nearest = difflib.get_close_matches(name, available_timezones(), n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise BadZone(
            f"there is no time zone {name!r}{hint or '; write an IANA name such as Asia/Shanghai'}"
        ) from None
    if not has_whole_hours(zone):
        raise BadZone(
            f"{name} is not a whole number of hours from UTC; usage is counted by UTC hours, so "
            "name a zone that is"
        )
    return zone
