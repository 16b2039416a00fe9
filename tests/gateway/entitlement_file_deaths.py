"""Kills the writer of the customers' file at every line; the file must be the old or the new one."""

import sys
from collections.abc import Callable
from pathlib import Path

from gateway import entitlement_file
from gateway.entitlement_file import EntitlementFile
from metering.entitlement import EntitlementSnapshot
from tests.metering.deaths import Stage, deaths, lines_of, report

OLD = [EntitlementSnapshot("c", "old")]
NEW = [EntitlementSnapshot("c", "new"), EntitlementSnapshot("d", "new")]


def main(base: Path) -> None:
    stage, found = Stage(base), {"deaths": 0, "old": 0, "new": 0}

    def make() -> Callable[[], object]:
        folder = stage.clear()
        first = EntitlementFile(folder, "here")
        assert first.write(OLD, 1000)
        first.close()
        return lambda: EntitlementFile(folder, "here").write(NEW, 2000)

    for _ in deaths(make, lines_of(entitlement_file)):
        found["deaths"] += 1
        after = EntitlementFile(stage.folder, "here")
        kept = after.read()
        assert kept in ((OLD, 1000), (NEW, 2000)), kept
        found["old" if kept.snapshots == OLD else "new"] += 1
        assert after.write(NEW, 3000)  # what was left behind is in nobody's way
        assert after.read() == (NEW, 3000)
        after.close()
    report(**found)


if __name__ == "__main__":
    main(Path(sys.argv[2]))
