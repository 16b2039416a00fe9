"""What a soak must show: every answered request has one record, and nothing was left behind."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from metering.lanes import lanes_in

_UNANSWERED: Final = 499  # the client left before a reply, which is recorded and uses nothing
GROWTH_BYTES: Final = 6 << 20  # anonymous memory: a heap breathes
GROWTH_HANDLES: Final = 2  # a segment more or less


class Level(NamedTuple):
    """What a worker holds while nobody calls. Bytes of anonymous memory; open files."""

    anonymous: int
    handles: int


def level_of(pid: int) -> Level:
    """The process as it is now."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return Level(int(kib) * 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))


@dataclass(frozen=True)
class Compared:
    """Requests by how the origin's books and the journal tell of them."""

    answered: int
    recorded: int
    lost: list[str]  # answered, without a record
    twice: list[str]
    invented: list[str]  # recorded as answered, which the origin never did


def compare(books: Path, journal: Path) -> Compared:
    """Every id the origin answered against every record of every lane."""
    answered = Counter(books.read_text().split())
    recorded = Counter(_recorded(journal))
    return Compared(
        sum(answered.values()),
        sum(recorded.values()),
        list((answered - recorded).elements()),
        [each for each, times in recorded.items() if times > max(1, answered[each])],
        [each for each in recorded if each not in answered],
    )


def _recorded(journal: Path) -> Any:
    for lane in lanes_in(journal):
        for segment in lane.segments():
            for _, record in segment.records():
                if record.status != _UNANSWERED:
                    yield record.request_id


def problems_of(
    compared: Compared, before: Level, after: Level, shown: dict[str, Any], capped: float
) -> list[str]:
    """What is not as it should be, in words; empty when all is."""
    found = []
    for what in ("lost", "twice", "invented"):
        ids = getattr(compared, what)
        if ids:
            found.append(f"{len(ids)} {what}, such as {ids[0]}")
    if shown["open_requests"]:
        found.append(f"{shown['open_requests']} requests are still open")
    if capped:
        found.append(f"{capped:.0f} drains were capped: the load is too heavy to be judged")
    if after.handles > before.handles + GROWTH_HANDLES:
        found.append(f"{after.handles - before.handles} files more are open")
    if after.anonymous > before.anonymous + GROWTH_BYTES:
        found.append(f"{(after.anonymous - before.anonymous) >> 10} KiB more anonymous memory")
    return found
