"""What a reconciliation found, in one small file for the metrics: `reports/last.json`."""

import json
import logging
import os
from pathlib import Path

from billing_sync.reconciliation_metrics import LAST
from tallygate.reconciliation.reporting import Report

log = logging.getLogger("tallygate")


def note(folder: Path, report: Report, *, exact: bool) -> None:
    """Write it down. That it cannot be is only said."""
    differences = dict.fromkeys(sorted({one.meter for one in report.sums()}), 0)
    for row in report.differing:
        differences[row.place.meter] += abs(row.difference)
    said = {"at": report.at_ms, "exact": exact, "differences": differences}
    draft = folder / f".{LAST}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_text(json.dumps(said) + "\n")
        draft.replace(folder / LAST)
    except OSError as problem:
        log.warning("the outcome is not noted for the metrics: %s", problem)
