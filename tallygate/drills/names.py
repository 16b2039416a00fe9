"""The names of the drills, in the order of a proof; what they do stands in `repertoire.py`. Pure."""

from typing import Final

NAMES: Final = (
    "kill-worker",
    "kill-control",
    "redis-down",
    "redis-freeze",
    "redis-flush",
    "redis-rollback",
    "redis-failover",
    "sql-locked",
    "sql-rollback",
    "disk-full",
    "clock-step",
    "power-cut",
    "sigterm",
    "chaos",
)
ALL: Final = "all"
SABOTAGE: Final = "sabotage"  # no part of `all`: it shows that a drill can fail
MONTH: Final = "month"  # the last part of `all`: no installation under load, but simulated time
