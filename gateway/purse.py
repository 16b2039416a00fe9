"""What one worker holds of one limit: taken from by calls (`take`), refilled by the bank. Pure.

Each kind says what it wants to ask next (`next_ask`) and is told the answer (`told`).
"""

from typing import TypeAlias

from gateway.package_purse import PackagePurse
from gateway.rate_purse import RatePurse
from gateway.slots_purse import SlotsPurse

Purse: TypeAlias = PackagePurse | SlotsPurse | RatePurse

__all__ = ["PackagePurse", "Purse", "RatePurse", "SlotsPurse"]
