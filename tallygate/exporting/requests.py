"""The requests in the journals of this disk, the audit trail included, lane by lane."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from billing_sync.store.exporting import Wanted
from metering.lanes import Entry, lanes_in


def requests(journal: Path, wanted: Wanted) -> Iterator[Entry]:
    """Every record of the time, in the order of its lane. Lanes that go meanwhile are left out."""
    for lane in lanes_in(journal):
        with suppress(FileNotFoundError):
            for entry in lane.entries():
                record = entry.record
                mine = wanted.customer_id is None or record.customer_id == wanted.customer_id
                if mine and wanted.from_ms <= record.time_ms < wanted.to_ms:
                    yield entry
