"""Looks at what an installation stands on: its folder, Redis and the ledger. Nothing is changed."""

import os
from pathlib import Path
from typing import Final

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from billing_sync.errors import BillingSyncError
from billing_sync.migrations.upgrading import revision_of, revisions
from billing_sync.store import ledger
from billing_sync.store.engine import connect, reading, sqlite_url
from metering.clock import Clock
from metering.connection import one_of, translated
from metering.errors import MeteringError, MeteringUnavailable, StoreUnsuitable, WriteUnknown
from metering.local_disk import refuse_network_disk
from tallygate.doctor.diagnosis import Diagnosis, finding, note, ok
from tallygate.failures import mendable
from tallygate.installation import Installation
from tallygate.ledgers import ledger_file

MOST_SKEW_MS: Final = 30_000  # half of what the marketplace's timestamps may be off


def look_at_folder(installation: Installation) -> Diagnosis:
    """`data_dir` must be on a disk of this machine, and ours to write."""
    folder = installation.data_dir
    if not folder.exists():
        return note("data_dir", f"{folder} is made by the first `tallygate serve`")
    try:
        refuse_network_disk(folder)
    except StoreUnsuitable as unsuitable:
        return finding("data_dir", str(unsuitable))
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return finding("data_dir", f"{folder} cannot be written by this user")
    return ok("data_dir", str(folder))


async def look_at_redis(installation: Installation, clock: Clock) -> Diagnosis:
    """Its policy, and whether its clock is ours."""
    try:
        await installation.check_redis()
        skew_ms = await _skew_of_redis(installation, clock)
    except (MeteringUnavailable, WriteUnknown) as away:
        say = note if installation.embedded_redis else finding
        return say("redis", str(away))
    except (MeteringError, OSError) as unsuitable:
        return finding("redis", str(unsuitable))
    if abs(skew_ms) > MOST_SKEW_MS:
        return finding("redis", f"its clock is {skew_ms // 1000} s from ours; check both")
    return ok("redis", "maxmemory-policy noeviction, or not told")


async def _skew_of_redis(installation: Installation, clock: Clock) -> int:
    store = installation.redis()
    try:
        with translated():
            seconds, microseconds = await (await one_of(store)).time()
    finally:
        await store.aclose()
    return int(seconds) * 1000 + int(microseconds) // 1000 - clock.now_ms()


async def look_at_ledger(installation: Installation) -> Diagnosis:
    """Its revision, and the number of partitions."""
    file = ledger_file(installation)
    if file is not None and not file.exists():
        return note("database", f"{file} is made by the first `tallygate serve`")
    try:
        return await to_thread.run_sync(_look_into, installation, file)
    except (SQLAlchemyError, BillingSyncError, OSError) as failure:
        return finding("database", mendable(failure) or f"cannot be read: {type(failure).__name__}")


def _look_into(installation: Installation, file: Path | None) -> Diagnosis:
    engine = connect(installation.config.database if file is None else sqlite_url(file))
    newest, configured = revisions()[-1], installation.config.partitions
    try:
        with engine.connect().execution_options(read_only=True) as connection:
            at = revision_of(connection)
        if at is None:
            return note("database", "is empty: the first `tallygate serve` sets it up")
        if at not in revisions():
            return finding("database", f"is at revision {at}, newer than this version's {newest}")
        if at != newest:
            return note("database", f"is at revision {at}: the next start brings it to {newest}")
        with reading(engine) as session:
            found = len(ledger.places(session))
    finally:
        engine.dispose()
    if found not in (0, configured):
        text = f"was made with {found} partitions; write partitions: {found}"
        return finding("database", text)
    return ok("database", f"revision {at}, {configured} partitions")
