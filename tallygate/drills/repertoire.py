"""Every drill by its name: what fails in it. The order is that of a proof."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from tallygate.drills.chaos import chaos
from tallygate.drills.faults.clock import clock_step
from tallygate.drills.faults.disk import disk_full
from tallygate.drills.faults.failover import redis_failover
from tallygate.drills.faults.killing import kill_control, kill_worker, sigterm
from tallygate.drills.faults.power import power_cut
from tallygate.drills.faults.redis_store import (
    redis_down,
    redis_flush,
    redis_freeze,
    redis_rollback,
)
from tallygate.drills.faults.sabotage import sabotage
from tallygate.drills.faults.sql_store import sql_locked, sql_rollback
from tallygate.drills.names import SABOTAGE
from tallygate.drills.stage import Prepare, plain


@dataclass(frozen=True)
class Drill:
    """What is done, each time on an installation of its own: a drill may need more than one."""

    what: str
    rounds: Mapping[str, Prepare]  # what each is called in the report
    shares: bool = False  # whether others may be done to the same installation after it
    seconds: float = 8.0
    patience_s: float = 40.0


def _drill(name: str, what: str, prepare: Prepare, *, shares: bool = False) -> tuple[str, Drill]:
    return name, Drill(what, {name: prepare}, shares=shares)


DRILLS: Final[Mapping[str, Drill]] = dict(
    [
        _drill("kill-worker", "kill -9 of a gateway worker", plain(kill_worker), shares=True),
        _drill("kill-control", "kill -9 of the control plane", plain(kill_control), shares=True),
        _drill("redis-down", "Redis is killed and stays away", plain(redis_down), shares=True),
        _drill("redis-freeze", "Redis stands still (SIGSTOP)", plain(redis_freeze), shares=True),
        _drill("redis-flush", "FLUSHALL, twice", plain(redis_flush), shares=True),
        _drill(
            "redis-rollback",
            "Redis is set back to an earlier state",
            plain(redis_rollback),
            shares=True,
        ),
        _drill("redis-failover", "a replica that fell behind becomes master", redis_failover),
        _drill("sql-locked", "another process locks the ledger", plain(sql_locked), shares=True),
        _drill(
            "sql-rollback",
            "the ledger is restored from an older copy; then tallygate recover",
            plain(sql_rollback),
            shares=True,
        ),
        _drill("disk-full", "data_dir has no room left", disk_full),
        _drill("clock-step", "the wall clock steps by 10 minutes and by 1 hour", clock_step),
        (
            "power-cut",
            Drill(
                "everything stops; of the journal is left what was synced",
                {
                    "power-cut, fsync: interval": partial(power_cut, fsync="interval"),
                    "power-cut, fsync: always": partial(power_cut, fsync="always"),
                },
            ),
        ),
        _drill(
            "sigterm",
            "a deploy: SIGTERM under load, and a new start",
            plain(sigterm),
            shares=True,
        ),
        (
            "chaos",
            Drill(
                "random kill -9s of everything", {"chaos": plain(chaos)}, shares=True, seconds=300
            ),
        ),
        (
            SABOTAGE,
            Drill(
                "a request is taken out of the ledger by hand: this must fail",
                {SABOTAGE: plain(sabotage)},
                patience_s=3.0,
            ),
        ),
    ]
)
